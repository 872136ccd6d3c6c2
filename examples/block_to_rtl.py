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

FOLD = 4  # bits that every output adds per cycle
ITERATIONS, BATCH = 400, 256


class OwnModel(nn.Module):
    """Any model with a feed-forward part will do: `find_mlps` goes by what it does, not by names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(8, 24), nn.LayerNorm(24), nn.Linear(24, 1)
        self.mlp = nn.Sequential(nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8) -> (N, 1)."""
        hidden = self.embed(x)
        return self.head(hidden + self.mlp(self.norm(hidden)))


def batch(rows: int) -> tuple[Tensor, Tensor]:
    """Something to learn: (rows, 8) -> (rows, 1). A linear model explains nothing of it: its error stays at 1."""
    x = torch.randn(rows, 8)
    return x, x[:, :1] * x[:, 1:2] + x[:, 2:3].abs()


def train(model: nn.Module) -> None:
    """A loop as anywhere; the groups and the schedule know what blocks need."""
    optimiser = torch.optim.AdamW(lutra.parameter_groups(model, lr=3e-3))
    schedule = lutra.TrainingSchedule(model, optimiser, ITERATIONS)
    for _ in range(ITERATIONS):
        x, y = batch(BATCH)
        loss = nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Mean squared error, as a fraction of the targets' variance."""
    return float(nn.functional.mse_loss(model(x), y) / y.var())


def main(folder: Path) -> None:
    torch.manual_seed(0)
    model, (x, y) = OwnModel(), batch(4096)
    plan = lutra.find_mlps(model, x[:8])
    for row in lutra.replace_mlp(model, plan):
        print(f"{row.path}: a {row.kind} becomes a block, {row.inputs} to {row.outputs} features")
    lutra.calibrate_(model, x[:1024])  # thresholds from real activations

    untrained = error(model, x, y)
    train(model)
    frozen = lutra.freeze_model(model)
    print(f"error: {untrained:.3f} untrained, {error(model, x, y):.3f} trained, in integers")

    store.save(frozen, folder / "frozen")
    (graph,) = frozen.graphs
    files = lutra.generate_rtl(frozen, folder / "rtl", FOLD)
    print(f"{folder / 'rtl'}: {len(files)} files; {graph.name} is the module block_0")

    with torch.no_grad():
        rows = golden.quantise(model.norm(model.embed(x[:256])).numpy(), graph.input_type)
    (result,) = lutra.simulate_graphs([(graph, FOLD, rows)], folder / "simulation")
    print(f"simulated: {result.rows} rows, {result.cycles_measured} cycles, {result.cycles_predicted} predicted")
    print(f"{result.mismatches} outputs differ, {result.mismatches_with_stalls} when sources and sinks stall")
    if result.problem:
        sys.exit(result.problem)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/block_to_rtl"))
