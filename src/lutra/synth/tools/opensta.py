"""Timing and power of a gate netlist with OpenSTA."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lutra import escape
from lutra.errors import ToolError
from lutra.synth.tools.find import Tool, run_tool

CLOCK_PORT = "clk_i"
ACTIVITY = 0.125
"""Toggles per net and clock cycle: the papers' vectorless 12.5 %."""


@dataclass(frozen=True)
class PowerSplit:
    """Power of a netlist without wires and clock tree, by where it goes."""

    internal_w: float
    switching_w: float
    leakage_w: float
    total_w: float


@dataclass(frozen=True)
class TimingAndPower:
    """Worst setup slack without wires, and power under activities that nobody measured."""

    slack_ns: float
    power_uniform: PowerSplit
    """The same activity on every net."""
    power_default: PowerSplit
    """What OpenSTA assumes at the inputs, propagated by it."""


def opensta_script(top: str, clock_hz: float, activity: float = ACTIVITY) -> str:
    """Reads `cells.lib` and `netlist.v`; inputs arrive with the clock edge, outputs have the whole cycle."""
    return "\n".join(
        [
            *_design(top, clock_hz),
            "report_worst_slack",
            "report_power -digits 6",
            f"set_power_activity -global -activity {activity} -duty 0.5",
            "report_power -digits 6",
            "exit",
            "",
        ]
    )


# OpenSTA counts nothing of a cell that no clock's paths reach: with the clock cut off, they begin at the flip-flops.
PATHS_BEHIND_GATES = "set_input_delay 0 -clock clock [all_registers -output_pins]"


def measured_script(top: str, clock_hz: float, clock_gate_pins: Collection[str]) -> str:
    """Reads also `activity.tcl`, which gives every pin its activity.

    OpenSTA takes a clock behind a clock gate to pulse in every cycle. So the clock is cut off at the gate's own clock
    pin, and the activities count, that of the gate's output too: cut off behind it, the output would pulse always.
    """
    return "\n".join(
        [
            *_design(top, clock_hz),
            *(f"set_disable_timing [get_pins {escape.tcl(pin)}]" for pin in clock_gate_pins),
            *([PATHS_BEHIND_GATES] if clock_gate_pins else []),
            "source activity.tcl",
            "report_power -digits 6",
            "exit",
            "",
        ]
    )


def _design(top: str, clock_hz: float) -> list[str]:
    return [
        "set_cmd_units -time ns -power W",
        "read_liberty cells.lib",
        "read_verilog netlist.v",
        f"link_design {top}",
        f"create_clock -name clock -period {1e9 / clock_hz:.6g} [get_ports {CLOCK_PORT}]",
        "foreach port [all_inputs] {",
        f'    if {{[get_property $port full_name] ne "{CLOCK_PORT}"}} {{set_input_delay 0 -clock clock $port}}',
        "}",
        "set_output_delay 0 -clock clock [all_outputs]",
    ]


def time_and_power(sta: Tool, folder: Path, top: str, clock_hz: float, activity: float = ACTIVITY) -> TimingAndPower:
    """Timing and power of the netlist that `yosys.synthesise_asic` left in `folder`.

    Raises:
        ToolError: OpenSTA failed or did not print slack or power.
    """
    text, where = _run(sta, folder, "sta", opensta_script(top, clock_hz, activity)), f"{sta.name}, {top}"
    default, uniform = parse_power(text, where, reports=2)
    return TimingAndPower(parse_slack_ns(text, where), uniform, default)


def measured_power(
    sta: Tool, folder: Path, top: str, clock_hz: float, annotation: Iterable[str], clock_gate_pins: Collection[str]
) -> PowerSplit:
    """Power of the netlist in `folder` with the activities that the Tcl commands of `annotation` give.

    Raises:
        ToolError: OpenSTA failed or did not print power.
    """
    (folder / "activity.tcl").write_text("\n".join(annotation) + "\n", encoding="utf-8")
    text = _run(sta, folder, "sta_measured", measured_script(top, clock_hz, clock_gate_pins))
    return parse_power(text, f"{sta.name}, {top}", reports=1)[0]


def _run(sta: Tool, folder: Path, name: str, script: str) -> str:
    """What OpenSTA prints for a script."""
    (folder / f"{name}.tcl").write_text(script, encoding="utf-8")
    log = folder / f"{name}.log"
    run_tool(sta, ["-exit", "-no_splash", f"{name}.tcl"], folder, log)
    return log.read_text(encoding="utf-8", errors="replace")


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


def parse_power(text: str, where: str, reports: int) -> list[PowerSplit]:
    """The totals of every `report_power`, in the command units (W).

    Raises:
        ToolError: not as many as `reports`, or a total that is not a positive number.
    """
    _refuse_errors(text, where)
    rows = re.findall(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s+([0-9.eE+-]+)\s", text, re.MULTILINE)
    if len(rows) != reports or not all(float(row[3]) > 0 for row in rows):
        raise ToolError(f"{where}: printed no total power; see its log")
    return [PowerSplit(*map(float, row)) for row in rows]


def _refuse_errors(text: str, where: str) -> None:
    # OpenSTA's status is 0 after an error in a command of its script.
    match = re.search(r"^Error:? .*$", text, re.MULTILINE)
    if match:
        raise ToolError(f"{where}: {match[0]}")
