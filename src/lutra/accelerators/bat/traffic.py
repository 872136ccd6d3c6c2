"""What BAT moves between external memory and its modules: the blob of every step, and rows.

For whole numbers or arrays of them, as `latency.py`. The layout of blobs is that of isa.md; `weights.py` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutra.accelerators.bat.latency import HALFS_PER_BEAT, Count, Lanes, Shape
from lutra.accelerators.bat.program import BEATS

BEAT_BITS = 128
HALF_BITS = 16
QUANTISERS = 3
"""Whose tables a blob has room for."""


@dataclass(frozen=True)
class Loads:
    """Beats of the blobs that a module loads, in the order of its steps; `elastic` quantisers have biases."""

    lanes: Lanes
    shape: Shape
    elastic: bool = True

    @property
    def quantise(self) -> Count:
        return self._biases(self.shape.width) + self._tables

    @property
    def attention(self) -> tuple[Count, ...]:
        """Queries, keys and values; scores; contexts; output."""
        shape = self.shape
        attention = shape.attention_width
        heads = shape.heads * self._biases(shape.head_width)
        return (
            self._linear(3 * attention, shape.width) + self._tables,
            self._factor + self._tables,
            self._factor + heads + self._tables,
            self._linear(shape.width, attention) + self._norm + self._biases(shape.width) + self._tables,
        )

    def feed_forward(self, last: bool = False) -> tuple[Count, ...]:
        """Hidden, output; of the `last` layer nothing is quantised any more."""
        shape = self.shape
        inner = shape.intermediate
        biases = 0 if last else self._biases(shape.width)
        return (
            self._linear(inner, shape.width) + self._biases(inner) + self._tables,
            self._linear(shape.width, inner) + self._norm + biases + self._tables,
        )

    def _linear(self, outputs: int, inputs: int) -> Count:
        """Weights, factors and biases of a linear layer."""
        lanes, copies = self.lanes, self.shape.copies
        words = copies * _over(outputs, lanes.p_dpu) * _over(inputs, lanes.p_pe)
        scales = (copies + 1) * _over(outputs, lanes.p_vu)
        return words * _over(lanes.p_dpu * lanes.p_pe, BEAT_BITS) + scales * self._factor

    @property
    def _factor(self) -> Count:
        """A word of the vector unit."""
        return _over(self.lanes.p_vu * HALF_BITS, BEAT_BITS)

    @property
    def _norm(self) -> Count:
        """Gains and biases."""
        return 2 * _over(self.shape.width, self.lanes.p_ln) * _over(self.lanes.p_ln * HALF_BITS, BEAT_BITS)

    def _biases(self, columns: int) -> Count:
        """Of a quantiser."""
        words = _over(columns, self.lanes.p_quan) * _over(self.lanes.p_quan * HALF_BITS, BEAT_BITS)
        return words if self.elastic else 0 * words

    @property
    def _tables(self) -> int:
        entries = 1 if self.shape.bits > 4 else 2**self.shape.bits - 1
        return int(_over(QUANTISERS * entries * HALF_BITS, BEAT_BITS))


def row_beats(shape: Shape) -> int:
    """Of a binary16 row."""
    return int(_over(shape.width, HALFS_PER_BEAT))


def block_bytes(loads: Sequence[Count], shape: Shape) -> Count:
    """What a sentence moves in a block of attention or feed-forward: instructions, blobs, rows that come and go."""
    rows = 2 * shape.tokens * row_beats(shape)
    return BEAT_BITS // 8 * (sum(loads) + len(loads) * BEATS + rows)


def _over(count: Count, lanes: Count) -> Count:
    return np.floor_divide(count + lanes - 1, lanes)
