"""Products with weights, requantising, tables of one value, and the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutra.frozen.arithmetic import clamp, exact_matmul, fits, magnitude
from lutra.frozen.ops.base import Operation
from lutra.frozen.ops.block import sum_type
from lutra.frozen.types import IntArray, TensorType, Value

LARGEST_SHIFT = 62
LARGEST_TABLE_BITS = 12


@dataclass(frozen=True, eq=False)
class MatMul(Operation):
    """`y[p] = bias[p] + sum_k x[k] * weights[k, p]`."""

    kind: ClassVar[str] = "matmul"
    stored: ClassVar[dict[str, str]] = {"weights": "int8", "bias": "int32"}
    weights: IntArray  # (K, P)
    bias: IntArray  # (P,)

    @property
    def width(self) -> int:
        return len(self.bias)

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require(self.bias.ndim == 1 and self.bias.size, where, "bias", "must be a vector")
        shape = (x.width, len(self.bias))
        self.require(self.weights.shape == shape, where, "weights", f"must have shape {shape}")
        self.require_range(where, "weights", -128, 127)
        self.require(fits(self.bias, -(2**31), 2**31 - 1), where, "bias", "must fit in 32 bits")
        low, high = product_range(self, x.type)
        fitting = low >= -(2**31) and high < 2**31
        self.require(fitting, where, "weights", "and bias overflow a 32-bit accumulator")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(sum_type(*product_range(self, inputs[0].type)), self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        (x,) = inputs
        largest = int(np.abs(self.weights).sum(axis=0).max()) * int(np.abs(x).max(initial=0))
        return exact_matmul(x, self.weights, largest) + self.bias


def product_range(op: MatMul, input_type: TensorType) -> tuple[int, int]:
    """Smallest and largest value that any partial sum of any output can take, in any order of addition."""
    at_low, at_high = op.weights * input_type.minimum, op.weights * input_type.maximum
    low = np.minimum(op.bias, 0) + np.minimum(np.minimum(at_low, at_high), 0).sum(axis=0)
    high = np.maximum(op.bias, 0) + np.maximum(np.maximum(at_low, at_high), 0).sum(axis=0)
    return int(low.min()), int(high.max())


@dataclass(frozen=True, eq=False)
class Requantise(Operation):
    """`y = clamp((x * multiplier + 2**(shift - 1)) >> shift)` into `type` (no rounding term when shift is 0)."""

    kind: ClassVar[str] = "requantise"
    stored: ClassVar[dict[str, str]] = {"multiplier": "int32", "shift": "int32"}
    multiplier: IntArray  # (D,)
    shift: IntArray  # (D,)
    type: TensorType

    @property
    def width(self) -> int:
        return len(self.multiplier)

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        width = inputs[0].width
        fitting = self.multiplier.shape == self.shift.shape == (width,)
        self.require(fitting, where, "multiplier", f"and shift must have {width} values")
        self.require_range(where, "multiplier", 0, 2**31 - 1, "[0, 2^31 - 1]")
        self.require_range(where, "shift", 0, LARGEST_SHIFT)
        largest = magnitude(inputs[0].type) * int(self.multiplier.max()) + (1 << int(self.shift.max()) >> 1)
        self.require(largest < 2**63, where, "multiplier", "and shift overflow 64 bits")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        (x,) = inputs
        rounding = np.where(self.shift > 0, np.int64(1) << np.maximum(self.shift - 1, 0), 0)
        return clamp((x * self.multiplier + rounding) >> self.shift, self.type)


@dataclass(frozen=True, eq=False)
class Table(Operation):
    """`y[d] = values[x[d] + half]`, half the number of entries: any function of one signed value, such as GELU."""

    kind: ClassVar[str] = "table"
    stored: ClassVar[dict[str, str]] = {"values": "int16"}
    values: IntArray  # (2**bits of the input,)
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        type_ = inputs[0].type
        narrow = type_.signed and 2 <= type_.bits <= LARGEST_TABLE_BITS
        self.require(narrow, where, "inputs", f"must be signed with 2 to {LARGEST_TABLE_BITS} bits")
        self.require(self.values.shape == (2**type_.bits,), where, "values", f"must have {2**type_.bits} entries")
        self.require(self.type.signed and self.type.bits <= 16, where, "type", "must be signed with at most 16 bits")
        self.require_range(where, "values", self.type.minimum, self.type.maximum)

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(self.type, inputs[0].width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        found: IntArray = self.values[inputs[0] + len(self.values) // 2]
        return found


@dataclass(frozen=True, eq=False)
class Residual(Operation):
    """`y = clamp(x + branch)` into `type`, the type of both: nothing multiplies the residual stream."""

    kind: ClassVar[str] = "residual"
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 2)
        x, branch = inputs
        self.require(x.type == branch.type, where, "inputs", f"must be of one type, found {x.type} and {branch.type}")
        self.require(x.width == branch.width, where, "inputs", f"differ in width: {x.width} and {branch.width}")
        self.require(x.axis == branch.axis, where, "inputs", "differ in their rows")
        self.require(self.type == x.type and x.type.signed, where, "type", "must be the inputs', and signed")
        self.require(x.type.bits <= 32, where, "type", "must have at most 32 bits")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0]

    def meaning(self, *inputs: IntArray) -> IntArray:
        x, branch = inputs
        return clamp(x + branch, self.type)
