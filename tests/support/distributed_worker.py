"""One of two processes that train a weightless block on half of a batch each: RANK, rendezvous file, results folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BlockConfig, LutLayerConfig

WORLD = 2
CONFIG = BlockConfig(
    thresholds="learned",
    lut_layers=(LutLayerConfig(luts="2D", mapping="learnable"), LutLayerConfig(luts="D", mapping="candidate")),
)


class Scaled(nn.Module):
    """A block with something trainable before it that receives the gradient of the block's input."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(16))
        self.block = WeightlessBlock(16, CONFIG, seed=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x * self.scale)


def batch() -> Tensor:
    return torch.randn(160, 16, generator=torch.Generator().manual_seed(0))


def calibrated() -> Scaled:
    model = Scaled()
    model.block.calibrate_(batch())
    return model


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of a mean over the rows, by the names of the parameters."""
    model(x).square().sum(dim=1).mean().backward()
    return {name.removeprefix("module."): parameter.grad for name, parameter in model.named_parameters()}


def main(rank: int, rendezvous: Path, results: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=rendezvous.as_uri(), rank=rank, world_size=WORLD)
    mine = batch().chunk(WORLD)[rank]
    for attempt in range(2):
        found = gradients(DistributedDataParallel(calibrated()), mine)
        save_file(found, results / f"rank{rank}-attempt{attempt}.safetensors")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
