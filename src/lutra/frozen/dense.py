"""The dense MLP that the weightless block replaces, as a frozen graph of int8 products with ShiftGELU between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutra.errors import FrozenModelError, InputError
from lutra.frozen.golden import quantise
from lutra.frozen.graph import Graph
from lutra.frozen.ops import MatMul, Requantise, ShiftGelu
from lutra.frozen.shift import EXPONENT_SHIFT, SIGMOID_BITS, gelu_unit, largest_unit, require_gelu_range, shift_gelu
from lutra.frozen.types import IntArray, TensorType

MULTIPLIER_BITS, LARGEST_SHIFT = 16, 24
"""Requantising is by multipliers of 16 bits; both products share one shift, as they share one array."""
OPS = (MatMul, Requantise, ShiftGelu, Requantise, MatMul, Requantise)


@dataclass(frozen=True, eq=False)
class DenseMlp:
    """A graph seen as a dense MLP: its operations in order."""

    graph: Graph
    first: MatMul
    requantise_first: Requantise
    gelu: ShiftGelu
    requantise_gelu: Requantise
    second: MatMul
    requantise_second: Requantise


def as_dense_mlp(graph: Graph) -> DenseMlp:
    """View a graph as a dense MLP.

    Raises:
        FrozenModelError: the operations are not product, requantise, ShiftGELU, requantise, product, requantise to
            int8, each reading the value before it.
    """
    ops = graph.ops
    names = [graph.input, *(op.output for op in ops)]
    chained = all(op.inputs == (name,) for op, name in zip(ops, names, strict=False))
    int8 = all(op.type.bits == 8 and op.type.signed for op in ops if isinstance(op, Requantise))
    if len(ops) != len(OPS) or not all(map(isinstance, ops, OPS)) or not chained or not int8:
        raise FrozenModelError(f"{graph.name}: not a dense MLP; this step handles only those")
    return DenseMlp(graph, *ops)  # type: ignore[arg-type]


def quantise_mlp(
    name: str,
    x: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    first_bias: np.ndarray | None = None,
    second_bias: np.ndarray | None = None,
) -> Graph:
    """A trained MLP `second @ gelu(first @ x + first_bias) + second_bias` in int8, one scale per tensor.

    `first` (H, D) and `second` (O, H) are as PyTorch stores them; the scales of activations are the largest values
    that the sample `x` (N, D) meets.

    Raises:
        InputError: a tensor is zero everywhere, the scales of the two products lie too far apart, or hidden values are
            too large for ShiftGELU.
    """
    x_type, first_type, second_type = (_type_of(values) for values in (x, first, second))
    sums_scale = x_type.scale * first_type.scale
    weights, bias = quantise(first, first_type).T, _bias(first_bias, sums_scale, len(first))
    sums = quantise(x, x_type) @ weights + bias
    hidden_type = _type_of(sums * sums_scale)
    require_gelu_range(hidden_type.scale, name)
    unit = gelu_unit(hidden_scale := hidden_type.scale)
    shift = max((n for n in range(1, EXPONENT_SHIFT + 1) if unit <= largest_unit(n)), default=0)
    activated_scale = hidden_scale / (1 << SIGMOID_BITS - 1)
    activated = shift_gelu(quantise(sums * sums_scale, hidden_type), unit, shift)
    activated_type = _type_of(activated * activated_scale)
    output_sums_scale = activated_type.scale * second_type.scale
    weights_2, bias_2 = quantise(second, second_type).T, _bias(second_bias, output_sums_scale, len(second))
    outputs = quantise(activated * activated_scale, activated_type) @ weights_2 + bias_2
    output_type = _type_of(outputs * output_sums_scale)
    ratios = sums_scale / hidden_type.scale, output_sums_scale / output_type.scale
    activation_ratio = activated_scale / activated_type.scale
    shift_of_products, shift_of_activation = _shift(*ratios), _shift(activation_ratio)
    ops = (
        MatMul(("x",), "sums", weights, bias),
        _requantise("sums", "hidden", len(first), ratios[0], shift_of_products, hidden_type),
        ShiftGelu(("hidden",), "gelu", len(first), unit, shift),
        _requantise("gelu", "activated", len(first), activation_ratio, shift_of_activation, activated_type),
        MatMul(("activated",), "output_sums", weights_2, bias_2),
        _requantise("output_sums", "y", len(second), ratios[1], shift_of_products, output_type),
    )
    graph = Graph(name, "x", x_type, x.shape[1], ops)
    graph.check()
    return graph


def _type_of(values: np.ndarray) -> TensorType:
    largest = float(np.abs(values).max(initial=0))
    if not largest > 0 or not np.isfinite(largest):
        raise InputError(f"dense MLP: a tensor of shape {values.shape} holds nothing but zeros, or is not finite")
    return TensorType(signed=True, bits=8, scale=largest / 127)


def _bias(bias: np.ndarray | None, scale: float, outputs: int) -> IntArray:
    if bias is None:
        return np.zeros(outputs, np.int64)
    integers: IntArray = np.floor(bias / scale + 0.5).astype(np.int64)
    return integers


def _shift(*ratios: float) -> int:
    """The largest shift with which no multiplier has more than 16 bits."""
    largest = np.log2(((1 << MULTIPLIER_BITS) - 1) / max(ratios))
    return max(0, min(LARGEST_SHIFT, int(np.floor(largest))))


def _requantise(source: str, output: str, width: int, ratio: float, shift: int, type_: TensorType) -> Requantise:
    multiplier = int(np.floor(ratio * (1 << shift) + 0.5))
    if not 0 < multiplier < 1 << MULTIPLIER_BITS:
        raise InputError(f"dense MLP: no 16-bit multiplier for {source} ({ratio:.3g}); the products' scales differ")
    return Requantise((source,), output, np.full(width, multiplier), np.full(width, shift), type_)
