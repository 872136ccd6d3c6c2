"""Types of the values in a frozen model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


BIT = TensorType(signed=False, bits=1)
