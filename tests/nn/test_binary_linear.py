"""Linear layers and embeddings with quantised weights: formulas, packing, files."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from lutra.nn.binary_linear import LatentWeight, QuantisedEmbedding, QuantisedLinear, pack_, prepare_packed_
from lutra.nn.quantizers import ActivationQuantiser


def linear(inputs, outputs, bits, halves=1, wtws=False, centred=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = [LatentWeight(torch.randn(outputs, inputs, generator=generator), bits, centred=centred)]
    weights += [LatentWeight(torch.randn(outputs, inputs, generator=generator), bits) for _ in range(halves - 1)]
    return QuantisedLinear(weights, torch.randn(outputs, generator=generator), wtws)


def test_wtws_is_the_printed_formula_on_one_quantised_input():
    layer, quantiser = linear(12, 5, 1, halves=2, wtws=True), ActivationQuantiser(4, True, 12)
    with torch.no_grad():
        layer.column_scales.copy_(torch.rand(2, 5) + 0.5)
    x = torch.randn(3, 7, 12)
    y = layer(quantiser(x))
    x_quantised = quantiser.step * quantiser.integers(x)
    expected = layer.bias.expand(3, 7, 5)
    for weight, scale in zip(layer.weights, layer.column_scales, strict=True):
        binary = torch.where(weight.latent >= 0, 1.0, -1.0) * weight.latent.abs().mean()
        expected = expected + (x_quantised @ binary.t()) * scale
    assert torch.allclose(y, expected, atol=1e-5)


def test_column_scales_start_at_one_and_change_nothing():
    plain, weighted = linear(6, 4, 1, halves=2), linear(6, 4, 1, halves=2, wtws=True)
    x = torch.randn(2, 6)
    assert torch.equal(plain(x), weighted(x))


def test_every_part_is_trained():
    layer, quantiser = linear(6, 4, 1, halves=2, wtws=True), ActivationQuantiser(2, True, 6)
    layer(quantiser(torch.randn(8, 6))).square().sum().backward()
    for name, parameter in [*layer.named_parameters(), *quantiser.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_ternary_layer_has_three_levels():
    weight = linear(40, 30, 2).effective_weight()
    assert len(weight.unique()) == 3 and (weight == 0).any()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 9),
    st.sampled_from([(1, 1, False), (1, 1, True), (1, 2, False), (1, 2, True), (2, 1, False), (8, 1, False)]),
    st.integers(0, 1000),
)
def test_packed_files_give_identical_outputs(inputs, outputs, kind, seed):
    bits, halves, flag = kind
    options = {"wtws": flag} if halves == 2 else {"centred": flag}
    layer = linear(inputs, outputs, bits, halves, seed=seed, **options)
    x = torch.randn(4, inputs, generator=torch.Generator().manual_seed(seed))
    before = layer(x)
    pack_(layer)
    assert torch.equal(layer(x), before)
    loaded = linear(inputs, outputs, bits, halves, seed=seed + 1, **options)
    prepare_packed_(loaded)
    loaded.load_state_dict(load(save(layer.state_dict())))
    assert torch.equal(loaded(x), before)


@pytest.mark.parametrize(("bits", "bytes_on_disk"), [(1, 64 * 128 // 8), (2, 64 * 128 // 4), (8, 64 * 128)])
def test_the_file_holds_as_many_bits_as_the_weights_have(bits, bytes_on_disk):
    layer = linear(128, 64, bits)
    pack_(layer)
    payload = sum(tensor.numel() * tensor.element_size() for tensor in layer.state_dict().values())
    assert payload == bytes_on_disk + 4 + 4 * 64  # one scale and the biases
    assert len(save(layer.state_dict())) < payload + 500


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("halves", [1, 2])
def test_embedding_rows_have_their_own_scales_and_pack(bits, halves):
    table = QuantisedEmbedding([LatentWeight(torch.randn(11, 24), bits, per_row=True) for _ in range(halves)])
    tokens = torch.randint(11, (3, 5))
    rows = table(tokens)
    expected = sum(weight()[tokens] for weight in table.weights)
    assert torch.equal(rows, expected)
    rows.sum().backward()
    assert table.weights[0].latent.grad[tokens.unique()].abs().min() > 0
    pack_(table)
    assert torch.equal(table(tokens), expected)
