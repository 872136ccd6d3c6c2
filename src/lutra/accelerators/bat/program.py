"""Instructions of BAT: one per step, 64 fields of 16 bits (isa.md). Compiler and bench read this table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lutra.accelerators.bat.products import Product
from lutra.errors import InputError

FIELDS = 64
FIELD_BITS = 16
BEATS = FIELDS * FIELD_BITS // 128
"""Beats of memory that an instruction takes."""
BYTES = BEATS * 16

FLAGS = (
    "engine",
    "attention",
    "scores",
    "context",
    "softmax",
    "norm",
    "residual",
    "relu",
    "from_memory",
    "signed_x",
    "binary",
    "signed_codes",
    "bias",
    "same_factor",
    "quantise_bias",
    "store",
    "last",
    "waits",
    "job_end",
    "x_is_input",
    "store_input",
    "store_peer",
)
"""Single bits, the first one in the lowest bit of field 0, the 17th in that of field 1."""

PLACES = {
    "rows": 2,
    "heads": 3,
    "groups": 4,
    "chunks": 5,
    "last_elements": 6,
    "x_base": 7,
    "x_row_stride": 8,
    "y_base": 9,
    "y_chunk_stride": 10,
    "y_bit_stride": 11,
    "y_group_stride": 12,
    "y_head_stride": 13,
    "copies": 14,
    "exponent": 15,
    "sum_beats": 16,
    "sum_stride": 17,
    "vector_beats": 18,
    "vector_last_lanes": 19,
    "quantise_segments": 20,
    "quantise_beats": 21,
    "quantise_last_lanes": 22,
    "quantise_stride": 23,
    "quantise_offset": 24,
    "softmax_beats": 25,
    "softmax_last_lanes": 26,
    "norm_beats": 27,
    "norm_last_lanes": 28,
    "width": 29,
    "epsilon": 30,
    "store_base": 32,
    "store_row_stride": 33,
    "store_heads": 34,
    "key_base": 35,
    "key_chunk_stride": 36,
    "value_base": 37,
    "value_plane_stride": 38,
    "value_parts": 39,
    "row_beats": 40,
    "store_rows": 41,
    "read_address": 42,
    "write_address": 44,
    "all_row_beats": 46,
    "load_address": 48,
    "load_beats": 50,
    "weight_words": 52,
    "factor_words": 53,
    "vector_bias_words": 54,
    "quantise_bias_words": 55,
    "gain_words": 56,
    "norm_bias_words": 57,
}
"""First 16-bit field of each number."""
LONG = {
    "epsilon": 32,
    "read_address": 32,
    "write_address": 32,
    "all_row_beats": 24,
    "load_address": 32,
    "load_beats": 24,
}
"""Bits of those that take two fields."""


@dataclass(frozen=True)
class Step:
    """What a module does with all rows of a sentence: flags that are set, and numbers by name; others are 0."""

    name: str
    flags: frozenset[str]
    numbers: dict[str, int] = field(default_factory=dict)
    sentence: int = 0
    """Which one of those that the program runs."""

    def __getitem__(self, name: str) -> int:
        return self.numbers.get(name, 0)

    def encode(self) -> bytes:
        """The instruction as it lies in memory.

        Raises:
            InputError: a number does not fit its field.
        """
        fields = np.zeros(FIELDS, np.uint64)
        for flag in self.flags:
            place = FLAGS.index(flag)
            fields[place // FIELD_BITS] |= np.uint64(1 << place % FIELD_BITS)
        for name, value in self.numbers.items():
            if not 0 <= value < 1 << LONG.get(name, FIELD_BITS):
                raise InputError(f"BAT: {self.name}: {name} {value} does not fit an instruction; choose smaller sizes")
            fields[PLACES[name]] = value & 0xFFFF
            if name in LONG:
                fields[PLACES[name] + 1] = value >> FIELD_BITS
        return fields.astype("<u2").tobytes()


def engine_fields(product: Product, x_base: int, y_base: int = 0) -> tuple[set[str], dict[str, int]]:
    """Flags and numbers of a step whose engine computes `product`."""
    names = ("heads", "rows", "groups", "chunks", "last_elements", "x_row_stride")
    strides = ("y_chunk_stride", "y_bit_stride", "y_group_stride", "y_head_stride")
    flags = {"engine"} | {
        flag
        for flag, is_set in (("scores", product.scores), ("signed_x", product.signed), ("binary", product.binary))
        if is_set
    }
    numbers = {name: int(getattr(product, name)) for name in (*names, *strides)}
    return flags, {**numbers, "x_base": x_base, "y_base": y_base}
