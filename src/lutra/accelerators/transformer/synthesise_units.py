"""What the vector units take of an UltraScale+ without its DSPs: each alone through Yosys, with several lanes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lutra.hardware.design import Design, library_files
from lutra.runs.files import write_text
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import FpgaUse, fpga_script_of_unit, fpga_use, run_script

RTL = Path(__file__).parent / "rtl"


@dataclass(frozen=True)
class UnitPoint:
    """A vector unit at one size."""

    unit: str
    """What the module is called behind `lutra_transformer_`."""
    lanes: int
    """0 where it has none."""
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return f"lutra_transformer_{self.unit}"


def unit_points() -> list[UnitPoint]:
    """Serial units; units with one, two and four lanes, of which the difference is what a lane takes."""
    serial = [UnitPoint("root", 0), UnitPoint("norm_variance", 0), UnitPoint("norm_lane", 0)]
    serial += [UnitPoint("reciprocal", 0, {"ValueBits": bits}) for bits in (17, 26)]
    fixed = {
        "requantise": {},
        "table": {},
        "residual": {},
        "norm": {"Beats": 48},
        "softmax": {"Size": 32, "Keys": 256},
    }
    return serial + [
        UnitPoint(unit, lanes, {"Lanes": lanes, **parameters})
        for unit, parameters in fixed.items()
        for lanes in (1, 2, 4)
    ]


def unit_design(module: str) -> Design:
    """A module, and all that it instantiates."""
    files = library_files(RTL)
    return Design.complete({f"{module}.sv": files[f"{module}.sv"]}, files)


def synthesise_unit(yosys: Tool, point: UnitPoint, folder: Path) -> FpgaUse:
    """Map a unit onto UltraScale+ in `folder`, with memories in LUTs and BRAM, products in LUTs.

    Raises:
        ToolError: Yosys failed, or left cells that are not of the device.
    """
    design = unit_design(point.module)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in design.files.items():
        write_text(folder / name, text)
    script = fpga_script_of_unit(design.sources, point.module, point.parameters, dsp=False)
    module = run_script(yosys, folder, script, point.module)[point.module]
    return fpga_use(module["cells"], f"{yosys.name}, {point.module}")
