"""An adder graph in stages: registers behind some levels of its adders, and the SystemVerilog of all of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mako.template import Template

from lutra.accelerators.block.adder_graph import Adder, AdderGraph, Count
from lutra.hardware.literals import literal
from lutra.names import require_identifier

RTL = Path(__file__).parent / "rtl"


@dataclass(frozen=True)
class Register:
    """A word between two stages."""

    name: str
    source: str
    """The number or output that it holds."""
    taken: str
    """What that is called in the stage before."""
    bits: int


@dataclass(frozen=True, eq=False)
class GraphPipeline:
    """`graph` with registers behind the levels `registered`, ascending: the last is the graph's depth.

    Stage s reads bits (s = 0) or registers that s advances have passed through. A number that a later stage reads is
    handed on by one register per stage. The depth may be there more than once: sums wait that long.
    """

    graph: AdderGraph
    registered: tuple[int, ...]

    @property
    def stages(self) -> int:
        """Advances from the bits to the sums."""
        return len(self.registered)

    def stage(self, level: int) -> int:
        """The stage in which what stands at a level is computed."""
        return sum(behind < level for behind in self.registered)

    @cached_property
    def made(self) -> dict[str, int]:
        """The stage of every number and, by `output_name`, of every output."""
        outputs = {output_name(index): level for index, level in enumerate(self.graph.output_levels)}
        return {name: self.stage(level) for name, level in {**self.graph.levels, **outputs}.items()}

    @cached_property
    def _last(self) -> dict[str, int]:
        """The last stage in which each word is read; outputs leave after the last one."""
        last = {output_name(index): self.stages for index in range(len(self.graph.outputs))}
        for name, made in ((each.number.name, each) for each in self.graph.adders):
            for operand in made.operands:
                last[operand.number.name] = max(last.get(operand.number.name, 0), self.made[name])
        for index, output in enumerate(self.graph.outputs):
            for operand in output.operands:
                stage = self.made[output_name(index)]
                last[operand.number.name] = max(last.get(operand.number.name, 0), stage)
        return last

    def word(self, name: str, stage: int) -> str:
        """What a number or an output is called in a stage."""
        return name if stage == self.made[name] else f"{name}_{stage}_q"

    def registers(self, stage: int) -> list[Register]:
        """What stands between stage - 1 and `stage`, 1 to `stages`."""
        return [
            Register(self.word(name, stage), name, self.word(name, stage - 1), bits)
            for name, bits in self._bits.items()
            if self.made[name] < stage <= self._last.get(name, 0)
        ]

    @cached_property
    def _bits(self) -> dict[str, int]:
        made: list[Count | Adder] = [*self.graph.counts, *self.graph.adders]
        outputs = {output_name(index): self.graph.bits for index in range(len(self.graph.outputs))}
        return {**{each.number.name: each.number.bits for each in made}, **outputs}


def output_name(index: int) -> str:
    return f"output_{index}"


def graph_module(pipeline: GraphPipeline, name: str) -> str:
    """SystemVerilog of a graph in stages: the module `name`, from bits to sums.

    Raises:
        InputError: `name` is not an identifier.
    """
    require_identifier(name, "module")
    graph = pipeline.graph
    used = {place for count in graph.counts for place in count.places}
    unused = [place for place in range(graph.places) if place not in used]
    template = Template(filename=str(RTL / "adder_graph.sv.mako"), strict_undefined=True)
    values = {"graph": graph, "pipeline": pipeline, "name": name, "unused": unused}
    return str(template.render(**values, tables=_tables, output_name=output_name))


def _tables(count: Count) -> str:
    """The literal of a count's tables, as lutra_rom wants them."""
    addresses = np.arange(1 << len(count.places))
    flipped = sum(1 << index for index, place in enumerate(count.places) if place in count.inverted)
    words = np.bitwise_count(addresses ^ flipped).astype(np.int64)
    return literal((words[:, None] >> np.arange(count.number.bits) & 1).T)
