"""Where the elements of a value lie in the machine's memories.

All memories are chunk by chunk: the words of one chunk of columns for all rows lie side by side, so that an address is
a sum of counters and nothing is multiplied. *Banked* memories (left operands, keys) give one value of each of `size`
rows at a time: bank b holds the rows r with r mod size = b. *Wide* ones give neighbouring columns of one row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lutra.accelerators.transformer.config import TransformerConfig
from lutra.frozen.types import IntArray

NORMED = 1 << 23
"""The highest bit of an address: of left operands in the memory of what norms write, where steps overlap."""


class Banked(NamedTuple):
    """Indices into a banked memory (size, words, lanes)."""

    bank: IntArray
    word: IntArray
    lane: IntArray


class Wide(NamedTuple):
    """Indices into a wide memory (words, elements of a word)."""

    word: IntArray
    lane: IntArray


def banked(config: TransformerConfig, base: int, rows: IntArray, columns: IntArray) -> Banked:
    """Of rows (R) and columns (C) of left operands or keys: indices that broadcast to (R, C)."""
    chunk, lane = np.divmod(columns, config.lanes)
    tile, bank = np.divmod(rows[:, None], config.size)
    return Banked(bank, base + chunk * config.row_tiles + tile, lane)


def values(config: TransformerConfig, base: int, rows: IntArray, columns: IntArray) -> Wide:
    """Of the values of attention, (words, size)."""
    tile, lane = np.divmod(columns, config.size)
    return Wide(base + tile * config.rows + rows[:, None], lane)


def stream(config: TransformerConfig, rows: IntArray, columns: IntArray) -> Wide:
    """Of the residual stream, (words, lanes)."""
    chunk, lane = np.divmod(columns, config.lanes)
    return Wide(chunk * config.rows + rows[:, None], lane)


def exponentials(config: TransformerConfig, rows: IntArray, keys: IntArray) -> Banked:
    """Of a row tile's exponentials, (size, words, lanes); `rows` count from the tile's first."""
    word, lane = np.divmod(keys, config.lanes)
    return Banked(rows[:, None], word, lane)


def round_up(count: int, unit: int) -> int:
    """The smallest multiple of `unit` from `count` on."""
    return -(-count // unit) * unit


def chunk_major(rows: IntArray, lanes: int) -> IntArray:
    """A table (R, C) as words (chunks * R, lanes): all rows of the first `lanes` columns, then those of the next."""
    count, width = rows.shape
    padded = np.pad(rows, ((0, 0), (0, round_up(width, lanes) - width)))
    return padded.reshape(count, -1, lanes).transpose(1, 0, 2).reshape(-1, lanes)
