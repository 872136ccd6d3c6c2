"""I-ViT's ShiftGELU as an operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lutra.frozen.ops.base import Operation
from lutra.frozen.shift import EXPONENT_SHIFT, SIGMOID_BITS, largest_unit, shift_gelu
from lutra.frozen.types import IntArray, TensorType, Value


@dataclass(frozen=True, eq=False)
class ShiftGelu(Operation):
    """I-ViT's ShiftGELU over a whole row: `y[d] = x[d] * sigmoid[d]`, the sigmoid in [0, 127] (`frozen.shift`)."""

    kind: ClassVar[str] = "shift_gelu"
    width: int
    unit: int  # the integer that stands for about 1 in the exponent: gelu_unit(scale)
    shift: int  # bits below the binary point of the exponentials

    def check(self, inputs: list[Value], where: str) -> None:
        self.require_inputs(inputs, where, 1)
        (x,) = inputs
        self.require_signed(x, where, 8)
        self.require(self.width == x.width, where, "width", f"must be {x.width}")
        self.require_scalar(where, "shift", 1, EXPONENT_SHIFT)
        self.require_scalar(where, "unit", 1, largest_unit(self.shift))

    def result(self, inputs: list[Value]) -> Value:
        type_ = inputs[0].type
        scale = type_.scale / (1 << SIGMOID_BITS - 1)
        return inputs[0].like(TensorType(True, type_.bits + SIGMOID_BITS - 1, scale), self.width)

    def meaning(self, *inputs: IntArray) -> IntArray:
        return shift_gelu(inputs[0], self.unit, self.shift)
