"""How rows of elements travel over AXI4-Stream: elements in whole bytes, rows one after the other without gaps.

A packet (up to TLAST) is a matrix of rows just as it lies in memory, so that a DMA engine needs no help. Only its last
beat may be short, which its TKEEP says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lutra.frozen.types import TensorType

NARROWEST_BUS, WIDEST_BUS = 32, 1024
"""Bits of TDATA that a DMA engine can be set to."""


@dataclass(frozen=True)
class RowStream:
    """Rows of one side of an accelerator: as it takes or gives them, in beats of lanes, and on a bus."""

    type: TensorType
    width: int
    """Elements of a row."""
    lanes: int
    """Elements of one of the accelerator's beats."""
    bus_bits: int
    """Of TDATA."""

    @property
    def container_bits(self) -> int:
        """Of an element in memory: 8, 16 or 32."""
        return next(bits for bits in (8, 16, 32) if bits >= self.type.bits)

    @property
    def element_bytes(self) -> int:
        return self.container_bits // 8

    @property
    def row_bytes(self) -> int:
        return self.width * self.element_bytes

    @property
    def beats(self) -> int:
        """Of the accelerator, per row."""
        return -(-self.width // self.lanes)

    @property
    def last_lanes(self) -> int:
        """Elements of a row's last beat."""
        return self.width - (self.beats - 1) * self.lanes

    @property
    def bus_bytes(self) -> int:
        return self.bus_bits // 8

    @property
    def unit_bytes(self) -> int:
        """The largest piece of which a bus beat, a beat and a row's last beat are all made."""
        beats = (lanes * self.element_bytes for lanes in (self.lanes, self.last_lanes))
        return math.gcd(self.bus_bytes, *beats)

    @property
    def bus_units(self) -> int:
        return self.bus_bytes // self.unit_bytes

    @property
    def beat_units(self) -> int:
        return self.lanes * self.element_bytes // self.unit_bytes

    @property
    def last_units(self) -> int:
        return self.last_lanes * self.element_bytes // self.unit_bytes

    @property
    def count_bits(self) -> int:
        """Of a number of units in the buffer between the two widths, which may hold one back."""
        return (self.bus_units + self.beat_units + min(self.bus_units, self.beat_units)).bit_length()

    @property
    def numpy_type(self) -> str:
        return f"{'int' if self.type.signed else 'uint'}{self.container_bits}"

    @property
    def dtype(self) -> str:
        """NumPy's letter and bytes, such as i1."""
        return f"{'i' if self.type.signed else 'u'}{self.element_bytes}"

    @property
    def c_type(self) -> str:
        return f"{self.numpy_type}_t"


def bus_bits_for(row_bytes: int, interval_cycles: int) -> int:
    """The narrowest bus that brings a row in every `interval_cycles`; the widest one where none does."""
    bits = NARROWEST_BUS
    while bits < WIDEST_BUS and row_bytes * 8 > bits * interval_cycles:
        bits *= 2
    return bits
