"""Types of the values in a frozen model."""

from __future__ import annotations

from dataclasses import dataclass

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
