"""A block in standard cells: area, slack, and power under assumed and under measured switching."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.cells.switching import LANES, measure_switching
from lutra.accelerators.block.plan import BlockPlan
from lutra.synth.netlist.sizing import sizing_commands
from lutra.synth.netlist.switching import annotation
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.opensta import measured_power, measured_script, opensta_script, time_and_power
from lutra.synth.tools.yosys import asic_scripts

MEASUREMENT_VERSION = "5"
"""Counts what changes measured power, so that kept figures from before are not taken."""


def identity_of_measurement(asic: Asic, sources: list[str], plan: BlockPlan, rows: np.ndarray | None) -> str:
    """What a result of `measure_block` follows from besides the sources."""
    scripts = "".join([*asic_scripts(sources, plan.name, asic.gate_clocks), sizing_commands(asic.clock_hz)])
    timing = opensta_script(plan.name, asic.clock_hz) + measured_script(plan.name, asic.clock_hz, [])
    data = [asic.liberty_text.encode(), b"" if rows is None else np.ascontiguousarray(rows).tobytes()]
    digests = [hashlib.sha256(each).hexdigest() for each in data]
    return "\n".join([scripts, timing, *digests, str(LANES), MEASUREMENT_VERSION])


def measure_block(
    asic: Asic, folder: Path, sources: list[str], plan: BlockPlan, rows: np.ndarray | None
) -> dict[str, Any]:
    """Map a block whose sources lie in `folder`; `rows` are its captured inputs, (rows, input_width), or None.

    Power is that of the block at work without stalls, in W: `power_uniform` with the papers' activity on every net,
    `power_default` with OpenSTA's assumption, `power_measured` with the switching counted on `rows`.

    Raises:
        MismatchError: the mapped cells differ from the golden model.
        ToolError: a tool failed.
    """
    use, module = asic.map(folder, sources, plan.name)
    result: dict[str, Any] = asdict(use)
    if asic.sta is None:
        return result | {"slack_ns": None, "power_w": None, "power_measured": None}
    timing = time_and_power(asic.sta, folder, plan.name, asic.clock_hz)
    result |= {**asdict(timing), "power_w": timing.power_uniform.total_w}
    return result | {"power_measured": _measured(asic, folder, plan, module, rows)}


def _measured(
    asic: Asic, folder: Path, plan: BlockPlan, module: dict[str, Any], rows: np.ndarray | None
) -> dict[str, Any] | None:
    if rows is None or asic.sta is None:
        return None
    netlist = asic.netlist(module, plan.name)
    switching = measure_switching(netlist, plan, rows.astype(np.int64))
    power = measured_power(
        asic.sta, folder, plan.name, asic.clock_hz, annotation(netlist, switching), netlist.clock_gate_pins()
    )
    return {
        **asdict(power),
        "toggles_per_net_and_cycle": switching.mean_toggles_per_cycle,
        "tokens": switching.tokens,
        "energy_per_token_j": power.total_w * switching.cycles_per_token / asic.clock_hz,
    }
