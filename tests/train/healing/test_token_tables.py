"""Token tables beside blocks: what fills them, what they add, saved and copied models, and refusals."""

import copy
import json

import pytest
import torch

import lutra
from lutra.errors import ConversionError
from lutra.models.convert.carry import wrapper_of
from lutra.models.convert.replace import remove_mlps
from lutra.models.convert.token_table import TokenIds, TokenTable
from lutra.nn.weightless import weightless_blocks
from lutra.runs.files import RunFiles
from lutra.runs.steps import run_steps
from lutra.train.healing.capture import Rows
from lutra.train.healing.fit import fit_
from lutra.train.healing.text import Texts, load_source
from lutra.train.healing.token_tables import TokenMeans
from own_models import D, Layer, Mlp, small, x

transformers = pytest.importorskip("transformers")

from tiny_text import error, recipe_of  # noqa: E402  (needs transformers)

IDS = torch.arange(28).view(4, 7) % 20


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    recipe = recipe_of(tmp_path_factory.mktemp("source"))
    teacher, texts = load_source(recipe.source.model), Texts(recipe)
    return teacher, texts.batches(texts.training)


def converted(teacher, batches, **options):
    model = copy.deepcopy(teacher)
    lutra.replace_mlp(model, lutra.find_mlps(model, **batches[0]), small(encoded_scale="output"), **options)
    return model


def tables_of(model):
    return [wrapper_of(model, each, TokenTable) for each in model.lutra_conversion.converted]


def test_rows_are_shrunken_means_and_a_token_can_be_left_out():
    torch.manual_seed(0)
    ids, y = torch.randint(0, 5, (40,)), torch.randn(40, 3)
    kept = torch.rand(40) > 0.2
    means = TokenMeans(torch.zeros(6, 3), torch.zeros(6))
    means.add_(Rows(y, y, ids), kept)
    mean = y[kept].mean(dim=0)
    for token in range(6):
        own = y[kept & (ids == token)] - mean
        assert torch.allclose(means.rows()[token], own.sum(dim=0) / (len(own) + 1), atol=1e-6)
    left_out = means.without_itself(y[kept], ids[kept])
    for index, token in enumerate(ids[kept]):
        others = (kept & (ids == token)).nonzero()[:, 0]
        others = others[others != kept.nonzero()[index, 0]]
        expected = (y[others] - mean).sum(dim=0) / (len(others) + 1)
        assert torch.allclose(left_out[index], expected, atol=1e-5)


def test_entries_are_integers_with_a_power_of_two_for_every_output():
    torch.manual_seed(0)
    table = TokenTable(torch.nn.Identity(), 4, 9, TokenIds())
    rows = torch.randn(9, 4) * torch.tensor([1e-3, 1.0, 80.0, 0.0])
    table.fill_(rows)
    steps = table.exponents.float().exp2()
    assert table.entries.dtype == torch.int8 and table.rom_bits == 9 * 4 * 8
    assert ((table.rows(torch.arange(9)) - rows).abs() <= steps / 2 + 1e-9).all()
    assert (steps[:3] <= rows.abs().amax(dim=0)[:3] / 63).all()  # all bits are used
    assert not table.rows(torch.arange(9))[:, 3].any()


@pytest.mark.parametrize("massive", [False, True])
def test_blocks_with_tables_start_nearer_and_are_the_same_when_opened_again(source, tmp_path, massive):
    teacher, batches = source
    alone = converted(teacher, batches, massive=massive)
    before = fit_(alone, teacher, batches)
    model = converted(teacher, batches, massive=massive, token_tables=True)
    after = fit_(model, teacher, batches)
    assert all(ours.r2 > bare.r2 for ours, bare in zip(after, before, strict=True))
    assert error(model, teacher, batches) < error(alone, teacher, batches)
    assert all(table.entries.any() for table in tables_of(model))
    lutra.save_pretrained(model, tmp_path)
    with torch.no_grad():
        expected = model(**batches[0]).last_hidden_state
        assert torch.equal(lutra.from_pretrained(tmp_path)(**batches[0]).last_hidden_state, expected)
        assert torch.equal(copy.deepcopy(model)(**batches[1]).last_hidden_state, model(**batches[1]).last_hidden_state)
    tree = json.loads((tmp_path / "lutra.json").read_text())
    assert [each["token_table"] for each in tree["converted"]] == [True, True]
    for each in tree["converted"]:
        del each["token_table"]  # as files were before there were tables
    assert not any(
        each.token_table for each in lutra.models.convert.record_of.Conversion.from_json(tree, "t").converted
    )


def test_a_table_is_what_the_token_adds_and_nothing_else(source):
    teacher, batches = source
    model = converted(teacher, batches, token_tables=True)
    fit_(model, teacher, batches)
    table, caught = tables_of(model)[0], []
    table.register_forward_hook(lambda module, inputs, output: caught.append((inputs[0], output)))
    with torch.no_grad():
        model(**batches[0])
        ((rows, result),) = caught
        assert torch.equal(result, table.block(rows) + table.rows(batches[0]["input_ids"]))


def test_tokens_more_than_the_fitted_ones_fill_the_tables(source):
    teacher, batches = source
    few, many = (converted(teacher, batches, token_tables=True) for _ in range(2))
    fit_(few, teacher, batches[:1])
    fit_(many, teacher, batches[:1], token_batches=batches)
    assert not torch.equal(tables_of(few)[0].entries, tables_of(many)[0].entries)


def test_a_pass_without_ids_is_refused_and_never_takes_those_of_the_pass_before(source):
    teacher, batches = source
    model = converted(teacher, batches, token_tables=True)
    fit_(model, teacher, batches)
    model.eval()
    with torch.no_grad():
        model(**batches[0])
        embedded = model.embeddings.word_embeddings.weight[batches[0]["input_ids"]]
        with pytest.raises(ConversionError, match="call the model with input_ids"):
            model(inputs_embeds=embedded, attention_mask=batches[0]["attention_mask"])
        with pytest.raises(ConversionError, match="one id for each row"):
            model.embeddings.word_embeddings(batches[1]["input_ids"][:, :3])
            model.encoder.layer[0](embedded)


def test_models_whose_tokens_are_not_known_are_refused_and_stay_as_they_were():
    net = torch.nn.Sequential(Layer(Mlp()), torch.nn.LayerNorm(D))
    names = list(net.state_dict())
    with pytest.raises(ConversionError, match="embedding of token ids"):
        lutra.replace_mlp(net, lutra.find_mlps(net, x(20)), small(), token_tables=True)
    t5 = transformers.T5Model(
        transformers.T5Config(d_model=16, d_kv=8, d_ff=40, num_layers=1, num_heads=2, vocab_size=20)
    ).eval()
    example = {"input_ids": IDS, "decoder_input_ids": IDS}
    with pytest.raises(ConversionError, match="two kinds of ids"):
        lutra.replace_mlp(t5, lutra.find_mlps(t5, **example), small(), token_tables=True)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    mixture = transformers.MixtralModel(
        transformers.MixtralConfig(**sizes, num_key_value_heads=2, vocab_size=20, num_local_experts=2)
    ).eval()
    with pytest.raises(ConversionError, match="an expert sees only some"):
        lutra.replace_mlp(mixture, lutra.find_mlps(mixture, input_ids=IDS), small(), token_tables=True)
    assert list(net.state_dict()) == names
    for model in (net, t5, mixture):
        assert not hasattr(model, "lutra_conversion")
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_part_that_all_layers_share_is_fitted_to_all_its_calls(source):
    _, batches = source
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    teacher = transformers.AlbertModel(transformers.AlbertConfig(vocab_size=25, intermediate_size=40, **sizes)).eval()
    with torch.no_grad():
        for parameter in teacher.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    for options in ({}, {"token_tables": True}):
        model = converted(teacher, batches, **options)
        (fitted,) = fit_(model, teacher, batches, local_steps=10)
        assert fitted.tokens == tokens and 0 < fitted.r2_closed_form < 1
        none = copy.deepcopy(teacher)
        remove_mlps(none, lutra.find_mlps(none, **batches[0]))
        assert error(model, teacher, batches) < error(none, teacher, batches)


def test_a_run_with_tables_says_what_they_cost(tmp_path):
    options = {"texts": 64, "local_steps": 2, "token_tables": True, "token_texts": 100}
    recipe, run = recipe_of(tmp_path, fit=options), RunFiles(tmp_path / "run")
    run_steps(run, recipe, last="freeze")
    assert json.loads((run.root / "fit.json").read_text())["token_table_rom_bits"] == 2 * 25 * 16 * 8
    run_steps(run, recipe, first="report", last="report")
    assert "need 800 bytes of ROM" in run.report.read_text()
    assert len(weightless_blocks(lutra.from_pretrained(run.root / "model"))) == 2
