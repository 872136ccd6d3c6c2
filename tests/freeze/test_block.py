"""From a trained run to integers and back: losses by arithmetic, captured rows, and text."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lutra.errors import FrozenModelError, InputError
from lutra.evaluate.language import evaluate_run, generate_from_run
from lutra.freeze.block import freeze_model, weightless_blocks
from lutra.freeze.engines import load_with_engine
from lutra.freeze.step import capture_inputs, freeze_run
from lutra.frozen import golden, store
from lutra.runs.files import RunFiles
from lutra.train.checkpoint import load_model
from lutra.train.loop import train_baselines, train_run
from tiny_training import short_text, tiny_recipe


@pytest.fixture(scope="module", autouse=True)
def on_short_text():
    with pytest.MonkeyPatch.context() as patch:
        for module in ("lutra.train.loop", "lutra.freeze.step", "lutra.evaluate.language"):
            patch.setattr(f"{module}.load_dataset", short_text)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    recipe = tiny_recipe("weightless")
    recipe = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"rows": 40})})
    run = RunFiles(tmp_path_factory.mktemp("run"))
    logged = {"ours": train_run(run, recipe), **train_baselines(run, recipe)}
    freeze_run(run, recipe)
    return run, recipe, {name: result["best_validation_loss"] for name, result in logged.items()}


def test_integer_blocks_in_place_give_the_fake_quantised_loss_exactly(trained):
    run, recipe, logged = trained
    result = evaluate_run(run, recipe)
    losses = result["validation_loss"]
    assert losses["golden"] == losses["fake_quantised"] == logged["ours"]
    assert result["baselines"] == {ffn: logged[ffn] for ffn in ("mlp", "none")}
    assert losses["float"] != losses["golden"]
    assert result["recovery"] == pytest.approx(
        (result["baselines"]["none"] - losses["golden"]) / (result["baselines"]["none"] - result["baselines"]["mlp"])
    )
    assert json.loads(run.evaluate.read_text()) == result
    assert len(run.sample.read_text()) == 501


def test_captured_rows_are_what_the_blocks_receive(trained):
    run, recipe, _ = trained
    frozen, model = store.load(run.frozen), load_model(run)
    samples = load_file(run.samples)
    assert set(samples) == set(weightless_blocks(model)) == {graph.name for graph in frozen.graphs}
    seen = {}
    for name, block in weightless_blocks(model).items():
        block.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: (inputs[0], output)}))
    model(short_text().validation[None, : recipe.model.context])
    for graph in frozen.graphs:
        rows = samples[graph.name]
        assert rows.shape == (40, graph.input_width) and rows.dtype == np.int8
        x, y = (tensor.detach()[0].numpy() for tensor in seen[graph.name])
        shared = min(len(rows), len(x))
        assert np.array_equal(rows[:shared], golden.quantise(x, graph.input_type)[:shared])
        computed = golden.dequantise(golden.run(graph, rows[:shared]), graph.output_type)
        assert np.array_equal(computed, y[:shared])


def test_text_is_the_same_with_every_arithmetic_of_the_same_block(trained):
    run, recipe, _ = trained
    torch_text = generate_from_run(run, recipe, "ROMEO:", characters=20, engine="torch")
    assert torch_text.startswith("ROMEO:") and len(torch_text) == 26
    assert generate_from_run(run, recipe, "ROMEO:", characters=20, engine="golden") == torch_text


def test_a_model_without_blocks_cannot_be_frozen(trained):
    run, *_ = trained
    with pytest.raises(InputError, match="no weightless block"):
        freeze_model(load_model(run.baseline("mlp")))


def test_frozen_model_of_another_model_is_refused(trained, tmp_path):
    run, *_ = trained
    frozen = store.load(run.frozen)
    other = RunFiles(tmp_path)
    other.root.joinpath("train").mkdir()
    other.best_checkpoint.write_bytes(run.best_checkpoint.read_bytes())
    other.recipe.write_bytes(run.recipe.read_bytes())
    with pytest.raises(FrozenModelError, match="lutra freeze"):
        load_with_engine(other, "golden")
    store.save(type(frozen)(frozen.graphs[:1] if len(frozen.graphs) > 1 else ()), other.frozen)
    with pytest.raises(InputError, match="differ in"):
        load_with_engine(other, "golden")


def test_more_rows_than_the_text_has_are_refused(trained):
    run, *_ = trained
    with pytest.raises(InputError, match="fewer than"):
        capture_inputs(load_model(run), store.load(run.frozen), short_text().validation, 10**6)
