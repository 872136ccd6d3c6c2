"""IEEE binary16 as the frozen BERT uses it (spec.md, "BERT"): NumPy float16, every step rounded to nearest even.

NumPy adds, multiplies and divides such numbers in float32 and rounds the result, which equals one correct rounding
because 24 bits are at least twice 11 plus 2.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Binary16Array = NDArray[np.float16]
ExactArray = NDArray[np.float32] | NDArray[np.float64]
"""Integers in a float type that is wide enough to hold them exactly."""

LARGEST = 65504
SMALLEST_NORMAL = 2.0**-14
SUM_BITS = 24
"""Every number is a multiple of 2^-24."""
SQUARE_BITS = 20
"""Bits below the binary point of a sum of squares."""


def sum_exponent(largest: int) -> int:
    """The smallest e >= 0 for which an integer of magnitude `largest` times 2^-e fits."""
    return next(exponent for exponent in range(64) if largest <= LARGEST << exponent)


def exact_type(largest: int) -> type[np.float32] | type[np.float64]:
    """A float type in which BLAS sums integers without rounding, if no partial sum exceeds `largest`."""
    return np.float32 if largest <= 2**24 else np.float64


def from_integer(sums: ExactArray, exponent: int) -> Binary16Array:
    """Integers -> the nearest number to `integer * 2^-exponent`; 0 is +0, whatever sign the library gave it."""
    return (sums * 2.0**-exponent + 0.0).astype(np.float16)


def on_grid(x: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """`x` in units of 2^-bits, rounded half up to whole ones.

    Exact for products of two numbers, which have 22 significant bits, and up to 24 `bits`.
    """
    units: NDArray[np.float64] = np.floor(x * 2.0**bits + 0.5)
    return units


def exp(x: Binary16Array) -> Binary16Array:
    return np.exp(x.astype(np.float64)).astype(np.float16)


def tanh(x: Binary16Array) -> Binary16Array:
    return np.tanh(x.astype(np.float64)).astype(np.float16)


def reciprocal_root(x: Binary16Array) -> Binary16Array:
    """1 / sqrt(x) of positive numbers."""
    return (1 / np.sqrt(x.astype(np.float64))).astype(np.float16)


def gelu(x: Binary16Array) -> Binary16Array:
    """x times the normal distribution function of x."""
    found: Binary16Array = _gelu_table()[np.ascontiguousarray(x).view(np.uint16)]
    return found


@functools.cache
def _gelu_table() -> Binary16Array:
    """GELU of every number, by its bits (of infinities NaN): NumPy has no error function, and Python's is slow."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = [0.5 * x * math.erfc(-x / math.sqrt(2)) if math.isfinite(x) else math.nan for x in every.tolist()]
    return np.array(values).astype(np.float16)
