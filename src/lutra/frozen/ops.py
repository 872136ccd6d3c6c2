"""The operations of a frozen model. `spec.md` gives their exact meaning; `golden.py` computes it.

Each operation reads named values and writes one named value; a value is a row of integers. Arrays are held as int64 in
memory and as the narrow types of `stored` on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from lutra.errors import FrozenModelError
from lutra.frozen.shift import EXPONENT_SHIFT, SIGMOID_BITS, largest_unit
from lutra.frozen.types import BIT, IntArray, TensorType
from lutra.recipes.groups import group_mask


@dataclass(frozen=True, eq=False)
class Thermometer:
    """`bit[f * T + t] = x[f] >= thresholds[f, t]`."""

    kind: ClassVar[str] = "thermometer"
    stored: ClassVar[dict[str, str]] = {"thresholds": "int16"}
    inputs: tuple[str, ...]
    output: str
    thresholds: IntArray  # (D, T), each in [input minimum, input maximum + 1], ascending along T

    @property
    def width(self) -> int:
        return self.thresholds.size


@dataclass(frozen=True, eq=False)
class LutLayer:
    """`bit[l] = tables[l, sum_i in[connections[l, i]] << i]`: the first input is the least significant address bit.

    With several inputs, connections index their concatenation.
    """

    kind: ClassVar[str] = "lut_layer"
    stored: ClassVar[dict[str, str]] = {"connections": "int32", "tables": "packed"}
    inputs: tuple[str, ...]
    output: str
    connections: IntArray  # (L, n)
    tables: IntArray  # (L, 2**n) of 0 and 1

    @property
    def width(self) -> int:
        return len(self.tables)


@dataclass(frozen=True, eq=False)
class ConditionalSum:
    """`y[d] = bias[d] + sum_r in[r] * encoded[r, d]` over the concatenation of the inputs.

    With G groups, bits and outputs are cut into G contiguous groups (`group_bounds`), and `encoded` is zero wherever
    bit and output are of different groups.
    """

    kind: ClassVar[str] = "conditional_sum"
    stored: ClassVar[dict[str, str]] = {"encoded": "int8", "bias": "int32"}
    inputs: tuple[str, ...]
    output: str
    encoded: IntArray  # (R, D)
    bias: IntArray  # (D,)
    groups: int = 1

    @property
    def width(self) -> int:
        return len(self.bias)


@dataclass(frozen=True, eq=False)
class Requantise:
    """`y = clamp((x * multiplier + 2**(shift - 1)) >> shift)` into `type` (no rounding term when shift is 0)."""

    kind: ClassVar[str] = "requantise"
    stored: ClassVar[dict[str, str]] = {"multiplier": "int32", "shift": "int32"}
    inputs: tuple[str, ...]
    output: str
    multiplier: IntArray  # (D,)
    shift: IntArray  # (D,)
    type: TensorType

    @property
    def width(self) -> int:
        return len(self.multiplier)


@dataclass(frozen=True, eq=False)
class MatMul:
    """`y[p] = bias[p] + sum_k x[k] * weights[k, p]`."""

    kind: ClassVar[str] = "matmul"
    stored: ClassVar[dict[str, str]] = {"weights": "int8", "bias": "int32"}
    inputs: tuple[str, ...]
    output: str
    weights: IntArray  # (K, P)
    bias: IntArray  # (P,)

    @property
    def width(self) -> int:
        return len(self.bias)


@dataclass(frozen=True, eq=False)
class ShiftGelu:
    """I-ViT's ShiftGELU over a whole row: `y[d] = x[d] * sigmoid[d]`, the sigmoid in [0, 127] (`frozen.shift`)."""

    kind: ClassVar[str] = "shift_gelu"
    stored: ClassVar[dict[str, str]] = {}
    inputs: tuple[str, ...]
    output: str
    width: int
    unit: int  # the integer that stands for about 1 in the exponent: gelu_unit(scale)
    shift: int  # bits below the binary point of the exponentials


Operation = Thermometer | LutLayer | ConditionalSum | Requantise | MatMul | ShiftGelu
OPERATIONS: dict[str, type[Operation]] = {
    op.kind: op for op in (Thermometer, LutLayer, ConditionalSum, Requantise, MatMul, ShiftGelu)
}


def output_type(op: Operation, input_types: list[TensorType]) -> TensorType:
    """The type of the value that `op` writes."""
    if isinstance(op, Requantise):
        return op.type
    if isinstance(op, ShiftGelu):
        (type_,) = input_types
        return TensorType(signed=True, bits=type_.bits + SIGMOID_BITS - 1, scale=type_.scale / (1 << SIGMOID_BITS - 1))
    if isinstance(op, (ConditionalSum, MatMul)):
        low, high = accumulator_range(op) if isinstance(op, ConditionalSum) else product_range(op, input_types[0])
        bits = max(int(low).bit_length() if low >= 0 else int(~low).bit_length(), int(high).bit_length()) + 1
        return TensorType(signed=True, bits=bits)
    return BIT


def accumulator_range(op: ConditionalSum) -> tuple[int, int]:
    """Smallest and largest value that any partial sum of any output can take, in any order of addition."""
    low = op.bias + np.minimum(op.encoded, 0).sum(axis=0)
    high = op.bias + np.maximum(op.encoded, 0).sum(axis=0)
    return int(min(low.min(), 0)), int(max(high.max(), 0))


def product_range(op: MatMul, input_type: TensorType) -> tuple[int, int]:
    """Smallest and largest value that any partial sum of any output can take, in any order of addition."""
    at_low, at_high = op.weights * input_type.minimum, op.weights * input_type.maximum
    low = np.minimum(op.bias, 0) + np.minimum(np.minimum(at_low, at_high), 0).sum(axis=0)
    high = np.maximum(op.bias, 0) + np.maximum(np.maximum(at_low, at_high), 0).sum(axis=0)
    return int(low.min()), int(high.max())


def check_operation(op: Operation, input_types: list[TensorType], input_widths: list[int], where: str) -> None:
    """Check shapes and ranges of one operation against its inputs.

    Raises:
        FrozenModelError: naming `where`, the field and what is wrong.
    """

    def require(condition: bool, field: str, problem: str) -> None:
        if not condition:
            raise FrozenModelError(f"{where}: {op.kind}.{field} {problem}; freeze the checkpoint again")

    width = sum(input_widths)
    for field in fields(op):
        if field.name in op.stored:
            require(getattr(op, field.name).size > 0, field.name, "is empty")
    if isinstance(op, (LutLayer, ConditionalSum)):
        require(all(type_.bits == 1 and not type_.signed for type_ in input_types), "inputs", "are not bits")
    else:
        require(len(input_widths) == 1, "inputs", f"must be one value, found {len(input_widths)}")
    if isinstance(op, Thermometer):
        low, high = input_types[0].minimum, input_types[0].maximum + 1
        require(op.thresholds.ndim == 2 and len(op.thresholds) == width, "thresholds", f"must have {width} rows")
        require(_within(op.thresholds, low, high), "thresholds", f"must lie in [{low}, {high}]")
        require(bool((np.diff(op.thresholds, axis=1) >= 0).all()), "thresholds", "must ascend along each row")
    elif isinstance(op, LutLayer):
        require(op.connections.ndim == 2 and op.tables.ndim == 2, "tables", "and connections must be matrices")
        luts, inputs = op.connections.shape
        require(2 <= inputs <= 8, "connections", f"must have 2 to 8 columns, found {inputs}")
        require(op.tables.shape == (luts, 2**inputs), "tables", f"must have shape {(luts, 2**inputs)}")
        require(_within(op.connections, 0, width - 1), "connections", f"must lie in [0, {width - 1}]")
        require(_within(op.tables, 0, 1), "tables", "must hold bits")
    elif isinstance(op, ConditionalSum):
        outputs = len(op.bias)
        require(op.bias.ndim == 1, "bias", "must be a vector")
        require(op.encoded.shape == (width, outputs), "encoded", f"must have shape {(width, outputs)}")
        require(_within(op.encoded, -128, 127), "encoded", "must lie in [-128, 127]")
        require(_within(op.bias, -(2**31), 2**31 - 1), "bias", "must fit in 32 bits")
        require(1 <= op.groups <= min(width, outputs), "groups", f"must lie in [1, {min(width, outputs)}]")
        low, high = accumulator_range(op)
        require(low >= -(2**31) and high < 2**31, "encoded", "and bias overflow a 32-bit accumulator")
        require(not op.encoded[~group_mask(width, outputs, op.groups)].any(), "encoded", "is not zero between groups")
    elif isinstance(op, MatMul):
        outputs = len(op.bias)
        require(op.bias.ndim == 1, "bias", "must be a vector")
        require(op.weights.shape == (width, outputs), "weights", f"must have shape {(width, outputs)}")
        require(_within(op.weights, -128, 127), "weights", "must lie in [-128, 127]")
        require(_within(op.bias, -(2**31), 2**31 - 1), "bias", "must fit in 32 bits")
        low, high = product_range(op, input_types[0])
        require(low >= -(2**31) and high < 2**31, "weights", "and bias overflow a 32-bit accumulator")
    elif isinstance(op, ShiftGelu):
        type_ = input_types[0]
        require(type_.signed and type_.bits == 8, "inputs", "must be int8")
        require(op.width == width, "width", f"must be {width}")
        require(1 <= op.shift <= EXPONENT_SHIFT, "shift", f"must lie in [1, {EXPONENT_SHIFT}]")
        require(1 <= op.unit <= largest_unit(op.shift), "unit", f"must lie in [1, {largest_unit(op.shift)}]")
    else:
        require(op.multiplier.shape == op.shift.shape == (width,), "multiplier", f"and shift must have {width} values")
        require(_within(op.multiplier, 0, 2**31 - 1), "multiplier", "must lie in [0, 2^31 - 1]")
        require(_within(op.shift, 0, 62), "shift", "must lie in [0, 62]")


def _within(array: IntArray, low: int, high: int) -> bool:
    return bool(array.min() >= low and array.max() <= high)
