"""Constants as SystemVerilog writes them, and the widths and orders of what they address."""

from __future__ import annotations

import numpy as np


def address_bits(count: int) -> int:
    """Bits of a counter or an address over `count` things; at least one."""
    return max(1, (count - 1).bit_length())


def literal(bits: np.ndarray) -> str:
    """A sized hexadecimal constant from an array of bits, lowest first."""
    packed = np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little")
    return f"{bits.size}'h{int.from_bytes(packed.tobytes(), 'little'):x}"


def rom_order(first: int, size: int, count: int) -> list[int]:
    """Which of `count` words stands at places `first` to `first + size - 1` of a ROM; `size` is a power of two.

    A place beyond the last word, which is never addressed, repeats the half before it, so that both share a table.
    """
    if size == 1:
        return [first]
    half = size // 2
    lower = rom_order(first, half, count)
    return lower + (rom_order(first + half, half, count) if first + half < count else lower)
