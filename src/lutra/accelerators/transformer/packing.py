"""Weights and constants as words of the transformer machine's memories."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lutra.accelerators.block.plan import common_requantise
from lutra.accelerators.transformer.layout import round_up
from lutra.errors import InputError
from lutra.frozen.ops import Requantise
from lutra.frozen.types import IntArray

LARGEST_MULTIPLIER = (1 << 16) - 1
LARGEST_SHIFT = 47


@dataclass
class Memory:
    """Contents that grow."""

    lanes: int
    parts: list[IntArray] = field(default_factory=list)
    words: int = 0

    def add(self, part: IntArray) -> int:
        """Append words; where they begin."""
        first = self.words
        self.parts.append(part)
        self.words += len(part)
        return first

    def contents(self) -> IntArray:
        return np.concatenate(self.parts) if self.parts else np.zeros((0, self.lanes), np.int64)


def padded(rows: IntArray, size: int) -> IntArray:
    """Rows with columns of zeros up to a whole tile."""
    width = rows.shape[1]
    return np.pad(rows, ((0, 0), (0, round_up(width, size) - width)))


def common_multipliers(op: Requantise) -> tuple[IntArray, int]:
    """Multipliers of all columns for one shift.

    Raises:
        InputError: they do not fit the machine.
    """
    if len(set(op.shift.tolist())) == 1:
        multipliers, shift = op.multiplier, int(op.shift[0])
    else:
        common, shift = common_requantise(op)
        multipliers = np.array(common, np.int64)
    if multipliers.max() > LARGEST_MULTIPLIER or shift > LARGEST_SHIFT:
        raise InputError(
            f"transformer: {op.output} needs a multiplier of {int(multipliers.max())} and a shift of {shift}; the "
            f"machine has 16 bits and {LARGEST_SHIFT}"
        )
    return multipliers, shift


def column_words(bias: IntArray, low: IntArray, columns: IntArray, width: int, lanes: int) -> IntArray:
    """32 bits of bias above 16 of multiplier or gain for each of `width` columns, (words, lanes); 0 elsewhere."""
    packed = np.zeros(width, np.int64)
    packed[columns] = ((bias & 0xFFFFFFFF) << 16) | (low & 0xFFFF)
    return packed.reshape(-1, lanes)


def weight_words(weights: IntArray, size: int) -> IntArray:
    """(K, P) as words (P / size * K, size): tile by tile, in it term by term."""
    return weights.reshape(len(weights), -1, size).transpose(1, 0, 2).reshape(-1, size)


def head_columns(width: int, head: int | None, size: int) -> IntArray:
    """Where each column of a product lies: those of every head begin a tile."""
    if head is None:
        return np.arange(width)
    number, column = np.divmod(np.arange(width), head)
    return number * round_up(head, size) + column
