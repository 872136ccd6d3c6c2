"""From a trained run to integers and back: losses by arithmetic, captured rows, and text."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from lutra.errors import FrozenModelError, InputError, RunDirectoryError
from lutra.evaluate.language import evaluate_run, generate_from_run
from lutra.freeze.block import freeze_model, weightless_blocks
from lutra.freeze.engines import load_with_engine
from lutra.freeze.step import capture_inputs, freeze_run
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, block_inputs
from lutra.models.integer import parts_of
from lutra.papers.experiments.integers import collect
from lutra.recipes.language import BinaryAttentionConfig
from lutra.report.record import require_complete_language
from lutra.report.tables import summary_tables
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


def test_what_is_trained_in_part_is_no_result(trained, tmp_path):
    """A baseline that was stopped is left out, a model that was is named, and neither gives a recovery or a record."""
    run, recipe, _ = trained
    part = RunFiles(tmp_path / "part")
    shutil.copytree(run.root, part.root)
    for name, files in (("mlp", part.baseline("mlp")), ("ours", part)):
        files.train_log.write_text("".join(files.train_log.read_text().splitlines(keepends=True)[:-1]))
        result = evaluate_run(part, recipe)
        assert result["unfinished"][name] == 4 and result["recovery"] is None
        assert result["baselines"].keys() == result["frozen_baselines"].keys() == {"none"}
        labels = [row[0] for row in summary_tables(part, recipe, "evaluate")[0].rows]
        assert [label for label in labels if label.startswith("trained in part")]
        with pytest.raises(RunDirectoryError, match=rf"trained only in part: .*{name} at iteration 4"):
            require_complete_language(part, recipe)
        with pytest.raises(InputError, match="trained in part"):
            collect([part.root])
    assert evaluate_run(run, recipe)["unfinished"] == {}


@pytest.mark.parametrize("ffn", ["weightless", "mlp", "none"])
def test_of_a_model_with_binary_attention_the_blocks_alone_are_frozen(tmp_path, ffn):
    run, recipe = RunFiles(tmp_path), tiny_recipe(ffn)
    binary = recipe.model.model_copy(update={"binary_attention": BinaryAttentionConfig(activation_bits=4)})
    hardware = recipe.hardware.model_copy(update={"rows": 40})
    recipe = recipe.model_copy(update={"model": binary, "hardware": hardware, "baselines": ()})
    logged = train_run(run, recipe)["best_validation_loss"]
    frozen = freeze_run(run, recipe)
    losses = evaluate_run(run, recipe)["validation_loss"]
    if ffn == "weightless":
        assert losses["golden"] == losses["fake_quantised"] == logged
        samples, model = load_file(run.samples), store.load(run.frozen)
        assert model.whole is None and samples.keys() == set(frozen["graphs"]) == {graph.name for graph in model.graphs}
        assert all(len(rows) == 40 for rows in samples.values())
    else:
        assert frozen["graphs"] == [] and not store.exists(run.frozen) and losses == {"float": logged}
    with pytest.raises(InputError, match="1-bit weights has no integer form"):
        parts_of(load_model(run))


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
