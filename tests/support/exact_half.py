"""Rounding to half by exact arithmetic."""

import math
from fractions import Fraction

import numpy as np


def nearest_half(value: Fraction) -> np.float16:
    """The nearest half, ties to even; infinity from 65520 on."""
    if value == 0:
        return np.float16(0)
    exponent = max(math.frexp(float(abs(value)))[1] - 11, -24)
    unit = Fraction(2) ** exponent
    rounded = round(value / unit) * unit  # Python rounds ties of fractions to even
    return np.float16(math.copysign(math.inf, rounded) if abs(rounded) > 65504 else float(rounded))
