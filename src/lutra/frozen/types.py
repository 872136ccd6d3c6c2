"""Types of the values in a frozen model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lutra.limits import LARGEST_SCALE, SMALLEST_SCALE, TYPE_BITS
from lutra.names import shown

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TensorType:
    """An integer tensor type: every element lies in [minimum, maximum]; the real value is `scale` times the integer.

    Bits of a thermometer or of a LUT layer are unsigned with 1 bit and scale 1.
    """

    signed: bool
    bits: int
    scale: float = 1.0

    @property
    def minimum(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        return (1 << (self.bits - int(self.signed))) - 1


def type_problem(type_: TensorType) -> str | None:
    """Why a type is none that a graph can have; None if it is one."""
    if type(type_.signed) is not bool or type(type_.bits) is not int or not isinstance(type_.scale, (int, float)):
        return "must have a truth value, an integer and a number as signed, bits and scale"
    if not 1 + type_.signed <= type_.bits <= TYPE_BITS:
        return f"has {shown(str(type_.bits))} bits; there are 1 to {TYPE_BITS}, with a sign 2 to {TYPE_BITS}"
    if not SMALLEST_SCALE <= type_.scale <= LARGEST_SCALE:
        return f"has the scale {type_.scale!r}; it must be positive, from 2^-126 to 2^126"
    return None


BIT = TensorType(signed=False, bits=1)


@dataclass(frozen=True)
class Value:
    """What is known of a named value before it is computed: rows of `width` integers of one type.

    A sequence has `rows` rows; None means one for each of its tokens, of which there are at most `context`.
    """

    type: TensorType
    width: int
    rows: int | None = None
    context: int | None = None

    def like(self, type_: TensorType, width: int) -> Value:
        """As many rows of another type and width."""
        return replace(self, type=type_, width=width)

    @property
    def axis(self) -> tuple[int | None, int | None]:
        """What two values must share to have the same rows."""
        return self.rows, self.context

    @property
    def most_rows(self) -> int | None:
        """How many rows a sequence has at most; None where nothing bounds them."""
        return self.context if self.rows is None else self.rows
