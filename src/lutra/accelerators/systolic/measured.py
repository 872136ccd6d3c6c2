"""A module in standard cells under given inputs: area, slack, and power from the switching that is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.errors import MismatchError, ToolError
from lutra.frozen.types import IntArray
from lutra.hardware.design import Design, library_files
from lutra.synth.netlist.gates import LANES_PER_WORD, GateNetlist
from lutra.synth.netlist.switching import Switching, SwitchingCount, annotation, to_words, words_of
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import write_sources
from lutra.synth.tools.opensta import measured_power, time_and_power


@dataclass(frozen=True)
class Shown:
    """What bits of a port must show in some cycles, (cycles, simulations); counting starts there."""

    port: str
    bits: slice
    cycles: IntArray
    values: IntArray


def wrapper(name: str, inputs: Mapping[str, int], outputs: Mapping[str, int], inside: str) -> str:
    """A top with parameters fixed, whose ports are `inputs` and `outputs`: name -> bits."""
    declared = [f"  input  logic [{bits - 1}:0] {port}" for port, bits in inputs.items()]
    declared += [f"  output logic [{bits - 1}:0] {port}" for port, bits in outputs.items()]
    named = ", ".join(f".{port}" for port in [*inputs, *outputs])
    head = ",\n".join(declared)
    return f"module {name} (\n{head}\n);\n  {inside.replace('.*', named)}\nendmodule\n"


def _opensta(asic: Asic) -> Tool:
    if asic.sta is None:
        raise ToolError("timing and power need OpenSTA (sta)")
    return asic.sta


def map_top(asic: Asic, folder: Path, rtl: Path, top: str, text: str) -> tuple[dict[str, Any], GateNetlist]:
    """Area, cells, slack and power at 12.5 % of the module `top`, whose text is given, and its cells; `rtl` holds what
    it instantiates beside modules that all accelerators share.

    Raises:
        ToolError: a tool failed, or OpenSTA is not installed.
    """
    sta = _opensta(asic)
    sources = write_sources(Design.complete({f"{top}.sv": text}, library_files(rtl)).files, folder)
    use, module = asic.map(folder, sources, top)
    timing = time_and_power(sta, folder, top, asic.clock_hz)
    measured = {**asdict(use), "slack_ns": timing.slack_ns, "power_uniform": asdict(timing.power_uniform)}
    return measured, asic.netlist(module, top)


def measure(
    asic: Asic, folder: Path, rtl: Path, top: str, text: str, inputs: Mapping[str, IntArray], *shown: Shown
) -> dict[str, Any]:
    """What `map_top` gives, and power from the switching that `inputs`, (cycles, simulations) each, cause.

    Raises:
        MismatchError: the mapped cells show something else than `shown`.
        ToolError: a tool failed, or OpenSTA is not installed.
    """
    mapped, netlist = map_top(asic, folder, rtl, top, text)
    switching = _count(netlist, inputs, shown)
    lines = annotation(netlist, switching)
    power = measured_power(_opensta(asic), folder, top, asic.clock_hz, lines, netlist.clock_gate_pins())
    return {
        **mapped,
        "power_measured": asdict(power),
        "toggles_per_net_and_cycle": switching.mean_toggles_per_cycle,
    }


def _count(netlist: GateNetlist, inputs: Mapping[str, IntArray], shown: tuple[Shown, ...]) -> Switching:
    """Switching under `inputs`, (cycles, simulations) each, from the first cycle on in which something is `shown`."""
    cycles, simulations = next(iter(inputs.values())).shape
    words = words_of(simulations)
    if simulations != words * LANES_PER_WORD:
        raise ToolError(f"{netlist.name}: count in whole words of {LANES_PER_WORD} simulations, not {simulations}")
    values, count = netlist.start(words, np.random.default_rng(0)), SwitchingCount(netlist)
    expected = {
        cycle: (netlist.port(each.port)[each.bits], value)
        for each in shown
        for cycle, value in zip(each.cycles.tolist(), each.values, strict=True)
    }
    first = min(expected)
    for cycle in range(cycles):
        for name, given in inputs.items():
            rows = netlist.port(name)
            values[rows] = to_words((given[cycle][:, None] >> np.arange(len(rows))) & 1)
        netlist.settle(values)
        if cycle in expected:
            observed, value = expected[cycle]
            if (values[observed] != to_words((value[:, None] >> np.arange(len(observed))) & 1)).any():
                raise MismatchError(f"{netlist.name}: the mapped gates compute something else in cycle {cycle}")
        if cycle >= first:
            count.see(values)
        netlist.clock(values)
    return count.switching(simulations, simulations * (cycles - first - 1), 1)
