"""What the forward pass keeps for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernel_engines import random_block, run, select_engine
from lutra.kernels.cpu import library as cpu
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

WIDTH, ROWS = 48, 128


def saved_bytes(block: WeightlessBlock, rows: int) -> int:
    """Storages kept for the backward pass, those of parameters included."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.randn(rows, WIDTH, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = block(x)
    assert y.requires_grad  # it keeps alive what was saved until here, so that no address was used twice
    return sum(storages.values())


def saved_bytes_per_row(block: WeightlessBlock) -> float:
    return (saved_bytes(block, 2 * ROWS) - saved_bytes(block, ROWS)) / ROWS


def paper_block(mapping: str) -> BlockConfig:
    return BlockConfig(lut_layers=(LutLayerConfig(luts="4D", mapping=mapping), LutLayerConfig(luts="D")))


@pytest.mark.parametrize(
    ("config", "ratio"),
    [
        (BlockConfig(), 50),
        (paper_block("candidate"), 50),
        (paper_block("learnable"), 50),
        # Here the reference keeps no bits, only addresses of one byte: 13 bytes a feature. No encoding can reach a
        # ratio of 50: nine levels of equal probability are 3.2 bits, without the window, and bound the ratio at 33.
        (paper_block("random"), 20),
    ],
    ids=["default", "candidate", "learnable", "random"],
)
def test_a_fraction_of_what_the_reference_keeps(
    config: BlockConfig, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpu.library() is None:
        pytest.skip("no C++ compiler")
    block = WeightlessBlock(WIDTH, config, seed=0)
    block.calibrate_(torch.randn(1000, WIDTH))
    ours = saved_bytes_per_row(block)
    assert ours == WIDTH * 5 / 8  # 25 codes for 8 thresholds and their windows: 5 bits a feature
    select_engine("reference", monkeypatch)
    assert saved_bytes_per_row(block) >= ratio * ours


@pytest.mark.parametrize("thermometer_bits", [1, 8, 255])
@pytest.mark.parametrize("isa", cpu.ISA_FLAGS)
def test_inputs_on_the_edges(isa: str, thermometer_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs equal to a threshold or an end of its window, and the floats next to them, on either side."""
    select_engine(isa, monkeypatch)
    _, block = random_block(features=3, thermometer_bits=thermometer_bits, luts=(9, 4))
    thresholds = block.thresholds.detach()
    edges = torch.cat([thresholds, thresholds - block.window, thresholds + block.window], dim=1)
    limits = torch.full_like(edges, torch.inf)
    x = torch.cat([edges, edges.nextafter(limits), edges.nextafter(-limits), limits, -limits], dim=1).t().contiguous()
    x.requires_grad_()
    grad_y = torch.randn(len(x), len(block.bias), generator=torch.Generator().manual_seed(0))
    for name in ("window", "identity"):
        block = block._replace(gradient=name)
        found, expected = (run(engine, x, block) for engine in (isa, "reference"))
        torch.testing.assert_close(found, expected)
        (ours,), (theirs,) = (torch.autograd.grad(y, x, grad_y) for y in (found, expected))
        torch.testing.assert_close(ours, theirs)
