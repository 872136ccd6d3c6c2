"""Layer norms in integers: exact, and I-ViT's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutra.frozen.arithmetic import clamp, fits, isqrt, recip, round_shift
from lutra.frozen.ops.base import Operation
from lutra.frozen.types import IntArray, TensorType, Value

NORMALISED_BITS = 10
"""Bits below the binary point of a normalised value."""
LARGEST_NORM_WIDTH = 1024
"""Up to here every intermediate fits 64 bits, and a normalised value 17."""


@dataclass(frozen=True, eq=False)
class LayerNorm(Operation):
    """Layer norm of each row with exact sums, an integer root and one reciprocal (`normalised_rows`), then
    `y[d] = clamp((n[d] * gain[d] + bias[d] + 2^(shift - 1)) >> shift)`."""

    kind: ClassVar[str] = "layer_norm"
    stored: ClassVar[dict[str, str]] = {"gain": "int16", "bias": "int32"}
    gain: IntArray  # (D,)
    bias: IntArray  # (D,)
    epsilon: int  # what keeps the variance from 0, in units of D^2 times the input's scale squared
    shift: int
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require_signed(x, where, 16)
        narrow = 2 <= x.width <= LARGEST_NORM_WIDTH
        self.require(narrow, where, "inputs", f"must have 2 to {LARGEST_NORM_WIDTH} columns, found {x.width}")
        fitting = self.gain.shape == self.bias.shape == (x.width,)
        self.require(fitting, where, "gain", f"and bias must have {x.width} values")
        self.require_range(where, "gain", -(2**15), 2**15 - 1)
        self.require(fits(self.bias, -(2**31), 2**31 - 1), where, "bias", "must fit in 32 bits")
        self.require_scalar(where, "epsilon", 0, 2**50 - 1)
        self.require_scalar(where, "shift", 1, 30)
        self.require_type(self.type, where, 8)

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, inputs[0].width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        n = normalised_rows(inputs[0], self.epsilon)
        return clamp(round_shift(n * self.gain + self.bias, self.shift), self.type)


def normalised_rows(x: IntArray, epsilon: int) -> IntArray:
    """(x - mean) / standard deviation of each row (N, D), with `NORMALISED_BITS` below the binary point."""
    width = x.shape[1]
    total = x.sum(axis=1, keepdims=True)
    variance = width * (x * x).sum(axis=1, keepdims=True) - total * total + epsilon  # D^2 times the variance
    factor, exponent = recip(np.maximum(isqrt(variance), 1))
    normalised: IntArray = ((width * x - total) * factor) >> (exponent + 16 - NORMALISED_BITS)
    return normalised


@dataclass(frozen=True, eq=False)
class IntegerLayerNorm(Operation):
    """I-ViT's I-LayerNorm of each row, requantised into `type` by a multiplier and a shift for each column."""

    kind: ClassVar[str] = "i_layer_norm"
    stored: ClassVar[dict[str, str]] = {"bias": "int32", "multiplier": "int32", "shift": "int32"}
    bias: IntArray  # (D,)
    multiplier: IntArray  # (D,), negative where the gain is
    shift: IntArray  # (D,)
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require(x.type.signed and x.type.bits <= 16, where, "inputs", "must be signed with at most 16 bits")
        narrow = 2 <= x.width <= LARGEST_NORM_WIDTH
        self.require(narrow, where, "inputs", f"must have 2 to {LARGEST_NORM_WIDTH} columns, found {x.width}")
        fitting = self.bias.shape == self.multiplier.shape == self.shift.shape == (x.width,)
        self.require(fitting, where, "multiplier", f"and bias and shift must have {x.width} values")
        self.require(fits(self.bias, -(2**31), 2**31 - 1), where, "bias", "must fit in 32 bits")
        self.require_range(where, "multiplier", -(2**30), 2**30, "[-2^30, 2^30]")
        self.require_range(where, "shift", 1, 62)
        self.require(self.type.signed and self.type.bits <= 16, where, "type", "must be signed with at most 16 bits")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, inputs[0].width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        y = integer_layer_norm_rows(inputs[0]) + self.bias
        return clamp(round_shift(y * self.multiplier, self.shift), self.type)


ROOT_START = 1 << 16
ROOT_STEPS = 10
RECIPROCAL = (1 << 31) - 1


def integer_layer_norm_rows(x: IntArray) -> IntArray:
    """I-ViT's normalised rows (N, D) -> (N, D); the real value is this times `sqrt(D) / 2^30`.

    The mean is rounded to nearest, ties to even, and the root of the sum of squares is ten Newton steps from 2^16,
    which have not arrived where the root is below about 100 (as in the published code). Every result lies within 2^31:
    no element exceeds the root by more than a 64th.
    """
    width = x.shape[1]
    mean, rest = np.divmod(x.sum(axis=1, keepdims=True), width)
    mean = mean + ((2 * rest > width) | ((2 * rest == width) & (mean % 2 == 1)))
    centred = x - mean
    squares = (centred * centred).sum(axis=1, keepdims=True)
    root = np.full_like(squares, ROOT_START)
    for _ in range(ROOT_STEPS):
        root = (root + squares // root) >> 1
    factor = RECIPROCAL // root
    normalised: IntArray = (centred * factor) >> 1
    return normalised
