"""Weights and constants as words of the transformer machine's memories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lutra.accelerators.block.plan import common_requantise
from lutra.accelerators.transformer.layout import NORMED, round_up
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


@dataclass
class Regions:
    """Regions of the left operands: of what norms write, where that has a memory of its own, and of everything else."""

    held: list[str] = field(default_factory=list)
    """The value that is in each, by its name."""
    words: list[int] = field(default_factory=list)
    normed: list[bool] = field(default_factory=list)

    def take(self, name: str, words: int, normed: bool, is_used: Callable[[str], bool]) -> int:
        """A region for a value: one whose value is not used any more, or a new one."""
        for region, held in enumerate(self.held):
            if self.normed[region] == normed and not is_used(held):
                self.held[region] = name
                self.words[region] = max(self.words[region], words)
                return region
        self.held.append(name)
        self.words.append(words)
        self.normed.append(normed)
        return len(self.held) - 1

    def words_of(self, normed: bool) -> int:
        """Of all regions of a memory."""
        return sum(words for words, of in zip(self.words, self.normed, strict=True) if of == normed)

    def bases(self) -> list[int]:
        """Where each region begins."""
        bases, ends = [], {False: 0, True: NORMED}
        for words, normed in zip(self.words, self.normed, strict=True):
            bases.append(ends[normed])
            ends[normed] += words
        return bases


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
