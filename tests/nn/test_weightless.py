"""The weightless block as a module: shapes, calibration, state, integer arithmetic equal to the golden model."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.freeze.block import freeze_block
from lutra.frozen import golden
from lutra.nn.calibrate import calibrate_
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig


@st.composite
def block_configs(draw):
    count = draw(st.integers(1, 3))
    layers = tuple(
        LutLayerConfig(
            luts=draw(st.integers(1, 30)),
            inputs=draw(st.integers(2, 8)),
            mapping=draw(st.sampled_from(["random", "candidate", "learnable"])),
            candidates=draw(st.integers(2, 9)),
            table_init=draw(st.sampled_from(["uniform", "smooth", "residual"])),
        )
        for _ in range(count)
    )
    return BlockConfig(
        thermometer_bits=draw(st.sampled_from([1, 2, 7, 8, 40])),
        thresholds=draw(st.sampled_from(["uniform", "gaussian", "distributive", "learned"])),
        per_feature=draw(st.booleans()),
        input_gradient=draw(st.sampled_from(["identity", "mean", "window"])),
        lut_layers=layers,
        efd=draw(st.sampled_from(["exponential", "normalised"])),
        sum_reads=tuple(draw(st.sets(st.integers(0, count))) | {count}),
        groups=draw(st.integers(1, 3)),
        centred=draw(st.booleans()),
        encoded_std=draw(st.sampled_from([0.0, 0.02, 1.0])),
        encoded_values=draw(st.sampled_from(["int", "power_of_two"])),
        encoded_bits=draw(st.integers(2, 8)),
        encoded_kept=draw(st.sampled_from([0.01, 0.3, 1.0])),
        output_bits=draw(st.sampled_from([4, 8, 16])),
    )


def calibrated_block(width, config, seed=0, output_width=None):
    block = WeightlessBlock(width, config, seed, output_width)
    calibrate_(block, torch.randn(64, width, generator=torch.Generator().manual_seed(seed)))
    with torch.no_grad():
        block.summation.bias.normal_(generator=torch.Generator().manual_seed(seed))
    return block


@settings(max_examples=60, deadline=None)
@given(block_configs(), st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_fake_quantised_block_equals_the_golden_model_bit_for_bit(config, width, output_width, seed):
    block = calibrated_block(width, config, seed, output_width)
    block.quantise_()
    graph = freeze_block("block", block)
    x = 3 * torch.randn(33, width, generator=torch.Generator().manual_seed(seed + 1))
    expected = golden.dequantise(golden.run(graph, golden.quantise(x.numpy(), graph.input_type)), graph.output_type)
    assert np.array_equal(block(x).detach().numpy(), expected)


@settings(max_examples=20, deadline=None)
@given(block_configs(), st.booleans())
def test_every_parameter_and_the_input_receive_finite_gradients(config, quantised):
    block = calibrated_block(6, config)
    if quantised:
        block.quantise_()
    x = torch.randn(2, 5, 6, requires_grad=True)
    y = block(x)
    assert y.shape == (2, 5, 6) and y.dtype == torch.float32
    y.square().sum().backward()
    for name, parameter in [("x", x), *block.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_bits_are_exact_under_bfloat16_autocast():
    block = calibrated_block(16, BlockConfig())
    block.quantise_()
    x = torch.randn(40, 16)
    exact = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(block(x), exact)
        block.dequantise_()
        y = block(x.requires_grad_())
        y.float().sum().backward()
    assert x.grad.isfinite().all()


def test_state_survives_a_round_trip_and_export_needs_no_scores():
    config = BlockConfig(thresholds="learned")
    block = calibrated_block(8, config)
    block.quantise_()
    other = WeightlessBlock(8, config, seed=99)
    other.load_state_dict(block.state_dict())
    x = torch.randn(10, 8)
    assert other.quantised and torch.equal(other(x), block(x))
    stripped = copy.deepcopy(block)
    for layer in stripped.lut_layers:
        if layer.mapping.scores is not None:
            chosen = layer.mapping.connections().flatten()
            layer.mapping.scores = None
            layer.mapping.fixed = chosen
    assert torch.equal(stripped(x), block(x))


def test_same_seed_same_block():
    first, second = (WeightlessBlock(8, BlockConfig(), seed=5) for _ in range(2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.parameters(), second.parameters(), strict=True)
        if a.numel() > 1 and a.isfinite().all()
    )
    third = WeightlessBlock(8, BlockConfig(), seed=6)
    assert not torch.equal(first.lut_layers[0].tables, third.lut_layers[0].tables)


def test_learned_thresholds_stay_sorted_and_tables_clamped():
    block = calibrated_block(8, BlockConfig(thresholds="learned"))
    with torch.no_grad():
        block.thermometer.thresholds.neg_()
        block.lut_layers[0].tables.mul_(9)
    block.constrain_()
    assert (block.thermometer.thresholds.diff(dim=1) >= 0).all()
    assert block.lut_layers[0].tables.abs().max() == 1


def test_use_before_calibration_is_an_error():
    with pytest.raises(InputError, match="calibrate_"):
        WeightlessBlock(8, BlockConfig(), 0)(torch.randn(3, 8))


def test_nan_activations_at_calibration_name_the_module():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), WeightlessBlock(8, BlockConfig(), 0))
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    with pytest.raises(InputError, match=r"1: calibration needs finite activations"):
        calibrate_(model, torch.randn(5, 8))


def test_parameter_groups_cover_what_needs_its_own_learning_rate():
    layers = (LutLayerConfig(mapping="learnable"), LutLayerConfig())
    block = WeightlessBlock(8, BlockConfig(thresholds="learned", lut_layers=layers), 0)
    groups = block.parameter_groups()
    assert {kind: len(parameters) for kind, parameters in groups.items()} == {
        "tables": 2,
        "mapping": 1,
        "thresholds": 1,
        "encoded": 2,
    }
    assert {id(p) for group in groups.values() for p in group} == {id(p) for p in block.parameters()}
