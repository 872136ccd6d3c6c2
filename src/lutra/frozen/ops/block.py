"""The operations of a weightless block: thermometer, lookup tables, conditional sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutra.frozen.arithmetic import fits
from lutra.frozen.ops.base import Operation
from lutra.frozen.types import BIT, IntArray, TensorType, Value
from lutra.limits import LUT_INPUTS, THRESHOLDS
from lutra.recipes.groups import group_mask


@dataclass(frozen=True, eq=False)
class Thermometer(Operation):
    """`bit[f * T + t] = x[f] >= thresholds[f, t]`."""

    kind: ClassVar[str] = "thermometer"
    stored: ClassVar[dict[str, str]] = {"thresholds": "int16"}
    thresholds: IntArray  # (D, T), each in [input minimum, input maximum + 1], ascending along T

    @property
    def width(self) -> int:
        return self.thresholds.size

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        two = self.thresholds.ndim == 2 and len(self.thresholds) == x.width
        self.require(two, where, "thresholds", f"must have {x.width} rows")
        count = self.thresholds.shape[1]
        self.require(
            count <= THRESHOLDS, where, "thresholds", f"must be at most {THRESHOLDS} per feature, found {count}"
        )
        self.require_range(where, "thresholds", x.type.minimum, x.type.maximum + 1)
        ascending = (np.diff(self.thresholds, axis=1) >= 0).all()
        self.require(ascending, where, "thresholds", "must ascend along each row")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(BIT, self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        (x,) = inputs
        bits: np.ndarray = x[:, :, None] >= self.thresholds  # (N, D, T)
        return bits.reshape(len(x), -1).astype(np.int64)


class _OfBits(Operation):
    """An operation over the bits of its inputs, one value after the other."""

    def require_bits(self, inputs: list[Value], where: str) -> int:
        """Require bits of equally many rows; returns how many there are to a row."""
        bits = all(value.type.bits == 1 and not value.type.signed for value in inputs)
        self.require(bits, where, "inputs", "are not bits")
        self.require(len({value.axis for value in inputs}) == 1, where, "inputs", "differ in their rows")
        return sum(value.width for value in inputs)


@dataclass(frozen=True, eq=False)
class LutLayer(_OfBits):
    """`bit[l] = tables[l, sum_i in[connections[l, i]] << i]`: the first input is the least significant address bit.

    With several inputs, connections index their concatenation.
    """

    kind: ClassVar[str] = "lut_layer"
    stored: ClassVar[dict[str, str]] = {"connections": "int32", "tables": "packed"}
    connections: IntArray  # (L, n)
    tables: IntArray  # (L, 2**n) of 0 and 1

    @property
    def width(self) -> int:
        return len(self.tables)

    def check(self, inputs: list[Value], where: str) -> None:
        width = self.require_bits(inputs, where)
        for name in ("connections", "tables"):
            self.require(getattr(self, name).size, where, name, "is empty")
        matrices = self.connections.ndim == 2 and self.tables.ndim == 2
        self.require(matrices, where, "tables", "and connections must be matrices")
        luts, count = self.connections.shape
        self.require(2 <= count <= LUT_INPUTS, where, "connections", f"must have 2 to 8 columns, found {count}")
        self.require(self.tables.shape == (luts, 2**count), where, "tables", f"must have shape {(luts, 2**count)}")
        self.require_range(where, "connections", 0, width - 1)
        self.require(fits(self.tables, 0, 1), where, "tables", "must hold bits")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(BIT, self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        bits = np.concatenate(inputs, axis=1)
        planes = np.ascontiguousarray(bits.T.astype(np.uint8))  # (F, N): gathering whole rows is quick
        address = np.zeros((len(self.tables), len(bits)), np.uint8)  # (L, N); an address has at most 8 bits
        for position, column in enumerate(self.connections.T):
            address |= planes[column] << np.uint8(position)
        return np.take_along_axis(self.tables, address.astype(np.int64), axis=1).T


@dataclass(frozen=True, eq=False)
class ConditionalSum(_OfBits):
    """`y[d] = bias[d] + sum_r in[r] * encoded[r, d]` over the concatenation of the inputs.

    With G groups, bits and outputs are cut into G contiguous groups (`group_bounds`), and `encoded` is zero wherever
    bit and output are of different groups.
    """

    kind: ClassVar[str] = "conditional_sum"
    stored: ClassVar[dict[str, str]] = {"encoded": "int8", "bias": "int32"}
    encoded: IntArray  # (R, D)
    bias: IntArray  # (D,)
    groups: int = 1

    @property
    def width(self) -> int:
        return len(self.bias)

    def check(self, inputs: list[Value], where: str) -> None:
        width = self.require_bits(inputs, where)
        self.require(self.bias.ndim == 1 and self.bias.size, where, "bias", "must be a vector")
        outputs = len(self.bias)
        self.require(self.encoded.size, where, "encoded", "is empty")
        shape = (width, outputs)
        self.require(self.encoded.shape == shape, where, "encoded", f"must have shape {shape}")
        self.require_range(where, "encoded", -128, 127)
        self.require(fits(self.bias, -(2**31), 2**31 - 1), where, "bias", "must fit in 32 bits")
        self.require_scalar(where, "groups", 1, min(width, outputs))
        low, high = accumulator_range(self)
        fitting = low >= -(2**31) and high < 2**31
        self.require(fitting, where, "encoded", "and bias overflow a 32-bit accumulator")
        between = self.encoded[~group_mask(width, outputs, self.groups)].any()
        self.require(not between, where, "encoded", "is not zero between groups")

    def result(self, inputs: list[Value]) -> Value:
        return inputs[0].like(sum_type(*accumulator_range(self)), self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        bits = np.concatenate(inputs, axis=1)
        # Sums of int8 values stay far below 2^53, so the float64 product is exact, and BLAS makes it fast.
        products: np.ndarray = bits.astype(np.float64) @ self.encoded.astype(np.float64)
        return products.astype(np.int64) + self.bias


def accumulator_range(op: ConditionalSum) -> tuple[int, int]:
    """Smallest and largest value that any partial sum of any output can take, in any order of addition."""
    low = op.bias + np.minimum(op.encoded, 0).sum(axis=0)
    high = op.bias + np.maximum(op.encoded, 0).sum(axis=0)
    return int(min(low.min(), 0)), int(max(high.max(), 0))


def sum_type(low: int, high: int) -> TensorType:
    """The narrowest signed type that holds a range; its scale is not used."""
    bits = max(low.bit_length() if low >= 0 else (~low).bit_length(), high.bit_length()) + 1
    return TensorType(signed=True, bits=bits)
