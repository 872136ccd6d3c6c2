"""The meaning of a frozen model, in NumPy int64: one small function per operation (spec.md)."""

from __future__ import annotations

import numpy as np

from lutra.errors import InputError
from lutra.frozen.graph import Graph
from lutra.frozen.ops import (
    ConditionalSum,
    LutLayer,
    MatMul,
    Operation,
    Requantise,
    ShiftGelu,
    Thermometer,
)
from lutra.frozen.shift import shift_gelu as shift_gelu_rows
from lutra.frozen.types import IntArray, TensorType


def quantise(x: np.ndarray, type_: TensorType) -> IntArray:
    """float32 -> integers: `clamp(floor(x * (1 / scale) + 0.5))`, every step rounded to float32."""
    inverse = np.float32(1) / np.float32(type_.scale)
    scaled: np.ndarray = np.floor(x.astype(np.float32) * inverse + np.float32(0.5))
    integers: IntArray = np.clip(scaled, type_.minimum, type_.maximum).astype(np.int64)
    return integers


def dequantise(x: IntArray, type_: TensorType) -> np.ndarray:
    """Integers -> float32: `float32(x) * float32(scale)`."""
    real: np.ndarray = x.astype(np.float32) * np.float32(type_.scale)
    return real


def thermometer(op: Thermometer, x: IntArray) -> IntArray:
    bits: np.ndarray = x[:, :, None] >= op.thresholds  # (N, D, T)
    return bits.reshape(len(x), -1).astype(np.int64)


def lut_layer(op: LutLayer, bits: IntArray) -> IntArray:
    planes = np.ascontiguousarray(bits.T.astype(np.uint8))  # (F, N): gathering whole rows is quick
    address = np.zeros((len(op.tables), len(bits)), np.uint8)  # (L, N); an address has at most 8 bits
    for position, column in enumerate(op.connections.T):
        address |= planes[column] << np.uint8(position)
    return np.take_along_axis(op.tables, address.astype(np.int64), axis=1).T


def conditional_sum(op: ConditionalSum, bits: IntArray) -> IntArray:
    # Sums of int8 values stay far below 2^53, so the float64 product is exact, and BLAS makes it fast.
    products: np.ndarray = bits.astype(np.float64) @ op.encoded.astype(np.float64)
    return products.astype(np.int64) + op.bias


def requantise(op: Requantise, x: IntArray) -> IntArray:
    half = np.where(op.shift > 0, np.int64(1) << np.maximum(op.shift - 1, 0), 0)
    clamped: IntArray = np.clip((x * op.multiplier + half) >> op.shift, op.type.minimum, op.type.maximum)
    return clamped


def matmul(op: MatMul, x: IntArray) -> IntArray:
    # The sums fit in 32 bits, so the float64 product is exact, and BLAS makes it fast.
    products: np.ndarray = x.astype(np.float64) @ op.weights.astype(np.float64)
    return products.astype(np.int64) + op.bias


def shift_gelu(op: ShiftGelu, x: IntArray) -> IntArray:
    return shift_gelu_rows(x, op.unit, op.shift)


_MEANING = {
    Thermometer: thermometer,
    LutLayer: lut_layer,
    ConditionalSum: conditional_sum,
    Requantise: requantise,
    MatMul: matmul,
    ShiftGelu: shift_gelu,
}


def apply(op: Operation, *inputs: IntArray) -> IntArray:
    """One operation on rows of its inputs, (N, width) each."""
    result: IntArray = _MEANING[type(op)](op, np.concatenate(inputs, axis=1))  # type: ignore[operator]
    return result


def trace(graph: Graph, x: IntArray) -> dict[str, IntArray]:
    """Every value of the graph for input rows `x` (N, input_width), by name.

    Raises:
        InputError: wrong shape, not integers, or outside the input type's range.
    """
    low, high = graph.input_type.minimum, graph.input_type.maximum
    if x.ndim != 2 or x.shape[1] != graph.input_width or not np.issubdtype(x.dtype, np.integer):
        raise InputError(f"{graph.name}: input must be integers of shape (rows, {graph.input_width}), got {x.shape}")
    if x.size and (x.min() < low or x.max() > high):
        raise InputError(f"{graph.name}: input must lie in [{low}, {high}], found {x.min()} to {x.max()}")
    values = {graph.input: x.astype(np.int64)}
    for op in graph.ops:
        values[op.output] = apply(op, *(values[name] for name in op.inputs))
    return values


def run(graph: Graph, x: IntArray, rows_at_once: int = 4096) -> IntArray:
    """The graph's output, (N, output_width) int64, for input rows `x` (N, input_width)."""
    pieces = [trace(graph, x[start : start + rows_at_once])[graph.output] for start in range(0, len(x), rows_at_once)]
    return np.concatenate(pieces) if pieces else np.zeros((0, graph.output_width), np.int64)
