"""From a trained run to integers and back: losses by arithmetic, captured rows, and text."""

import shutil

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
from lutra.frozen.graph import FrozenModel, block_inputs
from lutra.runs.files import RunFiles
from lutra.runs.typed import read_evidence
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


def test_the_whole_model_in_integers_is_evaluated_beside_the_real_one_and_the_baselines(trained):
    run, recipe, logged = trained
    result = evaluate_run(run, recipe)
    losses = result["validation_loss"]
    assert losses["fake_quantised"] == logged["ours"]
    assert losses["golden"] == pytest.approx(losses["fake_quantised"], abs=0.02)
    assert len({losses["golden"], losses["fake_quantised"], losses["float"]}) == 3
    assert result["baselines"] == {ffn: logged[ffn] for ffn in ("mlp", "none")}
    assert result["frozen_baselines"] == pytest.approx(result["baselines"], abs=0.01)
    assert result["frozen_baselines"] != result["baselines"]
    none, mlp = (result["frozen_baselines"][ffn] for ffn in ("none", "mlp"))
    assert result["recovery"] == pytest.approx((none - losses["golden"]) / (none - mlp))
    assert read_evidence(run, recipe, "evaluate") == result
    assert len(run.sample.read_text()) == 501


def test_runs_in_which_only_blocks_were_frozen_still_evaluate_and_write(trained, tmp_path):
    run, recipe, logged = trained
    old = RunFiles(tmp_path / "old")
    shutil.copytree(run.root, old.root)
    shutil.rmtree(old.frozen)
    for ffn in ("mlp", "none"):
        shutil.rmtree(old.baseline(ffn).frozen)
    store.save(freeze_model(load_model(run)), old.frozen)
    result = evaluate_run(old, recipe)
    assert result["validation_loss"]["golden"] == result["validation_loss"]["fake_quantised"] == logged["ours"]
    assert result["frozen_baselines"] == {}
    texts = [generate_from_run(old, recipe, "ROMEO:", characters=20, engine=engine) for engine in ("torch", "golden")]
    assert texts[0] == texts[1] and texts[0].startswith("ROMEO:") and len(texts[0]) == 26


def test_captured_rows_are_what_the_blocks_receive(trained):
    run, recipe, _ = trained
    frozen, model = store.load(run.frozen), load_model(run)
    samples = load_file(run.samples)
    assert set(samples) == set(weightless_blocks(model)) == {graph.name for graph in frozen.graphs}
    window = short_text().validation[None, : recipe.model.context, None].numpy()
    values = golden.trace(frozen.require_whole(), window)
    for graph in frozen.graphs:
        rows = samples[graph.name]
        assert rows.shape == (40, graph.input_width) and rows.dtype == np.int8
        assert (rows[:16] == values[block_inputs(frozen.require_whole())[graph.name]][0]).all()
        assert (golden.run(graph, rows[:16]) == values[f"{graph.name}.y"][0]).all()


def test_text_goes_on_beyond_the_context_with_what_is_kept(trained):
    """Written with a cache, and as if every logit were computed anew from the same beginning of the window."""
    run, recipe, _ = trained
    model = load_with_engine(run, "golden")
    context, start = recipe.model.context, torch.tensor([[5, 6, 7]])
    written = model.generate(start, 2 * context, temperature=0)
    begin = 0
    for end in range(3, written.shape[1]):
        if end - begin > context:
            begin = end - context // 2
        with torch.no_grad():
            logits = model(written[:, begin:end])
        assert logits[0, -1].argmax() == written[0, end], end
    assert len(set(written[0].tolist())) > 3


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
    store.save(FrozenModel(frozen.graphs[:1]), other.frozen)
    with pytest.raises(InputError, match="differ in"):
        load_with_engine(other, "golden")


def test_more_rows_than_the_text_has_are_refused(trained):
    run, *_ = trained
    with pytest.raises(InputError, match="fewer than"):
        capture_inputs(store.load(run.frozen).require_whole(), iter([np.zeros((1, 16, 1), np.int64)]), 10**6)
