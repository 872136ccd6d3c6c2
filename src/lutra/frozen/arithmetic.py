"""What several operations share (spec.md, "Shared arithmetic"), in NumPy int64; every result is exact."""

from __future__ import annotations

import numpy as np

from lutra.frozen.types import IntArray, TensorType

LARGEST_ROOT_INPUT = 2**52
"""Below it float64 holds an integer and its root is at most one off."""
RECIPROCAL_BITS = 16
"""A reciprocal has 17 significant bits: it lies in [2^15, 2^16]."""


def isqrt(v: IntArray) -> IntArray:
    """The largest r with `r * r <= v`, for 0 <= v < 2^52."""
    root = np.floor(np.sqrt(v.astype(np.float64))).astype(np.int64)
    root -= root * root > v
    root += (root + 1) * (root + 1) <= v
    return root


def recip(v: IntArray) -> tuple[IntArray, IntArray]:
    """(F, e) with `e = bit_length(v) - 1` and `F = floor(2^(16 + e) / v)`, for 1 <= v < 2^36."""
    exponent = np.frexp(v.astype(np.float64))[1].astype(np.int64) - 1
    return (np.int64(1) << (RECIPROCAL_BITS + exponent)) // v, exponent


def round_shift(x: IntArray, shift: IntArray | int) -> IntArray:
    """`(x + 2^(shift - 1)) >> shift`, rounding half up; x itself where shift is 0."""
    amount = np.asarray(shift, np.int64)
    rounding = (np.int64(1) << amount) >> 1
    rounded: IntArray = (x + rounding) >> amount
    return rounded


def clamp(x: IntArray, type_: TensorType) -> IntArray:
    """`x` limited to the range of a type."""
    clamped: IntArray = np.clip(x, type_.minimum, type_.maximum)
    return clamped


def exact_matmul(a: np.ndarray, b: np.ndarray, largest: int) -> IntArray:
    """Matrix product of integers of which no partial sum exceeds `largest` (< 2^53): floats hold it, BLAS is fast."""
    held = np.float32 if largest <= 2**24 else np.float64
    product: np.ndarray = a.astype(held) @ b.astype(held)
    return product.astype(np.int64)


def magnitude(type_: TensorType) -> int:
    """The largest absolute value of a type."""
    return max(-type_.minimum, type_.maximum)


def fits(array: IntArray, low: int, high: int) -> bool:
    """Whether every element lies in [low, high]; an array without elements does not."""
    return bool(array.size and array.min() >= low and array.max() <= high)
