"""Cycles of the vector units, as their headers in `rtl/` give them: what the latency model adds up."""

from __future__ import annotations

ROOT_CYCLES = 27
"""`lutra_transformer_root`, from start to done."""
RECIPROCAL_CYCLES = 18
"""`lutra_transformer_reciprocal`, from start to done."""
REQUANTISE_STAGES = 3
RESULT_STAGES = 2 + REQUANTISE_STAGES
"""From a sum's arrival to its write: a register before requantising and one behind it."""
TABLE_STAGES = 1
RESIDUAL_STAGES = 1
VARIANCE_CYCLES = 27
"""From the sums of a row to what its root is taken of."""
NORM_INTERVAL_CYCLES = max(VARIANCE_CYCLES, ROOT_CYCLES, RECIPROCAL_CYCLES)
"""A row follows the one before at the earliest so many cycles later: each serial unit holds one."""
NORM_STAGES = 6
"""From reading an element again to what it became: memory, difference, product, shift, gain and bias, rounding."""
SUM_STAGES = 2
"""Registers around a tree of sums over lanes: of its terms, and of the sum over beats."""
EXPONENTIAL_STAGES = 3
"""From reading a score again to its exponential: memory, distance, table."""


def tree_stages(lanes: int) -> int:
    """Registers of `lutra_adder_tree` over so many terms: one after every second level, at least one."""
    return max(1, -(-(lanes - 1).bit_length() // 2))


def norm_row_cycles(lanes: int) -> int:
    """From the last beat of a row that `lutra_transformer_norm` takes until it reads the row's first beat again."""
    return SUM_STAGES + tree_stages(lanes) + VARIANCE_CYCLES + ROOT_CYCLES + RECIPROCAL_CYCLES


def norm_cycles(rows: int, beats: int, lanes: int) -> int:
    """From the first beat of `rows` rows of `beats` beats, which never come late, to the last result, both counted."""
    last_row = (rows - 1) * max(beats, NORM_INTERVAL_CYCLES)
    return last_row + 2 * beats + norm_row_cycles(lanes) + NORM_STAGES - 1


def softmax_cycles(rows: int, chunks: int, lanes: int) -> int:
    """From start to done of `lutra_transformer_softmax`: second pass over rows of `chunks` beats, last reciprocal."""
    last_row = (rows - 1) * max(chunks, RECIPROCAL_CYCLES)
    tail = EXPONENTIAL_STAGES + tree_stages(lanes) + 1 + RECIPROCAL_CYCLES + 1
    return last_row + chunks + tail
