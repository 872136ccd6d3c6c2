"""Standard cells: the tools, the library and the conditions under which a design is mapped."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.synth.netlist.gates import GateNetlist
from lutra.synth.netlist.liberty import clock_gate_name, read_cells
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import AsicUse, asic_scripts, read_liberty, synthesise_asic


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
    def liberty_text(self) -> str:
        """The cell library."""
        return _text(self.liberty)

    @property
    def has_clock_gate(self) -> bool:
        """Whether the library has a cell that gates clocks."""
        return clock_gate_name(self.liberty_text) is not None

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

    def netlist(self, module: dict[str, Any], name: str) -> GateNetlist:
        """A mapped module in Yosys' JSON form, to be simulated."""
        cells = read_cells(self.liberty_text, {cell["type"] for cell in module["cells"].values()})
        return GateNetlist(module, cells, name)


@functools.lru_cache(maxsize=2)
def _text(liberty: Path) -> str:
    return read_liberty(liberty).decode("utf-8", errors="replace")
