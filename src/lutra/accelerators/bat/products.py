"""Matrix products as BAT's engine walks through them: counts and strides, the same for program, bench and latency."""

from __future__ import annotations

from dataclasses import dataclass

from lutra.accelerators.bat.config import ModuleConfig
from lutra.accelerators.bat.layout import chunks

READ_TO_SUM = 5
"""Cycles from the last read of a group to the one in which its sums are offered (lutra_bat_engine)."""


@dataclass(frozen=True)
class Product:
    """One product; the fields are ports of `lutra_bat_engine` and explained there."""

    scores: bool
    signed: bool
    binary: bool
    heads: int
    rows: int
    groups: int
    chunks: int
    last_elements: int
    x_row_stride: int
    y_chunk_stride: int
    y_bit_stride: int
    y_group_stride: int
    y_head_stride: int
    y_bits: int
    """How many bits of y are read; not a port."""

    @property
    def row_cycles(self) -> int:
        """Reads of one row of one head."""
        return self.groups * self.chunks * self.y_bits

    @property
    def all_rows(self) -> int:
        """Rows of sums that leave."""
        return self.heads * self.rows

    @property
    def cycles(self) -> int:
        """From the start to the last sums, nothing stalling."""
        return self.all_rows * self.row_cycles + READ_TO_SUM


def linear(
    module: ModuleConfig, rows: int, inputs: int, outputs: int, halves: int, signed: bool, weight_bits: int = 1
) -> Product:
    """Rows of codes by weights, binary ones unless told otherwise; the groups of the halves follow each other.

    A machine has binary weights; an engine by itself takes as many bits as it reads of keys and values.
    """
    words = chunks(inputs, module.p_pe)
    return Product(
        scores=False,
        signed=signed,
        binary=weight_bits == 1,
        heads=1,
        rows=rows,
        groups=halves * chunks(outputs, module.p_dpu),
        chunks=words,
        last_elements=inputs - (words - 1) * module.p_pe,
        x_row_stride=words,
        y_chunk_stride=1,
        y_bit_stride=0 if weight_bits == 1 else words,
        y_group_stride=words * weight_bits,
        y_head_stride=0,
        y_bits=weight_bits,
    )


def scores(module: ModuleConfig, tokens: int, heads: int, head_width: int, bits: int) -> Product:
    """Queries by keys; rows of x are those of all heads side by side."""
    groups = chunks(tokens, module.p_dpu)
    words = chunks(heads * head_width, module.p_pe)
    return Product(
        scores=True,
        signed=True,
        binary=bits == 1,
        heads=heads,
        rows=tokens,
        groups=groups,
        chunks=chunks(head_width, module.p_pe),
        last_elements=module.p_pe,
        x_row_stride=words,
        y_chunk_stride=groups * bits,
        y_bit_stride=1,
        y_group_stride=bits,
        y_head_stride=chunks(head_width, module.p_pe) * groups * bits,
        y_bits=bits,
    )


def context(module: ModuleConfig, tokens: int, heads: int, head_width: int, bits: int, positions: int) -> Product:
    """Probabilities by values; memory has room for values of `positions` tokens."""
    words, room = chunks(tokens, module.p_pe), chunks(positions, module.p_pe)
    groups = chunks(head_width, module.p_dpu)
    return Product(
        scores=False,
        signed=False,
        binary=bits == 1,
        heads=heads,
        rows=tokens,
        groups=groups,
        chunks=words,
        last_elements=tokens - (words - 1) * module.p_pe,
        x_row_stride=words,
        y_chunk_stride=1,
        y_bit_stride=room,
        y_group_stride=bits * room,
        y_head_stride=groups * bits * room,
        y_bits=bits,
    )
