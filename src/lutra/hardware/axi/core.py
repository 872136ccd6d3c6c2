"""What is packaged: blocks between one pair of streams, with the ports that they get as an IP core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lutra.hardware.axi.registers import RegisterMap
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
    def interval_cycles(self) -> int:
        """Cycles from one row to the next, of the slowest block."""
        return max(member.interval_cycles for member in self.members)

    @property
    def flight_bits(self) -> int:
        """Of the number of rows that are inside a block, with those in the registers around it."""
        deepest = max(-(-member.latency_cycles // member.interval_cycles) for member in self.members)
        return (2 * deepest + 8).bit_length()


@dataclass(frozen=True)
class Port:
    """A port of the IP core."""

    name: str
    direction: Literal["in", "out"]
    bits: int
    interface: str
    """The bus interface that it belongs to."""
    role: str
    """What the interface calls it."""
    inner: str | None
    """The port of the wrapper; None for signals of AXI4-Lite that carry nothing."""
    vector: bool = False
    """Whether it has a range even if it is one bit."""


def ports_of(core: RowCore, registers: RegisterMap) -> list[Port]:
    """The ports of the core beside clock and reset."""
    address = registers.address_bits
    lite = [
        ("awaddr", "in", address),
        ("awprot", "in", 3),
        ("awvalid", "in", 1),
        ("awready", "out", 1),
        ("wdata", "in", 32),
        ("wstrb", "in", 4),
        ("wvalid", "in", 1),
        ("wready", "out", 1),
        ("bresp", "out", 2),
        ("bvalid", "out", 1),
        ("bready", "in", 1),
        ("araddr", "in", address),
        ("arprot", "in", 3),
        ("arvalid", "in", 1),
        ("arready", "out", 1),
        ("rdata", "out", 32),
        ("rresp", "out", 2),
        ("rvalid", "out", 1),
        ("rready", "in", 1),
    ]
    without_meaning = {"awprot", "arprot", "bresp", "rresp"}
    ports = [_port("s_axi", role, direction, bits, role not in without_meaning) for role, direction, bits in lite]
    for bus, stream in (("s_axis", core.input), ("m_axis", core.output)):
        forward, back = ("in", "out") if bus == "s_axis" else ("out", "in")
        ports += [
            _port(bus, "tdata", forward, stream.bus_bits),
            _port(bus, "tkeep", forward, stream.bus_bytes, vector=True),
            _port(bus, "tlast", forward, 1),
            _port(bus, "tvalid", forward, 1),
            _port(bus, "tready", back, 1),
        ]
    return [*ports, Port("irq", "out", 1, "irq", "INTERRUPT", "interrupt_o")]


def _port(bus: str, role: str, direction: str, bits: int, connected: bool = True, vector: bool = False) -> Port:
    way: Literal["in", "out"] = "in" if direction == "in" else "out"
    inner = f"{bus}_{role}_{'i' if way == 'in' else 'o'}" if connected else None
    return Port(f"{bus}_{role}", way, bits, bus, role.upper(), inner, vector)
