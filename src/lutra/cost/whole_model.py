"""A whole transformer end to end, with what QuWeiT's Table 4 leaves out: the dense model against ours.

Everything computes in integers as I-ViT does, one sequence at a time; products run on the paper's systolic array. What
has no constant of its own is counted in additions and multiplications of 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lutra.accelerators.block.schedule import FoldFactor
from lutra.cost.systolic import Gemm, SystolicArray, attention_gemms, mlp_gemms
from lutra.cost.technology import TECHNOLOGY_FOLDER, Technology
from lutra.cost.weightless import accumulation_cycles, paper_asic_energy, paper_fpga_energy
from lutra.cost.workload import TransformerShape, workload

PAPER_BLOCK_WIDTH = 192
BIAS_BYTES = 4
"""Biases and what normalisations hold; matrices have a byte per element."""
BLOCK_BYTES_PER_VALUE = 3
"""The block reads int8 and writes int16."""


@dataclass(frozen=True)
class Operations:
    """32-bit integer operations; a comparison or a shift counts as an addition."""

    additions: int
    multiplications: int

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.additions + other.additions, self.multiplications + other.multiplications)

    def __mul__(self, times: int) -> Operations:
        return Operations(self.additions * times, self.multiplications * times)


ADD, MULTIPLY = Operations(1, 0), Operations(0, 1)
DIVIDE = ADD * 31  # restoring division, a subtraction per bit
REQUANTISE = MULTIPLY + ADD
EXPONENTIAL = ADD * 5 + MULTIPLY * 2  # ShiftExp: p, q by a reciprocal, r, r / 2 - x0, the shift by q
SHIFTMAX, SHIFTMAX_ROW = ADD * 3 + EXPONENTIAL + MULTIPLY, DIVIDE  # maximum, difference, sum; times the reciprocal
SHIFT_GELU, SHIFT_GELU_ROW = ADD * 3 + EXPONENTIAL + DIVIDE + MULTIPLY * 2 + REQUANTISE, EXPONENTIAL
LAYER_NORM = ADD * 4 + MULTIPLY * 2 + REQUANTISE  # two sums, difference, square, times the reciprocal, bias
LAYER_NORM_ROW = (DIVIDE + ADD) * 10 + DIVIDE  # integer square root in 10 steps, then its reciprocal
RESIDUAL = REQUANTISE * 2 + ADD


@dataclass(frozen=True)
class EnergyPart:
    """One part of a model's energy per sequence; `mlp` where it belongs to the MLPs that a block replaces."""

    name: str
    mlp: bool
    off_chip: bool
    fpga_energy_j: float
    asic_energy_j: float


@dataclass(frozen=True)
class Energies:
    """Energy per sequence on the FPGA and in 45 nm."""

    fpga_energy_j: float
    asic_energy_j: float


def total(parts: Iterable[EnergyPart]) -> Energies:
    """The sum over parts."""
    chosen = list(parts)
    return Energies(sum(part.fpga_energy_j for part in chosen), sum(part.asic_energy_j for part in chosen))


def outside_gemms(shape: TransformerShape) -> tuple[Gemm, ...]:
    """The products outside the layers: patch embedding and head, where the model has them."""
    gemms = []
    if shape.patches:
        gemms.append(Gemm("patch embedding", shape.patches, shape.patch_inputs, shape.width))
    if shape.classes:
        gemms.append(Gemm("head", shape.head_tokens, shape.width, shape.classes))
    return tuple(gemms)


def dense_parts(shape: TransformerShape, array: SystolicArray) -> tuple[EnergyPart, ...]:
    """What one sequence costs on the dense model: every part of every layer, and what lies around them.

    On the FPGA arithmetic costs as many times more than in 45 nm as on the array; block RAM is charged as in 45 nm,
    which is its least.
    """
    energy = PartMaker(array)
    layers, tokens, rows = shape.layers, shape.tokens, shape.tokens * shape.heads
    attention, mlp, outside = attention_gemms(shape), mlp_gemms(shape), outside_gemms(shape)
    norms = layers * 2 + shape.norms_outside
    return (
        energy.products("attention, products", attention, layers),
        energy.products("MLP, products", mlp, layers, mlp=True),
        energy.products("patch embedding and head, products", outside),
        energy.operations("softmax", SHIFTMAX * (layers * rows * tokens) + SHIFTMAX_ROW * (layers * rows)),
        energy.operations("GELU", (SHIFT_GELU * shape.hidden + SHIFT_GELU_ROW) * (layers * tokens), mlp=True),
        energy.operations("LayerNorm", (LAYER_NORM * shape.width + LAYER_NORM_ROW) * (norms * tokens)),
        energy.operations("residual sums", RESIDUAL * (2 * layers * tokens * shape.width)),
        energy.operations("requantisation", REQUANTISE * (layers * _results(attention) + _results(outside))),
        energy.operations("requantisation, MLP", REQUANTISE * (layers * _results(mlp)), mlp=True),
        energy.on_chip("on-chip buffers", layers * _traffic(attention, array.size) + _traffic(outside, array.size)),
        energy.on_chip("on-chip buffers, MLP", layers * _traffic(mlp, array.size), mlp=True),
        energy.off_chip("off-chip weights and input", _bytes_beside_mlp(shape)),
        energy.off_chip("off-chip weights, MLP", _weight_bytes(shape, "mlp"), mlp=True),
    )


def block_parts(shape: TransformerShape, array: SystolicArray, fold: FoldFactor) -> tuple[EnergyPart, ...]:
    """What replaces the MLPs: one block per layer with the paper's energy per cycle, in proportion to its width.

    That favours wide blocks, whose encoded values grow with the square of the width.

    Its tables and encoded values are logic, so that it fetches nothing from outside.
    """
    cycles = shape.layers * shape.tokens * accumulation_cycles(shape.width, fold)
    wider = shape.width / PAPER_BLOCK_WIDTH
    block = EnergyPart(
        "weightless blocks",
        mlp=True,
        off_chip=False,
        fpga_energy_j=cycles * wider * paper_fpga_energy().j_per_cycle,
        asic_energy_j=cycles * wider * paper_asic_energy().j_per_cycle,
    )
    traffic = shape.layers * shape.tokens * shape.width * BLOCK_BYTES_PER_VALUE
    return (block, PartMaker(array).on_chip("on-chip buffers, blocks", traffic, mlp=True))


@dataclass(frozen=True)
class Ratio:
    """Energy of the dense model over ours."""

    fpga: float
    asic: float


def ratio(dense: Iterable[EnergyPart], ours: Iterable[EnergyPart], off_chip: bool = True) -> Ratio:
    """The dense model over the same without its MLPs' parts and with `ours`; also without off-chip traffic.

    With nothing in `ours` this is the upper limit, 1 / (1 - the MLPs' share of the energy).
    """
    counted = [part for part in dense if off_chip or not part.off_chip]
    baseline, replaced = total(counted), total([*(part for part in counted if not part.mlp), *ours])
    return Ratio(
        baseline.fpga_energy_j / replaced.fpga_energy_j,
        baseline.asic_energy_j / replaced.asic_energy_j,
    )


class PartMaker:
    """Makes parts of counts: of the array's cycles, of operations in 32 bits, of bytes.

    On the FPGA arithmetic costs as many times more than in 45 nm as on the array; block RAM is charged as in 45 nm.
    """

    def __init__(self, array: SystolicArray) -> None:
        self.array = array
        self.technology = Technology(TECHNOLOGY_FOLDER / "horowitz_45nm.toml")
        self.fpga_over_asic = array.fpga_j_per_cycle / array.asic_j_per_cycle

    def products(self, name: str, gemms: tuple[Gemm, ...], times: int = 1, mlp: bool = False) -> EnergyPart:
        return self.array_cycles(name, times * sum(gemm.steady_cycles(self.array.size) for gemm in gemms), mlp)

    def array_cycles(self, name: str, cycles: int, mlp: bool = False) -> EnergyPart:
        fpga_energy_j, asic_energy_j = cycles * self.array.fpga_j_per_cycle, cycles * self.array.asic_j_per_cycle
        return EnergyPart(name, mlp, False, fpga_energy_j, asic_energy_j)

    def operations(self, name: str, count: Operations, mlp: bool = False) -> EnergyPart:
        asic_energy_j = (
            count.additions * self.technology["arithmetic", "addition_j"]
            + count.multiplications * self.technology["arithmetic", "multiplication_j"]
        )
        return EnergyPart(name, mlp, False, asic_energy_j * self.fpga_over_asic, asic_energy_j)

    def on_chip(self, name: str, size_bytes: int, mlp: bool = False) -> EnergyPart:
        energy_j = self._accesses(size_bytes) * self.technology["memory", "on_chip_access_j"]
        return EnergyPart(name, mlp, False, energy_j, energy_j)

    def off_chip(self, name: str, size_bytes: int, mlp: bool = False) -> EnergyPart:
        energy_j = self._accesses(size_bytes) * self.technology["memory", "off_chip_access_j"]
        return EnergyPart(name, mlp, True, energy_j, energy_j)

    def _accesses(self, size_bytes: int) -> float:
        return size_bytes / self.technology["memory", "access_bytes"]


def _results(gemms: tuple[Gemm, ...]) -> int:
    return sum(gemm.count * gemm.rows * gemm.columns for gemm in gemms)


def _traffic(gemms: tuple[Gemm, ...], size: int) -> int:
    """Bytes between the buffers and the array: the left matrix once, the right one once per row of tiles, results."""
    return sum(
        gemm.count
        * (gemm.rows * gemm.inner + -(-gemm.rows // size) * gemm.inner * gemm.columns + gemm.rows * gemm.columns)
        for gemm in gemms
    )


def _weight_bytes(shape: TransformerShape, group: str) -> int:
    parts = [part for part in workload(shape).parts if part.group == group]
    return sum(part.weights + BIAS_BYTES * (part.parameters - part.weights) for part in parts)


def _bytes_beside_mlp(shape: TransformerShape) -> int:
    """Weights of attention, norms, patch embedding and head, the rows of tables that are read, and the image."""
    read = sum(_weight_bytes(shape, group) for group in ("attention", "norm", "head"))
    read += shape.classes * shape.width if shape.head_tied else 0
    tables = sum(bool(rows) for rows in (shape.vocabulary, shape.position_embeddings, shape.token_types))
    patch_embedding = shape.patch_inputs * shape.width + BIAS_BYTES * shape.width if shape.patches else 0
    rows = tables * shape.tokens + shape.special_tokens
    return read + rows * shape.width + patch_embedding + shape.patches * shape.patch_inputs
