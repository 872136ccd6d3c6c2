"""Scripts that a user with Vivado runs as they are, and the figures read back from Vivado's reports.

The paper's setting: xcvu9p-flgb2104-2-i, 200 MHz, no DSP, placed and routed, vectorless power at 12.5 % (section 4.1).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lutra import escape
from lutra.errors import ToolError
from lutra.runs.files import write_text
from lutra.synth.tools.opensta import ACTIVITY, CLOCK_PORT
from lutra.synth.tools.yosys import XILINX_MACRO, sources_of

PART = "xcvu9p-flgb2104-2-i"
CLOCK_HZ = 200e6


@dataclass(frozen=True)
class VivadoUse:
    """Utilisation and power of a placed and routed module."""

    tool: str
    lut_packed: int
    ff: int
    bram: float
    dsp: int
    dynamic_power_w: float
    static_power_w: float


def write_vivado_scripts(
    rtl: Path, out: Path, tops: list[str], part: str = PART, clock_hz: float = CLOCK_HZ
) -> list[Path]:
    """Write `out/TOP.tcl` and `out/clock.xdc` for the RTL in `rtl`: `vivado -mode batch -source TOP.tcl` does the rest.

    The project and the reports `TOP_utilization.rpt`, `TOP_power.rpt`, `TOP_timing.rpt` appear beside the scripts.

    Raises:
        RunDirectoryError: no generated RTL in `rtl`.
    """
    sources, relative = sources_of(rtl), os.path.relpath(rtl, out)
    constraints = out / "clock.xdc"
    write_text(constraints, f"create_clock -name clock -period {1e9 / clock_hz:.6g} [get_ports {CLOCK_PORT}]\n")
    scripts = [out / f"{top}.tcl" for top in map(escape.identifier, tops)]
    for top, script in zip(tops, scripts, strict=True):
        write_text(script, _project_script(top, sources, relative, part))
    return [constraints, *scripts]


def _project_script(top: str, sources: list[str], rtl: str, part: str) -> str:
    files = " ".join(f"[file join $rtl {escape.tcl(source)}]" for source in sources)
    return f"""\
# Project, implementation and reports of {top}: vivado -mode batch -source {top}.tcl
set here [file dirname [file normalize [info script]]]
set rtl [file normalize [file join $here {escape.tcl(rtl)}]]

create_project -force {top} [file join $here {top}] -part {part}
add_files -norecurse [list {files}]
set_property file_type SystemVerilog [get_files *.sv]
add_files -fileset constrs_1 -norecurse [file join $here clock.xdc]
set_property top {top} [current_fileset]
set_property include_dirs [list $rtl] [current_fileset]
set_property verilog_define {{{XILINX_MACRO}=1}} [current_fileset]

# Without DSPs, as in the paper; the module stands alone, so its ports get no pads.
set_property STEPS.SYNTH_DESIGN.ARGS.MAX_DSP 0 [get_runs synth_1]
set_property -name {{STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS}} -value {{-mode out_of_context}} -objects [get_runs synth_1]

launch_runs impl_1 -jobs 2
wait_on_run impl_1
if {{[get_property PROGRESS [get_runs impl_1]] ne "100%"}} {{
    error "{top}: implementation failed; look into the log of impl_1"
}}
open_run impl_1

report_utilization -file [file join $here {top}_utilization.rpt]
report_timing_summary -file [file join $here {top}_timing.rpt]
set_switching_activity -default_toggle_rate {100 * ACTIVITY:g}
report_power -file [file join $here {top}_power.rpt]
"""


def read_vivado_reports(folder: Path, top: str) -> VivadoUse | None:
    """The figures that Vivado reported for `top` in the scripts' folder, or None where nobody ran it yet.

    Raises:
        ToolError: a report that lacks a figure.
    """
    utilisation, power = (folder / f"{top}_{kind}.rpt" for kind in ("utilization", "power"))
    if not utilisation.exists() or not power.exists():
        return None
    return parse_reports(utilisation.read_text(encoding="utf-8"), power.read_text(encoding="utf-8"), f"{folder}, {top}")


def parse_reports(utilisation: str, power: str, where: str) -> VivadoUse:
    """Read the text of `report_utilization` and `report_power`.

    Raises:
        ToolError: a figure is missing.
    """
    version = re.search(r"Tool Version\s*:\s*Vivado v\.?(\S+)", utilisation)
    return VivadoUse(
        tool=f"Vivado {version[1]}" if version else "Vivado",
        lut_packed=int(_cell(utilisation, r"(?:CLB|Slice) LUTs\*?", where)),
        ff=int(_cell(utilisation, r"(?:CLB|Slice) Registers", where)),
        bram=_cell(utilisation, r"Block RAM Tile", where),
        dsp=int(_cell(utilisation, r"DSPs", where)),
        dynamic_power_w=_cell(power, r"Dynamic \(W\)", where),
        static_power_w=_cell(power, r"Device Static \(W\)", where),
    )


def _cell(report: str, row: str, where: str) -> float:
    """The first number in the table row whose name matches `row`."""
    match = re.search(rf"^\|\s*{row}\s*\|\s*([0-9.]+)\s*\|", report, re.MULTILINE)
    if not match:
        raise ToolError(f"{where}: the report has no row {row!r}; is it the report that our script writes?")
    return float(match[1])
