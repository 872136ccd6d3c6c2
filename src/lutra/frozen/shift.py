"""I-ViT's shift-based functions in exact integers (I-ViT section 3, as its published code computes them; NumPy int64).

An input with scale S is described by `unit` = ceil(1 / S), the integer that stands for about 1. Every division is a
floor. With the scale as a float the published code leaves the integers where products exceed 2^24; here all is exact.
"""

from __future__ import annotations

import math

import numpy as np

from lutra.errors import InputError
from lutra.frozen.types import IntArray

SIGMOID_SCALE = 1.702
"""GELU(x) is taken as x * sigmoid(1.702 x)."""
EXPONENT_SHIFT = 23
"""Bits below the binary point of ShiftGELU's exponentials in the published code."""
SIGMOID_BITS = 8
LARGEST_GELU_INPUT = 7.5
"""Beyond it one element of a row can spoil the others (`require_gelu_range`)."""
RECIPROCAL = (1 << 31) - 1


def gelu_unit(scale: float) -> int:
    """The `unit` of ShiftGELU's exponents for an input of the given scale."""
    return math.ceil(1 / (SIGMOID_SCALE * scale))


def require_gelu_range(scale: float, where: str) -> None:
    """Refuse an input scale with which ShiftGELU is wrong.

    From 23 ln 2 / 1.702 = 9.4 on, `exp(-largest)` stays at its smallest value, which all far elements share: large
    negative elements of the same row then get sigmoids of 1/4 to 1/2 instead of 0.

    Raises:
        InputError: naming `where`.
    """
    if not 127 * scale <= LARGEST_GELU_INPUT:
        raise InputError(
            f"{where}: values before ShiftGELU reach {127 * scale:.3g}, it is wrong beyond {LARGEST_GELU_INPUT}; "
            "take GELU as a table"
        )


def largest_unit(shift: int) -> int:
    """The largest `unit` with which the sum of two exponentials stays within the 31 bits of the reciprocal."""
    return RECIPROCAL >> (shift + 1)


def shift_exp(x: IntArray, unit: int, shift: int) -> IntArray:
    """About `2**shift * unit * exp(x / unit)` for x <= 0: 2^-q by a shift, and 1 + r / 2 between powers of two.

    log2(e) is taken as 1 + 1/2 - 1/16. Below `exp(-shift * log 2)` the value stays the smallest one.
    """
    power = np.maximum(x + (x >> 1) - (x >> 4), -shift * unit)
    halvings = -power // unit
    rest = power + unit * halvings  # in (-unit, 0]
    exponential: IntArray = ((rest + 2 * unit) << (shift - halvings)) >> 1
    return exponential


def shift_gelu(x: IntArray, unit: int, shift: int = EXPONENT_SHIFT) -> IntArray:
    """ShiftGELU of rows (N, D) with int8 elements: x times a sigmoid in [0, 127]; the scale becomes S / 128.

    Exponents are taken relative to the largest element of the row. The published code leaves its domain in rows whose
    elements are all negative; there they are taken relative to 0.

    Raises:
        InputError: the sum of two exponentials can exceed the 31 bits of the reciprocal, which makes the sigmoid 0: an
            input scale below 0.0047 needs a smaller `shift`.
    """
    if unit > largest_unit(shift):
        raise InputError(f"ShiftGELU: unit {unit} is too large for shift {shift}; take a smaller shift")
    largest = np.maximum(x.max(axis=1, keepdims=True), 0)
    numerator = shift_exp(x - largest, unit, shift)
    rest = shift_exp(-largest, unit, shift)
    factor = RECIPROCAL // (numerator + rest)
    sigmoid = (numerator * factor) >> (31 - SIGMOID_BITS + 1)
    return x * sigmoid
