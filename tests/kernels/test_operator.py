"""The fused block as a PyTorch operator: compiling, checkpointing, autocast, quantised blocks, fallback."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kernel_engines import compose, random_block, select_engine
from lutra import kernels
from lutra.errors import InputError
from lutra.kernels.cpu import library as cpu
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

TWO_LAYERS = (LutLayerConfig(luts="4D", mapping="learnable", table_init="smooth"), LutLayerConfig(luts="D"))
CONFIGS = {
    "default": BlockConfig(),
    "two layers, dense": BlockConfig(lut_layers=TWO_LAYERS, groups=1),
    "all sources, groups, learned thresholds": BlockConfig(
        thresholds="learned",
        per_feature=False,
        lut_layers=TWO_LAYERS,
        groups=2,
        centred=False,
        sum_reads=(0, 1, 2),
        output_bits=8,
    ),
    "four inputs, mean": BlockConfig(lut_layers=(LutLayerConfig(inputs=4),), input_gradient="mean", efd="normalised"),
}


@pytest.fixture(autouse=True)
def _compiled_kernels() -> None:
    torch.set_num_threads(1)
    if cpu.library() is None:
        pytest.skip("no C++ compiler")


def calibrated(config: BlockConfig, width: int = 16) -> tuple[WeightlessBlock, Tensor]:
    torch.manual_seed(0)
    block = WeightlessBlock(width, config, seed=0)
    x = torch.randn(3, 50, width, requires_grad=True)
    block.calibrate_(x)
    return block, x


def value_and_gradients(block: WeightlessBlock, x: Tensor, forward=None) -> list[Tensor]:
    y = block(x) if forward is None else forward(x)
    return [y, *torch.autograd.grad(y, [x, *block.parameters()], torch.linspace(-1, 1, y.numel()).view_as(y))]


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("isa", cpu.ISA_FLAGS)
def test_module_equals_reference(
    isa: str, config: BlockConfig, quantised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, x = calibrated(config)
    if quantised:
        block.quantise_()
    select_engine("reference", monkeypatch)
    expected = value_and_gradients(block, x)
    select_engine(isa, monkeypatch)
    found = value_and_gradients(block, x)
    if quantised:
        assert torch.equal(found[0], expected[0])
    for ours, theirs in zip(found, expected, strict=True):
        # At temperature 0.001 the reference's softmax is off by up to 1000 roundings of float32.
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("outputs", [3, 15, 16, 33, 70])
@pytest.mark.parametrize("isa", cpu.ISA_FLAGS)
def test_outputs_of_any_width_in_any_groups(
    isa: str, outputs: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups that fill a vector, one that does not, two vectors, and more."""
    config = BlockConfig(lut_layers=(LutLayerConfig(luts=70, mapping="candidate", candidates=9),), groups=groups)
    torch.manual_seed(0)
    block = WeightlessBlock(12, config, seed=0, output_width=outputs)
    x = torch.randn(150, 12, requires_grad=True)
    block.calibrate_(x)
    select_engine("reference", monkeypatch)
    expected = value_and_gradients(block, x)
    select_engine(isa, monkeypatch)
    for ours, theirs in zip(value_and_gradients(block, x), expected, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


@pytest.mark.parametrize("quantised", [False, True])
def test_compiles_in_one_graph(quantised: bool) -> None:
    block, x = calibrated(BlockConfig())
    if quantised:
        block.quantise_()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for ours, eager in zip(value_and_gradients(block, x, compiled), value_and_gradients(block, x), strict=True):
        assert torch.equal(ours, eager)


def test_operator_is_well_formed() -> None:
    x, block = random_block(mappings=("learnable", "candidate"))
    layers = block.layers
    candidates = [torch.empty(0) if l.candidates is None else l.candidates.t().contiguous().int() for l in layers]
    arguments = (
        x, block.thresholds, block.window, [l.tables for l in layers], [l.connections for l in layers],
        [l.scores for l in layers], candidates, block.encoded, block.bias, [], [0.05, 0.05],
        list(block.sum_sources), block.gradient, block.efd, block.centred, 1,
    )  # fmt: skip
    torch.library.opcheck(torch.ops.lutra.weightless_forward, arguments)


def test_checkpointing_changes_nothing() -> None:
    block, x = calibrated(BlockConfig())
    again = value_and_gradients(block, x, lambda x: checkpoint(block, x, use_reentrant=False))
    assert all(torch.equal(a, b) for a, b in zip(again, value_and_gradients(block, x), strict=True))


def test_autocast_returns_its_type_and_float32_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = calibrated(BlockConfig())
    with torch.autocast("cpu", torch.bfloat16):
        found = value_and_gradients(block, x)
        monkeypatch.setenv("LUTRA_ISA", "reference")
        expected = value_and_gradients(block, x)
    assert [t.dtype for t in found] == [t.dtype for t in expected]
    assert found[0].dtype == torch.bfloat16
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).float().norm() <= 0.02 * theirs.float().norm()


def test_bfloat16_input_and_strided_gradient() -> None:
    x, block = random_block()
    half = x.detach().bfloat16().requires_grad_()
    y = kernels.weightless_block(half, block)
    assert y.dtype == torch.bfloat16
    y.sum().backward()  # the gradient of a sum has strides of zero
    exact = half.detach().float().requires_grad_()
    compose(exact, block).sum().backward()
    assert half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(half.grad, exact.grad.bfloat16())


def test_no_rows() -> None:
    x, block = random_block(rows=0, mappings=("learnable", "random"))
    y = kernels.weightless_block(x, block)
    assert y.shape == (0, 6)
    y.sum().backward()
    assert not block.layers[0].scores.grad.any() and not block.encoded.grad.any()


def test_frozen_input_needs_no_gradient() -> None:
    x, block = random_block()
    kernels.weightless_block(x.detach(), block._replace(thresholds=block.thresholds.detach())).sum().backward()
    expected = block.encoded.grad.clone()
    block.encoded.grad = None
    compose(x, block).sum().backward()
    torch.testing.assert_close(expected, block.encoded.grad)


def test_quantised_state_survives_a_state_dict() -> None:
    block, x = calibrated(BlockConfig())
    block.quantise_()
    other = WeightlessBlock(16, BlockConfig(), seed=1)
    other.load_state_dict(block.state_dict())
    assert other.quantised and torch.equal(other(x), block(x))


def test_without_compiler_one_warning_and_the_reference(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    block, x = calibrated(BlockConfig())
    expected = block(x)
    monkeypatch.setenv("CXX", "no-such-compiler")
    for cached in (cpu.supported_isas, cpu._library):
        cached.cache_clear()
    with caplog.at_level(logging.WARNING, "lutra"):
        found = [block(x), block(x)]
    for cached in (cpu.supported_isas, cpu._library):
        cached.cache_clear()
    assert len(caplog.records) == 1 and "no C++ compiler" in caplog.text
    torch.testing.assert_close(found[0], expected)
    assert torch.equal(found[0], found[1])


def test_an_unknown_instruction_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTRA_ISA", "avx1024")
    with pytest.raises(InputError, match="LUTRA_ISA=avx1024: this machine runs"):
        cpu.library()
