"""Timing and power of a gate netlist with OpenSTA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lutra.errors import ToolError
from lutra.synth.tools import Tool, run_tool

CLOCK_PORT = "clk_i"
ACTIVITY = 0.125
"""Toggles per net and clock cycle: the papers' vectorless 12.5 %."""


@dataclass(frozen=True)
class TimingAndPower:
    """Worst setup slack without wires, and power with the same activity on every net."""

    slack_ns: float
    power_w: float


def opensta_script(top: str, clock_hz: float, activity: float = ACTIVITY) -> str:
    """Reads `cells.lib` and `netlist.v`; inputs arrive with the clock edge, outputs have the whole cycle."""
    return "\n".join(
        [
            "set_cmd_units -time ns -power W",
            "read_liberty cells.lib",
            "read_verilog netlist.v",
            f"link_design {top}",
            f"create_clock -name clock -period {1e9 / clock_hz:.6g} [get_ports {CLOCK_PORT}]",
            "foreach port [all_inputs] {",
            f'    if {{[get_property $port full_name] ne "{CLOCK_PORT}"}} {{set_input_delay 0 -clock clock $port}}',
            "}",
            "set_output_delay 0 -clock clock [all_outputs]",
            f"set_power_activity -global -activity {activity} -duty 0.5",
            "report_worst_slack",
            "report_power -digits 6",
            "exit",
            "",
        ]
    )


def time_and_power(sta: Tool, folder: Path, top: str, clock_hz: float, activity: float = ACTIVITY) -> TimingAndPower:
    """Timing and power of the netlist that `yosys.synthesise_asic` left in `folder`.

    Raises:
        ToolError: OpenSTA failed or did not print slack or power.
    """
    (folder / "sta.tcl").write_text(opensta_script(top, clock_hz, activity), encoding="utf-8")
    log = folder / "sta.log"
    run_tool(sta, ["-exit", "-no_splash", "sta.tcl"], folder, log)
    text = log.read_text(encoding="utf-8", errors="replace")
    return TimingAndPower(
        slack_ns=parse_slack_ns(text, f"{sta.name}, {top}"), power_w=parse_power_w(text, f"{sta.name}, {top}")
    )


def parse_slack_ns(text: str, where: str) -> float:
    """The worst slack of `report_worst_slack`, in the command units (ns).

    Raises:
        ToolError: not printed, or no path is constrained.
    """
    _refuse_errors(text, where)
    match = re.search(r"^worst slack(?: max)? (\S+)$", text, re.MULTILINE)
    if not match or match[1] in ("INF", "-INF"):
        raise ToolError(f"{where}: no constrained path; does the design have a clock {CLOCK_PORT}?")
    return float(match[1])


def parse_power_w(text: str, where: str) -> float:
    """The total power of `report_power`, in the command units (W).

    Raises:
        ToolError: not printed, or not a positive number.
    """
    _refuse_errors(text, where)
    match = re.search(r"^Total\s+\S+\s+\S+\s+\S+\s+([0-9.eE+-]+)\s", text, re.MULTILINE)
    if not match or not float(match[1]) > 0:
        raise ToolError(f"{where}: printed no total power; see its log")
    return float(match[1])


def _refuse_errors(text: str, where: str) -> None:
    # OpenSTA's status is 0 after an error in a command of its script.
    match = re.search(r"^Error:? .*$", text, re.MULTILINE)
    if match:
        raise ToolError(f"{where}: {match[0]}")
