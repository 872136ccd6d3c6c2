"""A block in a model of your own, from PyTorch to verified SystemVerilog: `python examples/block_to_rtl.py [FOLDER]`.

The MLP of a small model becomes a weightless block, which is trained for a few seconds, frozen to integers, written as
SystemVerilog, and simulated on real activations. FOLDER (default runs/block_to_rtl) then holds

    frozen/                 the frozen model: what the hardware computes, exactly
    rtl/                    SystemVerilog, and filelist.f with its files in order
    simulation/rtl/         the same design, as it was simulated; waveforms beside it where it differs
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import lutra
from lutra.frozen import golden, store
from lutra.nn.weightless import weightless_blocks

FOLD = 4  # bits that every output adds per cycle
ITERATIONS, BATCH = 400, 256
RATES = {"tables": 1e-1, "mapping": 1e-1, "thresholds": 1e-3, "encoded": 2e-2}


class OwnModel(nn.Module):
    """Any module tree with an MLP in it will do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(8, 24), nn.LayerNorm(24), nn.Linear(24, 1)
        self.mlp = nn.Sequential(nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24))

    def before_the_mlp(self, x: Tensor) -> Tensor:
        return self.norm(self.embed(x))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8) -> (N, 1)."""
        return self.head(self.embed(x) + self.mlp(self.before_the_mlp(x)))


def batch(rows: int) -> tuple[Tensor, Tensor]:
    """Something to learn: (rows, 8) -> (rows, 1). Without an MLP the model is linear, and its error stays at 1."""
    x = torch.randn(rows, 8)
    return x, x[:, :1] * x[:, 1:2] + x[:, 2:3].abs()


def train(model: nn.Module) -> None:
    """As usual, but for two things: a block's parameters want rates of their own, and tables stay within [-1, 1]."""
    blocks = weightless_blocks(model).values()
    groups = [
        {"params": parameters, "lr": RATES[kind]}
        for block in blocks
        for kind, parameters in block.parameter_groups().items()
        if parameters
    ]
    of_blocks = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in of_blocks]
    optimiser = torch.optim.Adam([{"params": rest, "lr": 3e-3}, *groups])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ITERATIONS)
    for _ in range(ITERATIONS):
        x, y = batch(BATCH)
        loss = nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        for block in blocks:
            block.constrain_()


@torch.no_grad()
def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Mean squared error, as a fraction of the targets' variance."""
    return float(nn.functional.mse_loss(model(x), y) / y.var())


def main(folder: Path) -> None:
    torch.manual_seed(0)
    model = OwnModel()
    for replaced in lutra.replace_mlp(model):
        print(f"{replaced.name}: {replaced.reason}")
    lutra.calibrate_(model, batch(1024)[0])  # thresholds from real activations

    x, y = batch(4096)
    untrained = error(model, x, y)
    train(model)
    trained = error(model, x, y)
    frozen = lutra.freeze_model(model)  # from here on, `model` computes with the same integers
    print(f"error: {untrained:.3f} untrained, {trained:.3f} trained, {error(model, x, y):.3f} in integers")

    store.save(frozen, folder / "frozen")
    files = lutra.generate_rtl(frozen, folder / "rtl", FOLD)
    print(f"{folder / 'rtl'}: {len(files)} files, {frozen.graphs[0].name} is the module block_0")

    (graph,) = frozen.graphs
    with torch.no_grad():
        rows = golden.quantise(model.before_the_mlp(x[:256]).numpy(), graph.input_type)
    (result,) = lutra.simulate_graphs([(graph, FOLD, rows)], folder / "simulation")
    print(f"simulated: {result.rows} rows, {result.cycles_measured} cycles, {result.cycles_predicted} predicted")
    print(f"{result.mismatches} outputs differ, {result.mismatches_with_stalls} when sources and sinks stall")
    if result.problem:
        sys.exit(result.problem)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/block_to_rtl"))
