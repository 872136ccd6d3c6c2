"""A block in standard cells: area, slack, and power under assumed and under measured switching."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutra.rtl.plan import BlockPlan
from lutra.synth.activity import LANES, annotation, measure_switching
from lutra.synth.gates import GateNetlist
from lutra.synth.liberty import clock_gate_name, read_cells
from lutra.synth.opensta import measured_power, measured_script, opensta_script, time_and_power
from lutra.synth.sizing import sizing_commands
from lutra.synth.tools import Tool
from lutra.synth.yosys import AsicUse, asic_scripts, read_liberty, synthesise_asic

MEASUREMENT_VERSION = "5"
"""Counts what changes measured power, so that kept figures from before are not taken."""


@dataclass(frozen=True)
class Asic:
    """The tools, cells and conditions of a mapping; `sta` is None where there is no timing and power."""

    front: Tool
    mapper: Tool
    sta: Tool | None
    liberty: Path
    clock_hz: float
    gate_clocks: bool = False

    @property
    def tool(self) -> str:
        """The names of all tools, for the record."""
        return ", ".join(dict.fromkeys(tool.name for tool in (self.front, self.mapper, self.sta) if tool))

    @property
    def has_clock_gate(self) -> bool:
        """Whether the library has a cell that gates clocks."""
        return clock_gate_name(_text(self.liberty)) is not None

    def identity(self, sources: list[str], plan: BlockPlan, rows: np.ndarray | None) -> str:
        """What a result follows from besides the sources."""
        scripts = "".join([*asic_scripts(sources, plan.name, self.gate_clocks), sizing_commands(self.clock_hz)])
        timing = opensta_script(plan.name, self.clock_hz) + measured_script(plan.name, self.clock_hz, [])
        data = [_text(self.liberty).encode(), b"" if rows is None else np.ascontiguousarray(rows).tobytes()]
        digests = [hashlib.sha256(each).hexdigest() for each in data]
        return "\n".join([scripts, timing, *digests, str(LANES), MEASUREMENT_VERSION])

    def map(
        self,
        folder: Path,
        sources: list[str],
        top: str,
        apart: Collection[str] = (),
        ports: str | None = None,
        one_pin_inputs: bool = False,
    ) -> tuple[AsicUse, dict[str, Any]]:
        """Map a design whose sources lie in `folder`; modules `apart`, whose ports are in the file `ports`, stay.

        `one_pin_inputs` as for `fanout.insert_buffers`. Returns also the mapped module in Yosys' JSON form. Leaves
        `netlist.v` and `cells.lib`.

        Raises:
            ToolError: a tool failed.
        """
        scripts = asic_scripts(sources, top, self.gate_clocks, ports)
        return synthesise_asic(
            self.front,
            self.mapper,
            folder,
            sources,
            top,
            scripts,
            self.liberty,
            self.clock_hz,
            apart,
            one_pin_inputs,
        )

    def build(self, folder: Path, sources: list[str], plan: BlockPlan, rows: np.ndarray | None) -> dict[str, Any]:
        """Map a block whose sources lie in `folder`; `rows` are its captured inputs, (rows, input_width), or None.

        Power is that of the block at work without stalls, in W: `power_uniform` with the papers' activity on every net,
        `power_default` with OpenSTA's assumption, `power_measured` with the switching counted on `rows`.

        Raises:
            MismatchError: the mapped cells differ from the golden model.
            ToolError: a tool failed.
        """
        top = plan.name
        use, module = self.map(folder, sources, top)
        result: dict[str, Any] = asdict(use)
        if self.sta is None:
            return result | {"slack_ns": None, "power_w": None, "power_measured": None}
        timing = time_and_power(self.sta, folder, top, self.clock_hz)
        result |= {**asdict(timing), "power_w": timing.power_uniform.total_w}
        return result | {"power_measured": self._measured(folder, plan, module, rows)}

    def netlist(self, module: dict[str, Any], name: str) -> GateNetlist:
        """A mapped module in Yosys' JSON form, to be simulated."""
        cells = read_cells(_text(self.liberty), {cell["type"] for cell in module["cells"].values()})
        return GateNetlist(module, cells, name)

    def _measured(
        self, folder: Path, plan: BlockPlan, module: dict[str, Any], rows: np.ndarray | None
    ) -> dict[str, Any] | None:
        if rows is None or self.sta is None:
            return None
        netlist = self.netlist(module, plan.name)
        switching = measure_switching(netlist, plan, rows.astype(np.int64))
        power = measured_power(
            self.sta, folder, plan.name, self.clock_hz, annotation(netlist, switching), netlist.clock_gate_pins()
        )
        return {
            **asdict(power),
            "toggles_per_net_and_cycle": switching.mean_toggles_per_cycle,
            "tokens": switching.tokens,
            "energy_per_token_j": power.total_w * switching.cycles_per_token / self.clock_hz,
        }


@functools.lru_cache(maxsize=2)
def _text(liberty: Path) -> str:
    return read_liberty(liberty).decode("utf-8", errors="replace")
