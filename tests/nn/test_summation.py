"""Encoded values in integers: which ones there are, how well they are chosen, and that every kind is exact in RTL."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.block.simulate import simulate_graphs
from lutra.errors import RecipeError
from lutra.freeze.block import freeze_block
from lutra.frozen import golden
from lutra.nn.calibrate import calibrate_
from lutra.nn.summation import ConditionalSummation, EncodedGrid
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig, Recipe
from lutra.recipes.sections import validate
from lutra.runtime.engine import BlockRuntime

KINDS = [
    {"encoded_bits": 8},
    {"encoded_bits": 3},
    {"encoded_bits": 2},
    {"encoded_values": "power_of_two", "encoded_bits": 8},
    {"encoded_values": "power_of_two", "encoded_bits": 4},
    {"encoded_kept": 0.3},
]
ALLOWED = {
    ("int", 2): [-1, 0, 1],
    ("int", 4): list(range(-7, 8)),
    ("power_of_two", 2): [-1, 0, 1],
    ("power_of_two", 5): [-8, -4, -2, -1, 0, 1, 2, 4, 8],
    ("power_of_two", 8): [0, *(sign * 2**k for k in range(7) for sign in (-1, 1))],
}


def summation_of(bits=24, width=16, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return ConditionalSummation(bits, width, BlockConfig(**options), generator)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(ALLOWED)), st.floats(0.01, 10), st.integers(0, 100))
def test_integers_are_the_nearest_of_their_grid(kind, scale, seed):
    encoded = torch.randn(200, generator=torch.Generator().manual_seed(seed)) * 4
    integers = EncodedGrid(*kind).integers(encoded, torch.tensor(scale))
    allowed = torch.tensor(ALLOWED[kind], dtype=torch.float32)
    assert torch.isin(integers, allowed).all()
    nearest = (encoded[:, None] / scale - allowed).abs().min(dim=1).values
    torch.testing.assert_close((encoded / scale - integers).abs(), nearest)


@pytest.mark.parametrize(("bits", "largest_error"), [(2, 0.20), (3, 0.05), (4, 0.015), (8, 0.0003)])
def test_the_scale_suits_normal_values(bits, largest_error):
    """The best uniform quantisers of a normal variable have relative squared errors of 0.190, 0.044 and 0.012 here."""
    encoded = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    grid = EncodedGrid("int", bits)
    scale = grid.scale(encoded)
    error = (scale * grid.integers(encoded, scale) - encoded).square().mean()
    assert error <= largest_error


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([0.1, 0.25, 0.9, 1.0]), st.sampled_from([1, 2, 5]), st.booleans())
def test_the_largest_encoded_values_are_kept(kept, groups, summed_wide):
    summation = summation_of(*((30, 10) if summed_wide else (10, 30)), groups=groups, encoded_kept=kept)
    integers = summation.integers().encoded
    live = summation.encoded if summation.mask is None else summation.encoded[summation.mask]
    count = int(np.ceil(kept * live.numel()))
    assert torch.count_nonzero(integers) <= count
    smallest = live.abs().flatten().sort(descending=True).values[count - 1]
    below = summation.encoded.abs() < smallest
    assert not integers[below].any()
    largest = summation.encoded.abs() > smallest + summation.integers().output_scale
    inside = torch.ones_like(largest) if summation.mask is None else summation.mask
    assert integers[largest & inside].all()


def test_pruned_values_receive_the_gradient_of_their_bits():
    summation = summation_of(groups=1, encoded_kept=0.1)
    integers = summation.integers()
    bits = torch.randint(0, 2, (24, 50), generator=torch.Generator().manual_seed(1)).float()
    (summation(bits, integers) * torch.arange(1, 17)).sum().backward()
    pruned = integers.encoded == 0
    assert pruned.sum() == 24 * 16 - 39
    expected = (bits - 0.5).sum(dim=1, keepdim=True) * torch.arange(1, 17)
    torch.testing.assert_close(summation.encoded.grad[pruned], expected[pruned])


def test_gradients_to_bits_see_the_integers():
    summation = summation_of(groups=1, encoded_bits=2)
    integers = summation.integers()
    bits = torch.full((24, 1), 0.5, requires_grad=True)
    summation(bits, integers)[:, 3].sum().backward()
    torch.testing.assert_close(bits.grad[:, 0], integers.output_scale * integers.encoded[:, 3])


@pytest.mark.slow
def test_every_kind_is_exact_from_torch_to_rtl(tmp_path):
    layers = (LutLayerConfig(luts=30, inputs=4),)
    designs = []
    for seed, kind in enumerate(KINDS):
        block = WeightlessBlock(12, BlockConfig(thermometer_bits=3, lut_layers=layers, groups=3, **kind), seed)
        x = torch.randn(40, 12, generator=torch.Generator().manual_seed(seed))
        calibrate_(block, x)
        block.quantise_()
        graph = freeze_block("block", block)
        rows = golden.quantise(x.numpy(), graph.input_type)
        expected = golden.run(graph, rows)
        assert np.array_equal(block(x).detach().numpy(), golden.dequantise(expected, graph.output_type))
        assert np.array_equal(BlockRuntime(graph)(rows.astype(np.int8)), expected)
        designs.append((graph, 1 if seed % 2 else 4, rows))
    for dataflow in ("tree", "accumulate"):
        results = simulate_graphs(designs, tmp_path / dataflow, dataflow)
        assert [result.problem for result in results] == [None] * len(KINDS)


def test_a_recipe_says_what_is_allowed():
    with pytest.raises(RecipeError, match=r"t: block\.encoded_values: .*'int' or 'power_of_two'"):
        validate(Recipe, {"name": "t", "block": {"encoded_values": "ternary"}}, "t")
    with pytest.raises(RecipeError, match=r"t: block\.encoded_kept: .*greater than 0"):
        validate(Recipe, {"name": "t", "block": {"encoded_kept": 0}}, "t")


@pytest.mark.parametrize(
    "kind", [{"output_bits": 24}, {"encoded_bits": 4}, {"encoded_values": "power_of_two"}, {"output_bits": 10}]
)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_power_of_two_per_output_keeps_small_outputs_beside_large_ones(kind, groups):
    layers = (LutLayerConfig(luts=96, inputs=4),)
    config = BlockConfig(thermometer_bits=3, lut_layers=layers, groups=groups, encoded_scale="output", **kind)
    torch.manual_seed(0)
    block = WeightlessBlock(12, config, 1)
    with torch.no_grad():
        block.summation.encoded.copy_(torch.randn(96, 12) * torch.logspace(-2, 2, 12))
        block.summation.bias.copy_(torch.randn(12) * torch.logspace(-2, 2, 12))
    rows = torch.randn(70, 12)
    block.calibrate_(rows)
    real = block(rows)
    block.quantise_()
    integers = block(rows)
    graph = freeze_block("b", block)
    exact = golden.dequantise(golden.run(graph, golden.quantise(rows.numpy(), graph.input_type)), graph.output_type)
    assert np.array_equal(integers.detach().numpy(), exact)
    assert np.array_equal(block._composed(rows).detach().numpy(), exact)
    steps = graph.ops[-1].multiplier / 2.0 ** graph.ops[-1].shift
    assert len(set(steps.tolist())) > 3
    one_scale = WeightlessBlock(12, config.model_copy(update={"encoded_scale": "block"}), 1)
    one_scale.load_state_dict(block.state_dict())
    with torch.no_grad():
        # int8 inputs flip a few bits: what counts is that every output errs alike, relative to its own size.
        errors = [((b(rows) - real).square().mean(dim=0) / real.square().mean(dim=0)) for b in (block, one_scale)]
    if kind == {"output_bits": 24}:
        assert errors[0].max() < 0.1 < errors[1].max()
    integers.sum().backward()
    assert block.summation.encoded.grad.isfinite().all() and block.lut_layers[0].tables.grad.abs().sum() > 0
    runtime = BlockRuntime(graph)
    given = golden.quantise(rows.numpy(), graph.input_type).astype(np.int8)
    assert np.array_equal(runtime(given), golden.run(graph, given.astype(np.int64)))
