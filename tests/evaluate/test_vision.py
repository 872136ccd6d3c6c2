"""A vision run from images to frozen integers: figures of all models in both arithmetics, and rows for simulation."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lutra.data.images import load_images
from lutra.errors import FrozenModelError, InputError
from lutra.evaluate.vision import evaluate_vision
from lutra.freeze.engines import load_vision_with_engine
from lutra.freeze.step import freeze_vision
from lutra.freeze.whole import rows_of_pixels
from lutra.frozen import golden, store
from lutra.frozen.graph import block_inputs
from lutra.recipes.kinds import load_any_recipe
from lutra.report.build import report_run
from lutra.report.tables import summary_tables, vision_results_table
from lutra.runs.files import RunFiles
from lutra.runs.typed import read_evidence
from lutra.train.checkpoint import load_vision_model
from lutra.train.vision import classification_figures, train_vision, train_vision_baselines
from tiny_images import TEST_IMAGES, tiny_vision_recipe, write_images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("vision")
    with pytest.MonkeyPatch.context() as patch:
        images = write_images(patch, folder / "images")
        recipe = tiny_vision_recipe(images, "weightless", iterations=60, evaluate_every=30, learning_rate=5e-3)
        recipe = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"rows": 40})})
        run = RunFiles(folder / "run")
        train_vision(run, recipe)
        train_vision_baselines(run, recipe)
        freeze_vision(run, recipe)
        yield run, recipe


def test_all_models_are_evaluated_in_both_arithmetics(trained):
    run, recipe = trained
    result = evaluate_vision(run, recipe)
    assert read_evidence(run, recipe, "evaluate") == result
    test = load_images("cifar10", recipe.data.folder).test
    real = classification_figures(load_vision_model(run.baseline("mlp")), test, 7)
    assert result["baselines"]["mlp"] == pytest.approx(real[0]) and result["accuracy"]["baselines"]["mlp"] == real[1]
    assert result["images"] == TEST_IMAGES
    for name, loss in result["validation_loss"].items():
        assert loss == pytest.approx(result["validation_loss"]["fake_quantised"], abs=0.15), name
    for ffn in ("mlp", "none"):
        assert result["frozen_baselines"][ffn] == pytest.approx(result["baselines"][ffn], abs=0.02)
        assert result["frozen_baselines"][ffn] != result["baselines"][ffn]
    frozen = result["accuracy"]["frozen_baselines"]
    if frozen["mlp"] > frozen["none"]:
        gained = result["accuracy"]["ours"]["golden"] - frozen["none"]
        assert result["recovery"] == pytest.approx(gained / (frozen["mlp"] - frozen["none"]))
    (losses, accuracies, *_) = summary_tables(run, recipe, "evaluate")
    assert "image" in losses.title and len(accuracies.rows) == 7
    report_run(run, recipe)
    assert "Accuracy on the test images" in run.report.read_text()
    entry = {"recipe": {"name": "a", "seed": 1}, "evaluate": result, "recorded": "2026-01-01"}
    shown = vision_results_table([entry]).rows[0]
    ours = {"runtime": result["accuracy"]["ours"]["golden"], "float": result["accuracy"]["ours"]["float"]}
    compiled = {**result, "engine": "runtime", "accuracy": {**result["accuracy"], "ours": ours}}
    assert shown[0] == "a" and "-" not in shown[:6]
    assert vision_results_table([{**entry, "evaluate": compiled}]).rows[0] == shown


def test_a_baseline_that_is_trained_in_part_is_left_out(trained, tmp_path):
    run, recipe = trained
    part = RunFiles(tmp_path / "part")
    shutil.copytree(run.root, part.root)
    log = part.baseline("none").train_log
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    result = evaluate_vision(part, recipe)
    assert result["unfinished"] == {"none": 30} and result["recovery"] is None
    assert result["accuracy"]["baselines"].keys() == {"mlp"}


def test_rows_are_what_the_blocks_receive_of_the_test_images(trained):
    run, recipe = trained
    whole = store.load(run.frozen).require_whole()
    test = load_images("cifar10", recipe.data.folder).test
    values = golden.trace(whole, rows_of_pixels(test.pixels[:8]))
    samples = load_file(run.samples)
    for name, source in block_inputs(whole).items():
        expected = values[source].reshape(-1, values[source].shape[-1])
        shared = min(40, len(expected))
        assert (samples[name][:shared] == expected[:shared]).all() and samples[name].dtype == np.int8
    assert len(samples["blocks.1.mlp"]) == 40, "of the last layer only the class token's row is computed"


def test_what_is_missing_is_one_line(trained, tmp_path):
    run, recipe = trained
    with pytest.raises(InputError, match="computes no integers"):
        load_vision_with_engine(run, "torch")
    with pytest.raises(FrozenModelError, match="lutra freeze"):
        load_vision_with_engine(RunFiles(tmp_path), "golden")
    assert load_any_recipe(run.recipe) == recipe, "the registry knows the kind"
