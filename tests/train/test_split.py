"""Ternary weight splitting: exact on every layer, where the printed formulas are not."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.models.bert import Bert
from lutra.nn.binary_linear import LatentWeight, QuantisedEmbedding, QuantisedLinear
from lutra.nn.quantizers import fake_quantise_weight
from lutra.recipes.bert_config import BertConfig, QuantisationConfig
from lutra.train.split import Copies, split_ternary, split_weight

EXACT = 1e-12


def gaussian(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ternary_model(activation_bits=4):
    quantisation = QuantisationConfig(method="ternary", activation_bits=activation_bits)
    config = BertConfig(
        layers=2,
        heads=2,
        head_width=8,
        width=24,
        intermediate=32,
        vocabulary=50,
        positions=16,
        activation="relu",
        quantisation=quantisation,
    )
    return Bert(config, seed=1).double().eval()


def with_method(config, method, **changes):
    quantisation = QuantisationConfig(method=method, **changes)
    return config.model_copy(update={"quantisation": quantisation})


def split_error(halves, weight, per_row=False):
    summed = sum(fake_quantise_weight(half, 1, per_row) for half in halves)
    return (summed - fake_quantise_weight(weight, 2, per_row)).abs().max().item()


def printed_eq_4(weight, fix_b=False):
    """BMT's Eq. 3 and 4 as printed; `fix_b` puts |I| where |J| is printed."""
    ternary = fake_quantise_weight(weight, 2)
    kept, positive, negative = ternary != 0, (ternary == 0) & (weight > 0), (ternary == 0) & (weight <= 0)
    s_i, s_j, s_k = (weight[part].abs().sum() for part in (kept, positive, negative))
    a = (s_i + s_j - s_k) / (2 * s_i)
    divisor = kept.sum() if fix_b else positive.sum()
    b = (weight.numel() / divisor * s_i - weight.abs().sum()) / (2 * (positive.sum() + negative.sum()))
    first = torch.where(kept, a * weight, torch.where(positive, b + weight, b))
    return Copies(first, weight - first)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(2, 40), st.integers(0, 10**6), st.booleans())
def test_split_is_exact(rows, columns, seed, per_row):
    weight = gaussian((rows, columns), seed)
    try:
        halves = split_weight(weight, "w", per_row)
    except InputError as error:
        assume("unequal signs" not in str(error))  # possible in very short rows only
        raise
    assert split_error(halves, weight, per_row) <= EXACT
    assert (halves.first + halves.second - weight).abs().max() <= EXACT


def test_eq_4_as_printed_is_not_exact():
    weight = gaussian((100, 200))
    assert split_error(split_weight(weight, "w"), weight) <= EXACT
    assert split_error(printed_eq_4(weight), weight) > 1
    assert EXACT < split_error(printed_eq_4(weight, fix_b=True), weight) < 1e-1


def test_weights_without_ternary_zeros_split_too():
    weight = torch.tensor([[1.0, -1.0, 1.0, 1.0]], dtype=torch.float64)
    assert split_error(split_weight(weight, "w"), weight) <= EXACT


def test_a_zero_weight_is_a_zero_of_the_sum():
    weight = torch.cat([gaussian((1, 30)), torch.zeros(1, 3, dtype=torch.float64)], dim=1)
    assert split_error(split_weight(weight, "w"), weight) <= EXACT


def test_linear_and_embedding_layers_compute_the_same():
    weight, bias, x = gaussian((20, 30), 1), gaussian((20,), 2), gaussian((5, 30), 3)
    ternary = QuantisedLinear([LatentWeight(weight, 2)], bias)
    split = QuantisedLinear([LatentWeight(half, 1) for half in split_weight(weight, "w")], bias, wtws=True)
    assert (ternary(x) - split(x)).abs().max() <= EXACT
    tokens = torch.arange(20)
    ternary = QuantisedEmbedding([LatentWeight(weight, 2, per_row=True)])
    split = QuantisedEmbedding([LatentWeight(half, 1, per_row=True) for half in split_weight(weight, "w", True)])
    assert (ternary(tokens) - split(tokens)).abs().max() <= EXACT


@pytest.mark.parametrize(("method", "changes"), [("binary", {}), ("bmt", {}), ("bmt", {"wtws": False})])
@pytest.mark.parametrize("activation_bits", [2, 4, 32])
def test_whole_models_compute_the_same(method, changes, activation_bits):
    ternary = ternary_model(activation_bits)
    tokens = torch.randint(50, (6, 12), generator=torch.Generator().manual_seed(2))
    ternary(tokens)
    split = split_ternary(ternary, with_method(ternary.config, method, activation_bits=activation_bits, **changes))
    for (name, before), (_, after) in zip(layers_of(ternary), layers_of(split), strict=True):
        assert (before - after).abs().max() <= EXACT, name
    before, after = ternary(tokens), split(tokens)
    assert (before.logits - after.logits).abs().max() <= EXACT
    assert all((one - two).abs().max() <= EXACT for one, two in zip(before.hidden, after.hidden, strict=True))


def layers_of(model):
    """Name and effective weight of every quantised layer."""
    for name, module in model.named_modules():
        if isinstance(module, QuantisedLinear):
            yield name, module.effective_weight()
        elif isinstance(module, QuantisedEmbedding):
            yield name, module(torch.arange(50))


def test_a_split_model_has_its_steps_and_trains():
    ternary = ternary_model()
    tokens = torch.randint(50, (6, 12))
    ternary(tokens)
    split = split_ternary(ternary, with_method(ternary.config, "bmt"))
    assert torch.equal(split.layers[0].attention.query_quantiser.step, ternary.layers[0].attention.query_quantiser.step)
    split(tokens).logits.square().sum().backward()
    assert split.layers[0].attention.query.column_scales.grad.abs().sum() > 0


def test_weights_that_can_not_be_split_are_named():
    zero_row = gaussian((4, 10))
    zero_row[2] = 0
    with pytest.raises(InputError, match=r"embeddings\.word, row 2: only zeros"):
        split_weight(zero_row, "embeddings.word", per_row=True)
    with pytest.raises(InputError, match="pooler: only zeros"):
        split_weight(torch.zeros(3, 4), "pooler")
    with pytest.raises(InputError, match="pooler: values that are no numbers"):
        split_weight(torch.full((3, 4), torch.nan), "pooler")
    one_sided = torch.full((1, 50), 0.6)
    one_sided[0, 0] = 15.0
    with pytest.raises(InputError, match="no exact split"):
        split_weight(one_sided, "pooler")


def test_only_ternary_models_of_the_same_shape_are_split():
    ternary = ternary_model()
    with pytest.raises(InputError, match='method "binary" or "bmt"'):
        split_ternary(ternary, ternary.config)
    binary = with_method(ternary.config, "bmt")
    with pytest.raises(InputError, match="same model"):
        split_ternary(ternary, binary.model_copy(update={"layers": 3}))
    with pytest.raises(InputError, match="has 4-bit activations, a split can not make 2"):
        split_ternary(ternary, with_method(ternary.config, "bmt", activation_bits=2))
    with pytest.raises(InputError, match="only a ternary model"):
        split_ternary(Bert(binary), binary)
