"""Proves that the array with ShiftGELU computes exactly a frozen dense MLP, in exactly the predicted cycles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lutra.accelerators.systolic import bench as systolic
from lutra.accelerators.systolic.array import ActivationConfig, SystolicConfig, sufficient_output_lanes
from lutra.accelerators.systolic.bench import Product, ProductResult, SystolicBench, simulate_products
from lutra.errors import InputError
from lutra.frozen import golden
from lutra.frozen.dense import DenseMlp
from lutra.frozen.ops import MatMul, Requantise
from lutra.frozen.types import IntArray

BIAS_OPERAND = 127


@dataclass(frozen=True)
class MlpResult:
    """How one MLP compared: its two products, the first with ShiftGELU behind it."""

    first: ProductResult
    second: ProductResult

    @property
    def cycles_measured(self) -> int:
        return self.first.cycles_measured + self.second.cycles_measured

    @property
    def cycles_predicted(self) -> int:
        return self.first.cycles_predicted + self.second.cycles_predicted

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None if everything matches."""
        found = [f"product {n}: {each.problem}" for n, each in ((1, self.first), (2, self.second)) if each.problem]
        return "; ".join(found) or None


def build(mlp: DenseMlp, size: int, folder: Path) -> SystolicBench:
    """Generate and compile a `size` x `size` array with the ShiftGELU of `mlp`.

    Raises:
        InputError: requantisation that differs from output to output, or a size that the RTL does not take.
        ToolError: a tool is missing, or refuses the design.
    """
    first, second = (right_operand(op) for op in (mlp.first, mlp.second))
    inner = max(len(first), len(second))
    config = SystolicConfig(
        size,
        depth=max(2, 1 << (inner - 1).bit_length()),
        output_lanes=sufficient_output_lanes(size, min(len(first), len(second))),
        shift=_scaling(mlp.requantise_first)[1],
    )
    return systolic.build(config, folder, activation_of(mlp, size))


def activation_of(mlp: DenseMlp, size: int) -> ActivationConfig:
    """What stands between the products of `mlp` behind an array of `size` columns."""
    multiplier, shift = _scaling(mlp.requantise_gelu)
    return ActivationConfig(mlp.gelu.unit, mlp.gelu.shift, multiplier, shift, -(-mlp.first.width // size))


def simulate_mlp(bench: SystolicBench, mlp: DenseMlp, x: IntArray) -> MlpResult:
    """Run rows `x` (N, input_width) through both products and compare every value with the golden model.

    The second product is fed with what the golden model has between them, which the first one's results must equal.

    Raises:
        InputError: rows that the MLP, or products that the array does not take.
        ToolError: the simulation broke off.
    """
    trace = golden.trace(mlp.graph, x)
    hidden, outputs = trace[mlp.requantise_gelu.output], trace[mlp.requantise_second.output]
    products = [
        Product(_left_operand(mlp.first, x), right_operand(mlp.first), _scaling(mlp.requantise_first)[0], True),
        Product(_left_operand(mlp.second, hidden), right_operand(mlp.second), _scaling(mlp.requantise_second)[0]),
    ]
    for product, expected in zip(products, (hidden, outputs), strict=True):
        if _scaling(mlp.requantise_second)[1] != bench.config.shift or (bench.golden(product) != expected).any():
            raise InputError(f"{mlp.graph.name}: the test bench was built for another MLP; build it again")
    return MlpResult(*simulate_products(bench, products))


def right_operand(op: MatMul) -> IntArray:
    """The weights as the array reads them, (K + terms, P): a bias becomes rows that a constant input multiplies."""
    high, low = np.divmod(op.bias + BIAS_OPERAND // 2, BIAS_OPERAND)  # bias = 127 * high + low - 63
    rows = [low - BIAS_OPERAND // 2] if op.bias.any() else []
    while rows and high.any():
        rows.append(np.clip(high, -128, 127))
        high = high - rows[-1]
    stacked: IntArray = np.concatenate([op.weights, *(row[None] for row in rows)])
    return stacked


def _left_operand(op: MatMul, x: IntArray) -> IntArray:
    """The rows with the constants of the bias: 1, then 127 for every further row."""
    constants = np.full((len(x), len(right_operand(op)) - len(op.weights)), BIAS_OPERAND)
    constants[:, :1] = 1
    return np.concatenate([x, constants], axis=1)


def _scaling(op: Requantise) -> tuple[int, int]:
    """Multiplier and shift, which the array has once for all outputs."""
    if np.ptp(op.multiplier) or np.ptp(op.shift):
        raise InputError(f"{op.output}: the array requantises all outputs alike, this model does not")
    return int(op.multiplier[0]), int(op.shift[0])
