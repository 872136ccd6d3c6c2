"""LUTs and flip-flops of blocks in several shapes, dataflows and fold factors, with random contents."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.cells.lanes import synthesise_lanes
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import Dataflow
from lutra.frozen.random_block import random_block
from lutra.papers.experiments.run import Piece, identity_of, needed_yosys
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import fpga_script

SEED = 0
WIDTHS = {"ivit-t": 192, "gpt-baby": 384, "gpt-mini": 128}
COMMON = {"thermometer_bits": 8, "output_bits": 16, "max_shift": 0}
SHAPES: dict[str, dict[str, Any]] = {
    "paper-4D-D-dense": {"luts": (4, 1), "inputs": (6, 6)},
    "8D-in-8-groups": {"luts": (8,), "inputs": (6,), "groups": 8},
    "5D-in-5-groups": {"luts": (5,), "inputs": (6,), "groups": 5},
    "10D-in-5-groups": {"luts": (10,), "inputs": (6,), "groups": 5},
}
"""By the variants of the recorded exploration gpt-mini-recovery; LUTs in multiples of the width."""
PAPER, GROUPED = "paper-4D-D-dense", "8D-in-8-groups"
DESIGNS: dict[str, tuple[tuple[Dataflow, str, int], ...]] = {
    "ivit-t": (
        *(("accumulate", PAPER, fold) for fold in (1, 4, 8, 16)),
        *(("tree", PAPER, fold) for fold in (12, 24)),
        ("tree", "5D-in-5-groups", 12),
        *(("tree", GROUPED, fold) for fold in (4, 8, 12, 16, 24)),
        ("tree", "10D-in-5-groups", 12),
    ),
    "gpt-baby": (
        *(("accumulate", PAPER, fold) for fold in (1, 4, 8, 16)),
        *(("tree", GROUPED, fold) for fold in (12, 24)),
    ),
    "gpt-mini": tuple(("tree", GROUPED, fold) for fold in (8, 16)),
}
"""What is synthesised for each model: dataflow, shape, fold factor."""
RECORDS = {
    "ivit-t": "weightless_designs",
    "gpt-baby": "weightless_designs_gpt_baby",
    "gpt-mini": "weightless_designs_gpt_mini",
}
SECONDS = 300.0
"""Of one design, about; the records do not say."""


def block_shape(shape: str, width: int) -> dict[str, Any]:
    """The arguments of `random_block` for a shape at a width."""
    return {"width": width, **COMMON, **SHAPES[shape], "luts": tuple(width * times for times in SHAPES[shape]["luts"])}


def design_pieces() -> list[Piece]:
    """The blocks behind Table 4, one piece each.

    Raises:
        ToolError: Yosys is missing.
    """
    yosys = needed_yosys()
    return [_piece(yosys, model, *design) for model, designs in DESIGNS.items() for design in designs]


def _piece(yosys: Tool, model: str, dataflow: Dataflow, shape: str, fold: int) -> Piece:
    block = random_block(np.random.default_rng(SEED), **block_shape(shape, WIDTHS[model]))
    plan = BlockPlan(block, "block_0", fold, dataflow)

    def build(folder: Path) -> dict[str, Any]:
        use = synthesise_lanes(yosys, folder, plan)
        return {
            "dataflow": dataflow,
            "shape": shape,
            "fold_factor": fold,
            "cycles_per_token": plan.schedule.interval_cycles,
            "latency_cycles": plan.schedule.latency_cycles,
            "total": asdict(use.total),
            "modules": [asdict(module) for module in use.modules],
            "tool": yosys.name,
        }

    head = {
        "design": f"weightless-designs-{model}",
        "contents": f"random, seed {SEED}",
        "method": "trees: the first one for all; accumulators: some of them in their places for all; and the rest",
        "shapes": {name: block_shape(name, WIDTHS[model]) for name in SHAPES},
    }
    identity = identity_of(block_design([plan]), fpga_script(["sources"], plan.name), yosys)
    name = f"{model}_{dataflow}_{shape}_{fold}"
    return Piece(name, RECORDS[model], head, identity, SECONDS, build)
