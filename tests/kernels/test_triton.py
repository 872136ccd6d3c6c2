"""The Triton kernels beyond their values and gradients (test_exactness.py): as an operator, on a GPU's compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from kernel_engines import compose, gradients, random_block, select_engine
from lutra.errors import InputError
from lutra.kernels import weightless_block
from lutra.kernels.gpu import operator as gpu
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

pytest.importorskip("triton", reason="Triton is not installed")

CONFIGS = {
    "two layers": BlockConfig(lut_layers=(LutLayerConfig(luts="2D", mapping="learnable"), LutLayerConfig(luts="D"))),
    "all sources, learned thresholds": BlockConfig(
        thresholds="learned",
        per_feature=False,
        lut_layers=(LutLayerConfig(luts="2D", mapping="random"),),
        groups=2,
        centred=False,
        sum_reads=(0, 1),
        output_bits=8,
    ),
}


@pytest.fixture
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    select_engine("triton", monkeypatch)


def value_and_gradients(block: WeightlessBlock, x: torch.Tensor, forward=None) -> list[torch.Tensor]:
    y = block(x) if forward is None else forward(x)
    return [y, *torch.autograd.grad(y, [x, *block.parameters()], torch.linspace(-1, 1, y.numel()).view_as(y))]


def calibrated(config: BlockConfig) -> tuple[WeightlessBlock, torch.Tensor]:
    torch.manual_seed(0)
    block, x = WeightlessBlock(6, config, seed=0), torch.randn(2, 35, 6, requires_grad=True)
    block.calibrate_(x)
    return block, x


@pytest.mark.slow
def test_every_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_triton.py")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from lutra.kernels.gpu import kernels

    public = [n for n, f in vars(kernels).items() if hasattr(f, "arg_names") and n[0] != "_"]
    assert sorted(done.stdout.split()) == sorted(public)


@pytest.mark.usefixtures("_interpreted")
@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_module_equals_reference(config: BlockConfig, quantised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = calibrated(config)
    if quantised:
        block.quantise_()
    found = value_and_gradients(block, x)
    select_engine("reference", monkeypatch)
    expected = value_and_gradients(block, x)
    if quantised:
        assert torch.equal(found[0], expected[0])
    for ours, theirs in zip(found, expected, strict=True):
        # At temperature 0.001 the reference's softmax is off by up to 1000 roundings of float32.
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


@pytest.mark.usefixtures("_interpreted")
def test_chunks_of_rows_add_up_and_repeat_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from lutra.kernels.gpu import backward

    x, block = random_block(rows=70, luts=(5, 3), mappings=("candidate", "learnable"))
    grad_y = torch.randn(70, 6)
    whole = gradients("triton", x, block, grad_y)
    monkeypatch.setattr(backward, "TRANSIENT_BYTES", 1)
    chunked, again = (gradients("triton", x, block, grad_y) for _ in range(2))
    for name in whole:
        assert torch.equal(chunked[name], again[name]), name
        assert (chunked[name] - whole[name]).norm() <= 1e-6 * whole[name].norm(), name


@pytest.mark.usefixtures("_interpreted")
def test_compiles_in_one_graph_and_checkpoints() -> None:
    block, x = calibrated(CONFIGS["two layers"])
    expected = value_and_gradients(block, x)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for forward in (compiled, lambda x: checkpoint(block, x, use_reentrant=False)):
        for ours, eager in zip(value_and_gradients(block, x, forward), expected, strict=True):
            assert torch.equal(ours, eager)


@pytest.mark.usefixtures("_interpreted")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_and_autocast(dtype: torch.dtype) -> None:
    x, block = random_block(rows=40)
    half = x.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        y = weightless_block(half, block)
    assert y.dtype == dtype
    y.sum().backward()  # the gradient of a sum has strides of zero
    exact = half.detach().float().requires_grad_()
    with torch.autocast("cpu", enabled=False):
        compose(exact, block).sum().backward()
    assert half.grad.dtype == dtype
    torch.testing.assert_close(half.grad, exact.grad.to(dtype))


@pytest.mark.usefixtures("_interpreted")
def test_no_rows_and_no_input_gradient() -> None:
    x, block = random_block(rows=0, mappings=("learnable", "random"))
    y = weightless_block(x, block)
    y.sum().backward()
    assert y.shape == (0, 6) and not block.layers[0].scores.grad.any() and not block.encoded.grad.any()
    x, block = random_block(rows=40)
    weightless_block(x.detach(), block._replace(thresholds=block.thresholds.detach())).sum().backward()
    expected = block.layers[0].tables.grad.clone()
    block.layers[0].tables.grad = None
    compose(x, block).sum().backward()
    torch.testing.assert_close(expected, block.layers[0].tables.grad)


def test_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUTRA_ISA", raising=False)
    assert gpu.available("cuda") and not gpu.available("cpu")
    monkeypatch.setenv("LUTRA_ISA", "reference")
    assert not gpu.available("cuda")
    monkeypatch.setenv("LUTRA_ISA", "triton")
    assert gpu.available("cuda") and gpu.available("cpu")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(InputError, match="TRITON_INTERPRET=1"):
        gpu.available("cpu")
