"""A Design Compiler script that a user runs as it is, and the figures read back from its reports.

The paper's setting: 45 nm, 1 GHz, clock gating, area optimisation, 12.5 % activity (section 4.1).
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
from lutra.synth.tools.yosys import sources_of

CLOCK_HZ = 1e9
_WATTS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "nW": 1e-9, "pW": 1e-12}


@dataclass(frozen=True)
class DesignCompilerUse:
    """Area, timing and power of a module in a standard cell library."""

    area_mm2: float
    slack_ns: float
    power_w: float


def write_dc_scripts(rtl: Path, out: Path, tops: list[str], clock_hz: float = CLOCK_HZ) -> list[Path]:
    """Write `out/TOP.tcl` for the RTL in `rtl`: `LUTRA_TARGET_LIBRARY=cells.db dc_shell -f TOP.tcl` does the rest.

    The reports `TOP_area.rpt`, `TOP_timing.rpt`, `TOP_power.rpt` and the netlist appear beside the scripts.

    Raises:
        RunDirectoryError: no generated RTL in `rtl`.
    """
    sources, relative = sources_of(rtl), os.path.relpath(rtl, out)
    scripts = [out / f"{top}.tcl" for top in map(escape.identifier, tops)]
    for top, script in zip(tops, scripts, strict=True):
        write_text(script, _script(top, sources, relative, clock_hz))
    return scripts


def _script(top: str, sources: list[str], rtl: str, clock_hz: float) -> str:
    files = " ".join(f"[file join $rtl {escape.tcl(source)}]" for source in sources)
    return f"""\
# Synthesis and reports of {top}: LUTRA_TARGET_LIBRARY=cells.db dc_shell -f {top}.tcl
set here [file dirname [file normalize [info script]]]
set rtl [file normalize [file join $here {escape.tcl(rtl)}]]

if {{![info exists env(LUTRA_TARGET_LIBRARY)]}} {{
    error "set LUTRA_TARGET_LIBRARY to the .db of the standard cells"
}}
set target_library [list $env(LUTRA_TARGET_LIBRARY)]
set link_library [concat * $target_library]
set search_path [concat $search_path $rtl]
set power_default_toggle_rate {ACTIVITY:g}
set power_default_static_probability 0.5

analyze -format sverilog [list {files}]
elaborate {top}
current_design {top}
link
create_clock -name clock -period {1e9 / clock_hz:.6g} [get_ports {CLOCK_PORT}]
set_input_delay 0 -clock clock [remove_from_collection [all_inputs] [get_ports {CLOCK_PORT}]]
set_output_delay 0 -clock clock [all_outputs]
set_max_area 0
compile_ultra -gate_clock

report_area > [file join $here {top}_area.rpt]
report_timing > [file join $here {top}_timing.rpt]
report_power > [file join $here {top}_power.rpt]
write -format verilog -hierarchy -output [file join $here {top}_netlist.v]
exit
"""


def read_dc_reports(folder: Path, top: str) -> DesignCompilerUse | None:
    """The figures that Design Compiler reported for `top` in the scripts' folder, or None where nobody ran it yet.

    Raises:
        ToolError: a report that lacks a figure.
    """
    paths = [folder / f"{top}_{kind}.rpt" for kind in ("area", "timing", "power")]
    if not all(path.exists() for path in paths):
        return None
    area, timing, power = (path.read_text(encoding="utf-8") for path in paths)
    return parse_reports(area, timing, power, f"{folder}, {top}")


def parse_reports(area: str, timing: str, power: str, where: str) -> DesignCompilerUse:
    """Read the text of `report_area` (library units: um2), `report_timing` (ns) and `report_power`.

    Raises:
        ToolError: a figure is missing.
    """
    area_um2 = _find(r"Total cell area:\s+([0-9.eE+-]+)", area, "total cell area", where)[1]
    slack_ns = _find(r"slack \((?:MET|VIOLATED)[^)]*\)\s+(-?[0-9.]+)", timing, "slack", where)[1]
    dynamic = _find(r"Total Dynamic Power\s+=\s+([0-9.eE+-]+) (\w+)", power, "total dynamic power", where)
    leakage = _find(r"Cell Leakage Power\s+=\s+([0-9.eE+-]+) (\w+)", power, "cell leakage power", where)
    return DesignCompilerUse(
        area_mm2=float(area_um2) * 1e-6,
        slack_ns=float(slack_ns),
        power_w=sum(float(match[1]) * _WATTS[match[2]] for match in (dynamic, leakage)),
    )


def _find(pattern: str, report: str, name: str, where: str) -> re.Match[str]:
    match = re.search(pattern, report)
    if not match:
        raise ToolError(f"{where}: the report does not tell the {name}; is it the one that our script writes?")
    return match
