"""What is packaged: blocks between one pair of streams, with the ports that they get as an IP core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutra.hardware.axi.ports import Interface
from lutra.hardware.axi.streams import RowStream


@dataclass(frozen=True)
class Member:
    """A block of the core: its top module, which takes and gives beats with valid and ready, and its files."""

    module: str
    title: str
    """What the frozen model calls it."""
    files: Mapping[str, str]
    """Generated modules, file name -> text."""
    input_scale: float
    """The value of an input's integer 1."""
    output_scale: float
    interval_cycles: int
    latency_cycles: int
    resources: Mapping[str, Any] | None = None
    """LUTs and flip-flops of the block alone, where a synthesis has counted them; with the tool."""


@dataclass(frozen=True)
class RowCore:
    """Blocks that share their streams: rows of one shape and type come in, rows of one shape and type go out."""

    name: str
    """Of the IP core and of its top module."""
    members: tuple[Member, ...]
    input: RowStream
    output: RowStream

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Its streams."""
        return (
            Interface("s_axis", "stream in", self.input.bus_bits),
            Interface("m_axis", "stream out", self.output.bus_bits),
        )

    @property
    def description(self) -> str:
        """What it is, in a line."""
        count = len(self.members)
        return f"{count} weightless block{'s' if count > 1 else ''} behind AXI4-Stream"

    @property
    def interval_cycles(self) -> int:
        """Cycles from one row to the next, of the slowest block."""
        return max(member.interval_cycles for member in self.members)

    @property
    def flight_bits(self) -> int:
        """Of the number of rows that are inside a block, with those in the registers around it."""
        deepest = max(-(-member.latency_cycles // member.interval_cycles) for member in self.members)
        return (2 * deepest + 8).bit_length()
