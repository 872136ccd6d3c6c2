"""Fitting and healing of a small pretrained model, and a whole run of kind convert."""

import copy
import json

import pytest
import torch

import lutra
from lutra.errors import ConversionError, InputError, RecipeError, RunDirectoryError, TrainingError
from lutra.models.convert.places import Massive
from lutra.models.convert.replace import remove_mlps
from lutra.nn.weightless import weightless_blocks
from lutra.runs.files import RunFiles
from lutra.runs.steps import is_current, run_steps
from lutra.train.healing.fit import find_massive_, fit_, solve_encoded_
from lutra.train.healing.heal import heal
from lutra.train.healing.text import Texts, load_source
from own_models import small

transformers = pytest.importorskip("transformers")

from tiny_text import error, recipe_of, write_model, write_text  # noqa: E402  (needs transformers)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("source"))
    teacher, texts = load_source(recipe.source.model), Texts(recipe)
    return teacher, texts.batches(texts.training)


def converted(teacher, batches, massive=False):
    model = copy.deepcopy(teacher)
    lutra.replace_mlp(model, lutra.find_mlps(model, **batches[0]), small(encoded_scale="output"), massive=massive)
    return model


def test_the_ridge_solution_is_the_least_squares_one():
    torch.manual_seed(0)
    block = lutra.nn.weightless.WeightlessBlock(8, small(), 1, 6)
    x = torch.randn(400, 8)
    block.calibrate_(x)
    wanted = copy.deepcopy(block)
    with torch.no_grad():
        wanted.summation.encoded.normal_()
        wanted.summation.bias.normal_()
    y, weight = wanted(x).detach(), torch.rand(400) + 0.1
    solve_encoded_(block, x, y, weight, ridge=1e-9, rows_at_once=128)
    assert torch.allclose(block(x), y, atol=1e-2)
    mask = wanted.summation.mask
    assert not block.summation.encoded[~mask].any()


def test_a_massive_token_gets_a_row_of_its_own():
    torch.manual_seed(0)
    x, y = torch.randn(300, 8), torch.randn(300, 8)
    x[::30, 5] += 20
    y[::30] = 0.01 * torch.randn(10, 8)
    y[::30, 3] += 150
    around = Massive(torch.nn.Identity(), 8)
    massive = find_massive_(around, x, y)
    assert massive.nonzero()[:, 0].tolist() == list(range(0, 300, 30))
    assert int(around.feature) == 5 and around.row[3] == pytest.approx(150, abs=1)
    assert torch.equal(around(x)[1], x[1]) and torch.equal(around(x)[30], around.row)
    untouched = Massive(torch.nn.Identity(), 8)
    for other in (torch.randn(300, 8), y + 150 * (torch.arange(8) == 3)):
        assert not find_massive_(untouched, x, other).any()
    x[::30, 5] -= 20  # nothing tells the tokens apart
    assert not find_massive_(untouched, x, y).any() and torch.equal(untouched(x), x)


def test_fitting_beats_a_random_start_and_no_part_at_all(source):
    teacher, batches = source
    model = converted(teacher, batches, massive=True)
    fitted = fit_(model, teacher, batches, local_steps=20)
    assert [each.path for each in fitted] == [f"encoder.layer.{i}.intermediate.dense" for i in range(2)]
    assert all(0 < each.r2_closed_form < 1 and each.r2 > each.r2_closed_form - 0.05 for each in fitted)
    random = converted(teacher, batches)
    lutra.calibrate_(random, batches)
    none = copy.deepcopy(teacher)
    remove_mlps(none, lutra.find_mlps(none, **batches[0]))
    assert error(model, teacher, batches) < 0.9 * error(none, teacher, batches)
    assert error(model, teacher, batches) < error(random, teacher, batches)
    assert not any(m._forward_hooks or m._forward_pre_hooks for net in (teacher, model) for m in net.modules())


def test_what_cannot_be_fitted_says_so(source):
    teacher, batches = source
    with pytest.raises(ConversionError, match="replace_mlp"):
        fit_(copy.deepcopy(teacher), teacher, batches)
    model = converted(teacher, batches)
    with pytest.raises(ConversionError, match="not the model"):
        fit_(model, torch.nn.Linear(2, 2), batches)
    with pytest.raises(InputError, match="no batches"):
        heal(model, teacher, [], 3)


def test_healing_goes_on_to_the_bit_and_ends_in_integers(source, tmp_path):
    teacher, batches = source
    start = converted(teacher, batches)
    fit_(start, teacher, batches)
    before = error(start, teacher, batches)

    def healed(folder, parts):
        model = copy.deepcopy(start)
        for minutes in parts:
            model = copy.deepcopy(start) if folder else model
            done = heal(model, teacher, batches, 30, lr=3e-3, folder=folder, save_every=7, max_minutes=minutes)
        return model, done

    whole, done = healed(None, [None])
    parts, _ = healed(tmp_path, [0.0, 0.0, None])
    assert done.finished and done.steps == 30
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))
    assert all(block.quantised for block in weightless_blocks(whole).values())
    assert error(whole, teacher, batches) < before
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 30]
    with pytest.raises(RunDirectoryError, match="another healing"):
        heal(copy.deepcopy(start), teacher, batches, 31, folder=tmp_path)


def test_a_loss_that_is_no_number_stops(source):
    teacher, batches = source
    model = copy.deepcopy(teacher)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="healing step 0: the loss is nan"):
        heal(model, teacher, batches, 2)


def test_a_run_goes_from_the_model_to_the_evaluation(tmp_path):
    recipe = recipe_of(tmp_path)
    run = RunFiles(tmp_path / "run")
    run_steps(run, recipe, last="evaluate")
    for step in ("cost", "report"):
        run_steps(run, recipe, first=step, last=step)
    cost = json.loads(run.cost.read_text())
    assert (cost["model"]["layers"], cost["model"]["hidden"], cost["model"]["sequence_tokens"]) == (2, 40, 12)
    page = run.report.read_text()
    assert recipe.source.model in page and recipe.data.text in page and "Not run yet: lutra simulate" in page
    evaluate = json.loads(run.evaluate.read_text())
    scores, none = evaluate["scores"], evaluate["baselines"]["none"]
    assert scores["golden"] == pytest.approx(scores["fake_quantised"], abs=1e-5)
    assert evaluate["recovery"] == pytest.approx((scores["golden"]["cosine"] - none["cosine"]) / (1 - none["cosine"]))
    assert json.loads((run.root / "source.json").read_text())["class"] == "BertModel"
    plan = json.loads((run.root / "plan.json").read_text())
    assert plan["exact"] and plan["weights_left_dense"] == 0
    assert is_current(run, recipe, "heal") and is_current(run, recipe, "evaluate")
    opened = lutra.from_pretrained(run.root / "model")
    assert set(weightless_blocks(opened)) == {f"encoder.layer.{i}.intermediate.dense.block" for i in range(2)}
    write_model(tmp_path / "model", num_attention_heads=4)
    torch.manual_seed(1)
    changed = transformers.BertModel.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        changed.embeddings.word_embeddings.weight.add_(1)
    changed.save_pretrained(tmp_path / "model")
    with pytest.raises(ConversionError, match="weights have changed"):
        run_steps(run, recipe, first="evaluate", last="evaluate")


def test_a_masked_language_model_is_healed_and_measured_with_masks(tmp_path):
    recipe = recipe_of(tmp_path)
    plain = Texts(recipe)
    unmasked = plain.batches(plain.training)
    write_model(tmp_path / "model", kind=transformers.BertForMaskedLM)
    texts = Texts(recipe)
    mask, batches = texts.tokenizer.mask_token_id, texts.batches(texts.training)
    hidden = [batch["input_ids"] == mask for batch in batches]
    tokens = sum(int((batch["input_ids"] > mask).sum()) for batch in unmasked)
    assert 0.1 < sum(int(part.sum()) for part in hidden) / tokens < 0.2
    for batch, before, part in zip(batches, unmasked, hidden, strict=True):
        assert (before["input_ids"][part] > mask).all()  # never a special token
        assert torch.equal(batch["input_ids"][~part], before["input_ids"][~part]) and batch.keys() == before.keys()
    again = texts.batches(texts.training)
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(batches, again, strict=True))
    run = RunFiles(tmp_path / "run")
    run_steps(run, recipe, last="evaluate")
    assert set(json.loads(run.evaluate.read_text())["scores"]["golden"]) == {"divergence"}


def test_recipes_and_texts_that_cannot_be(tmp_path):
    recipe = recipe_of(tmp_path)
    with pytest.raises(RecipeError, match=r"data\.held_out"):
        recipe_of(tmp_path, data={"text": "t", "held_out": 1})
    (tmp_path / "text.txt").write_text("one line\n")
    with pytest.raises(InputError, match="too few"):
        Texts(recipe)
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        Texts(recipe)
    with pytest.raises(InputError, match="cannot open it"):
        load_source(str(tmp_path / "nothing"))
    write_text(tmp_path / "text.txt")
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot open it|no tokenizer"):
        Texts(recipe)


def test_only_masked_language_models_read_masked_text(tmp_path):
    recipe = recipe_of(tmp_path)
    path = tmp_path / "model" / "config.json"
    for name, masked in (("BertForMaskedLM", True), ("BertModel", False), ("BartForConditionalGeneration", False)):
        path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": [name]}))
        assert Texts(recipe).masked is masked
