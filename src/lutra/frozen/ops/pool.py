"""From many rows of a sequence to one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lutra.frozen.arithmetic import clamp, magnitude, round_shift
from lutra.frozen.ops.base import Operation, Past, refuse_past
from lutra.frozen.types import IntArray, TensorType, Value


@dataclass(frozen=True, eq=False)
class Select(Operation):
    """One row of each sequence, such as that of the class token."""

    kind: ClassVar[str] = "select"
    positional: ClassVar[bool] = True
    row: int

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        rows = inputs[0].rows
        self.require(rows is not None, where, "inputs", "must have a fixed number of rows")
        self.require_scalar(where, "row", 0, (rows or 1) - 1)

    def result(self, inputs: list[Value]) -> Value:
        return replace(inputs[0], rows=1)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        refuse_past(self, past)
        return inputs[0][:, self.row : self.row + 1]


@dataclass(frozen=True, eq=False)
class MeanRows(Operation):
    """`y = clamp((sum over rows of x * multiplier + 2^(shift - 1)) >> shift)`: the mean, for a multiplier of
    `2^shift / rows`."""

    kind: ClassVar[str] = "mean_rows"
    positional: ClassVar[bool] = True
    multiplier: int
    shift: int
    type: TensorType

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require(x.rows is not None, where, "inputs", "must have a fixed number of rows")
        self.require_scalar(where, "multiplier", 1, 2**16 - 1)
        self.require_scalar(where, "shift", 1, 40)
        self.require(self.type.signed and self.type.bits <= 16, where, "type", "must be signed with at most 16 bits")
        fitting = magnitude(x.type) * (x.rows or 1) < 2**40
        self.require(fitting, where, "inputs", "sum to more than 40 bits")

    def result(self, inputs: list[Value]) -> Value:
        return Value(self.type, inputs[0].width, 1)

    def meaning_at(self, past: Past, *inputs: IntArray) -> IntArray:
        refuse_past(self, past)
        sums = inputs[0].sum(axis=1, keepdims=True)
        return clamp(round_shift(sums * self.multiplier, self.shift), self.type)
