"""The register map of a packaged accelerator: one description from which RTL, drivers and pages are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

WORD_BYTES = 4
ROW_MAP = 1
"""Version of the map below: counts changes of what its registers mean. The byte above says whose map it is, 0 here."""
IDENTITY = int.from_bytes(b"LUTR", "big")
"""What a register at offset 0 says, whatever accelerator is behind it."""
HASH_WORDS = 2

Access = Literal["constant", "status", "setting", "command", "sticky"]
"""What software and hardware may do with a field.

constant: it never changes. status: the hardware says it. setting: software writes and reads it. command: writing 1 does
something once, it reads 0. sticky: the hardware sets it, writing 1 clears it.
"""
ACCESS_IN_WORDS: dict[Access, str] = {
    "constant": "read",
    "status": "read",
    "setting": "read and write",
    "command": "write 1 to act",
    "sticky": "read, write 1 to clear",
}


@dataclass(frozen=True)
class Field:
    """Bits of a register, from `low` on."""

    name: str
    low: int
    bits: int
    access: Access
    what: str
    """For people: what it means."""
    value: int = 0
    """Of a constant; of all others, after a reset."""
    followed: bool = False
    """Of a sticky one: the hardware looks at it, and clears it, too."""

    @property
    def mask(self) -> int:
        """The field's bits within the register."""
        return ((1 << self.bits) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """A word of 32 bits."""

    name: str
    fields: tuple[Field, ...]
    what: str

    @property
    def reset(self) -> int:
        """What is read after a reset, where the hardware says 0."""
        return sum(field.value << field.low for field in self.fields)

    @property
    def writable(self) -> bool:
        """Whether writing does anything."""
        return any(field.access in ("setting", "command", "sticky") for field in self.fields)

    @property
    def readable(self) -> bool:
        """Whether reading tells anything."""
        return any(field.access != "command" for field in self.fields)


def word(name: str, access: Access, what: str, value: int = 0) -> Register:
    """A register that is one field of 32 bits."""
    return Register(name, (Field("value", 0, 32, access, what, value),), what)


def heading(build_hash: str, version: int) -> tuple[Register, ...]:
    """The registers that every map begins with, so that a driver knows what it talks to; `build_hash` are 16
    hexadecimal digits."""
    words = [int(build_hash[start : start + 8], 16) for start in range(0, 8 * HASH_WORDS, 8)]
    return (
        word("identity", "constant", "An accelerator of Lutra: the letters LUTR.", IDENTITY),
        word("map_version", "constant", "What this page describes.", version),
        word("build_hash_high", "constant", "First eight digits of the build hash.", words[0]),
        word("build_hash_low", "constant", "The other eight.", words[1]),
    )


def control(start: str, reset: str, *more: Field) -> Register:
    """The commands that every core takes, and what they do; `more` from bit 2 on."""
    return Register(
        "control",
        (
            Field("start", 0, 1, "command", f"{start}; only while not busy."),
            Field("reset", 1, 1, "command", reset),
            *more,
        ),
        "Commands.",
    )


def status(busy: str, done: str, what: str, *more: Field) -> Register:
    """Whether the core is busy, or done since it was started; `more` from bit 2 on."""
    return Register(
        "status",
        (
            Field("busy", 0, 1, "status", busy),
            Field("done", 1, 1, "sticky", f"{done}; a start clears it.", followed=True),
            *more,
        ),
        what,
    )


def config(*more: Field) -> Register:
    """The interrupt that every core has; `more` in bit 0 and from bit 2 on."""
    interrupt = Field("interrupt", 1, 1, "setting", "Raise the interrupt while status.done is 1.")
    return Register("config", tuple(sorted((interrupt, *more), key=lambda field: field.low)), "How to work.")


def errors(*fields: Field) -> Register:
    """What may go wrong, a sticky bit for each."""
    return Register("errors", fields, "What went wrong since it was cleared.")


def holes(bit: int) -> Field:
    """The error of a packet with bytes that are missing."""
    return Field("keep", bit, 1, "sticky", "TKEEP had holes; bytes behind the first one were dropped.")


def stalls() -> tuple[Register, Register]:
    """The counters of both streams, of the cycles that the register before them counts."""
    return (
        word("input_stalls", "status", "Of these, cycles in which input was wanted and none was there."),
        word("output_stalls", "status", "Cycles in which output was offered and not taken."),
    )


@dataclass(frozen=True)
class RegisterMap:
    """Registers one after the other, from offset 0 on."""

    registers: tuple[Register, ...]

    def __iter__(self) -> Iterator[tuple[int, Register]]:
        """Byte offset and register."""
        return ((WORD_BYTES * place, register) for place, register in enumerate(self.registers))

    @property
    def address_bits(self) -> int:
        """Of a byte address that reaches every register; at least 4 KiB, the least that AXI gives to a slave."""
        return max(12, (WORD_BYTES * len(self.registers) - 1).bit_length())

    def offset(self, name: str) -> int:
        """The byte offset of a register."""
        return next(offset for offset, register in self if register.name == name)

    @property
    def version(self) -> int:
        """What the register `map_version` says."""
        return next(register.reset for _, register in self if register.name == "map_version")

    def signals(self, access: Access) -> list[tuple[str, Field]]:
        """Fields of one kind with the names of their signals."""
        return [
            (signal_of(register, field), field)
            for _, register in self
            for field in register.fields
            if field.access == access
        ]


def signal_of(register: Register, field: Field) -> str:
    """The name of a field's signal in the RTL, without its direction."""
    return register.name if field.name == "value" else f"{register.name}_{field.name}"


def row_registers(build_hash: str, blocks: int) -> RegisterMap:
    """The registers of an accelerator that takes packets of rows and gives packets of rows.

    `build_hash` are 16 hexadecimal digits; `blocks` is how many blocks share the streams.
    """
    return RegisterMap(
        (
            *heading(build_hash, ROW_MAP),
            control(
                "Take the next packet of the input stream",
                "Forget everything inside; the streams' other ends, too, must.",
            ),
            status(
                "A packet is expected, or inside.", "A packet's last output beat was taken", "How far the packet is."
            ),
            config(Field("auto_start", 0, 1, "setting", "When a packet is done, take the next one.")),
            Register(
                "block",
                (Field("index", 0, 16, "setting", "Which block the next packet goes through, from 0 on."),),
                "Looked at when a packet is started.",
            ),
            errors(
                Field("row", 0, 1, "sticky", "A packet ended within a row; the rest of the row was taken as zeros."),
                holes(1),
                Field("range", 2, 1, "sticky", "An element was beyond the input type; its upper bits were dropped."),
                Field("start", 3, 1, "sticky", "A start while busy; nothing was done."),
                Field("block", 4, 1, "sticky", "A start with a block that is not there; nothing was done."),
            ),
            word("blocks", "constant", "How many blocks there are.", blocks),
            word("rows", "status", "Rows of the packet that have left the block."),
            word(
                "cycles", "status", "Cycles from the packet's first input beat to its last output beat, both counted."
            ),
            *stalls(),
        )
    )
