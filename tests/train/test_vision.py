"""Training on images: it learns, resumes to the bit, and leaves a model that loads."""

from __future__ import annotations

import json

import pytest
import torch

from lutra.data.images import load_images
from lutra.errors import CheckpointError, RecipeError
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.vision import VisionRecipe, load_vision_recipe
from lutra.runs.files import RunFiles
from lutra.train import trainer
from lutra.train.checkpoint import load_vision_model, read_checkpoint
from lutra.train.vision import classification_figures, train_vision, train_vision_baselines
from tiny_images import tiny_vision_recipe, write_images


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    return write_images(monkeypatch, tmp_path / "images")


@pytest.mark.parametrize("ffn", ["mlp", "weightless", "none"])
def test_training_learns_and_the_last_model_counts(folder, tmp_path, ffn):
    run = RunFiles(tmp_path / "run")
    recipe = tiny_vision_recipe(folder, ffn, iterations=120, evaluate_every=60, learning_rate=5e-3)
    plain = {"crop": "none", "flip": False, "randaugment": 0, "erasing": 0.0, "smoothing": 0.0}
    recipe = recipe.model_copy(update={"augment": recipe.augment.model_copy(update=plain)})
    result = train_vision(run, recipe)
    log = [json.loads(line) for line in run.train_log.read_text().splitlines()]
    assert [line["iteration"] for line in log] == [0, 60, 120]
    assert log[-1]["accuracy"] > 0.4 > log[0]["accuracy"]
    assert result["best_iteration"] == 120 and result["best_validation_loss"] == log[-1]["validation_loss"]
    model = load_vision_model(run)
    test = load_images("cifar10", str(folder)).test
    assert classification_figures(model, test, 7) == pytest.approx(
        (log[-1]["validation_loss"], log[-1]["accuracy"]), abs=1e-6
    )
    assert all(block.quantised for block in weightless_blocks(model).values())
    assert load_vision_recipe(run.recipe) == recipe


def test_an_interrupted_training_ends_with_the_same_bits(folder, tmp_path, monkeypatch):
    recipe = tiny_vision_recipe(folder, "weightless", iterations=6, checkpoint_every=2, evaluate_every=3)
    whole, cut = RunFiles(tmp_path / "whole"), RunFiles(tmp_path / "cut")
    train_vision(whole, recipe)
    stops = iter([0, 0, 0, 1] + [0] * 20)
    monkeypatch.setattr(trainer.StopRequest, "reason", property(lambda _: "time limit" if next(stops) else None))
    assert not train_vision(cut, recipe)["finished"]
    assert train_vision(cut, recipe)["finished"]
    for name in ("last_checkpoint", "best_checkpoint"):
        ours, theirs = (read_checkpoint(getattr(run, name))[0] for run in (cut, whole))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_baselines_and_models_of_other_shapes(folder, tmp_path):
    run = RunFiles(tmp_path / "run")
    recipe = tiny_vision_recipe(folder, "none", iterations=1)
    results = train_vision_baselines(run, recipe)
    assert list(results) == ["mlp", "none"] and all(result["finished"] for result in results.values())
    path = run.baseline("mlp").best_checkpoint
    other = RunFiles(tmp_path / "other")
    wide = recipe.with_ffn("mlp").model_dump()
    wide["model"]["width"] = 24
    train_vision(other, VisionRecipe.model_validate(wide), max_minutes=0)
    other.best_checkpoint.write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match="made for another architecture"):
        load_vision_model(other)


def test_recipes_are_checked(tmp_path):
    path = tmp_path / "recipe.toml"
    for text, message in (
        ('kind = "vision"\nname = "a"\n[model]\nimage = 30\npatch = 16\n', "image 30 must be a multiple of patch 16"),
        ('kind = "vision"\nname = "a"\n[model]\nwidth = 10\n', "width 10 must be a multiple of heads 3"),
        ('kind = "vision"\nname = "a"\n[data]\ndataset = "mnist"\n', "data.dataset: .*cifar10"),
        ('kind = "vision"\nname = "a"\n[augment]\ncutout = 1\n', "unknown key augment.cutout; allowed here: crop"),
        ('kind = "bert"\nname = "a"\n', "kind 'bert', but only a recipe of kind 'vision' fits here"),
    ):
        path.write_text(text)
        with pytest.raises(RecipeError, match=message):
            load_vision_recipe(path)
