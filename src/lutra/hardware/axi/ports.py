"""Ports of an IP core: its bus interfaces, with the names that AXI gives to their signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lutra.hardware.axi.registers import RegisterMap

REGISTERS = "s_axi"
"""The interface of the registers."""
INTERRUPT = "irq"
MEMORY_ADDRESS_BITS = 32
CACHEABLE = 0b0011
"""AxCACHE of a master that is content with buffers on the way."""

Role = Literal["stream in", "stream out", "memory", "memory to read"]


@dataclass(frozen=True)
class Interface:
    """A bus interface of the core beside registers and interrupt."""

    name: str
    role: Role
    bits: int
    """Of its data."""

    @property
    def is_stream(self) -> bool:
        return self.role.startswith("stream")

    @property
    def tag(self) -> str:
        """The interface that block design tools know it as."""
        return "axis" if self.is_stream else "aximm"


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
    """The port of the wrapper; None for signals that carry nothing."""
    vector: bool = False
    """Whether it has a range even if it is one bit."""
    constant: int = 0
    """What an output that carries nothing says."""


def ports_of(interfaces: Sequence[Interface], registers: RegisterMap) -> list[Port]:
    """The ports of a core beside clock and reset."""
    ports = _register_ports(registers)
    for each in interfaces:
        ports += _stream_ports(each) if each.is_stream else _memory_ports(each)
    return [*ports, Port(INTERRUPT, "out", 1, INTERRUPT, "INTERRUPT", "interrupt_o")]


def _register_ports(registers: RegisterMap) -> list[Port]:
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
    # Whatever the protection is, every access is answered OKAY.
    without_meaning = {"awprot", "arprot", "bresp", "rresp"}
    return [_port(REGISTERS, role, way, bits, role not in without_meaning) for role, way, bits in lite]


def _stream_ports(each: Interface) -> list[Port]:
    forward, back = ("in", "out") if each.role == "stream in" else ("out", "in")
    return [
        _port(each.name, "tdata", forward, each.bits),
        _port(each.name, "tkeep", forward, each.bits // 8, vector=True),
        _port(each.name, "tlast", forward, 1),
        _port(each.name, "tvalid", forward, 1),
        _port(each.name, "tready", back, 1),
    ]


def _memory_ports(each: Interface) -> list[Port]:
    """AXI4 of a master with one identifier, which only moves whole beats."""

    def address(letter: str) -> list[Port]:
        connected = [
            _port(each.name, f"a{letter}{role}", "out", bits)
            for role, bits in (("addr", MEMORY_ADDRESS_BITS), ("len", 8), ("size", 3), ("burst", 2), ("valid", 1))
        ]
        fixed = [
            _port(each.name, f"a{letter}{role}", "out", bits, False, constant=value)
            for role, bits, value in (("id", 1, 0), ("lock", 1, 0), ("cache", 4, CACHEABLE), ("prot", 3, 0))
        ]
        return [*connected, *fixed, _port(each.name, f"a{letter}ready", "in", 1)]

    read = [
        *address("r"),
        _port(each.name, "rid", "in", 1, False),
        *(_port(each.name, role, "in", bits) for role, bits in (("rdata", each.bits), ("rresp", 2), ("rlast", 1))),
        _port(each.name, "rvalid", "in", 1),
        _port(each.name, "rready", "out", 1),
    ]
    if each.role == "memory to read":
        return read
    data = (("wdata", each.bits), ("wstrb", each.bits // 8), ("wlast", 1), ("wvalid", 1))
    return [
        *read,
        *address("w"),
        *(_port(each.name, role, "out", bits) for role, bits in data),
        _port(each.name, "wready", "in", 1),
        _port(each.name, "bid", "in", 1, False),
        _port(each.name, "bresp", "in", 2),
        _port(each.name, "bvalid", "in", 1),
        _port(each.name, "bready", "out", 1),
    ]


def _port(
    bus: str, role: str, direction: str, bits: int, connected: bool = True, vector: bool = False, constant: int = 0
) -> Port:
    way: Literal["in", "out"] = "in" if direction == "in" else "out"
    inner = f"{bus}_{role}_{'i' if way == 'in' else 'o'}" if connected else None
    return Port(f"{bus}_{role}", way, bits, bus, role.upper(), inner, vector, constant)
