"""One transformer layer end to end: the baseline on a systolic array against ours (QuWeiT Table 4, rebuilt)."""

from __future__ import annotations

from dataclasses import dataclass

from lutra.cost.systolic import Gemm, SystolicArray, attention_gemms, mlp_gemms
from lutra.cost.weightless import BlockEnergy
from lutra.cost.workload import TransformerShape

LEAVES_OUT = (
    "softmax, GELU and LayerNorm",
    "patch, token and position embeddings, and the head",
    "off-chip traffic, weight loading and the block's input buffers",
    "leakage and clock power of idle logic: the array idles while the block runs, and the block while the array runs",
    "one copy of the block per layer, where one systolic array serves all layers",
    "the saving of a causal mask: attention is computed in full",
)
"""What no energy ratio here contains; printed wherever a ratio is."""


@dataclass(frozen=True)
class GemmCost:
    """A matrix product on a systolic array in steady state."""

    gemm: Gemm
    steady_cycles: int
    cycles: int
    """With loading, fill and drain."""
    fpga_energy_j: float
    asic_energy_j: float


def gemm_cost(gemm: Gemm, array: SystolicArray) -> GemmCost:
    """Cycles and energy of `gemm` on `array`; energy counts the steady cycles, as the paper does."""
    steady = gemm.steady_cycles(array.size)
    return GemmCost(
        gemm, steady, gemm.cycles(array.size), steady * array.fpga_j_per_cycle, steady * array.asic_j_per_cycle
    )


@dataclass(frozen=True)
class LayerCost:
    """One dense layer on a systolic array."""

    array: SystolicArray
    attention: tuple[GemmCost, ...]
    mlp: tuple[GemmCost, ...]

    @property
    def upper_limit(self) -> float:
        """The ratio that a block of no cost would reach: 1 / (1 - the MLP's share of the cycles)."""
        return self._all("steady_cycles") / total(self.attention, "steady_cycles")

    def fpga_ratio(self, block_energy_j: float) -> float:
        """Energy of the dense layer over that of the layer with a weightless block, on the FPGA."""
        return self._all("fpga_energy_j") / (total(self.attention, "fpga_energy_j") + block_energy_j)

    def asic_ratio(self, block_energy_j: float) -> float:
        """The same in 45 nm."""
        return self._all("asic_energy_j") / (total(self.attention, "asic_energy_j") + block_energy_j)

    def _all(self, field: str) -> float:
        return total(self.attention + self.mlp, field)


def layer_cost(shape: TransformerShape, array: SystolicArray) -> LayerCost:
    """Cost of one layer of `shape` on `array`."""
    return LayerCost(
        array,
        tuple(gemm_cost(gemm, array) for gemm in attention_gemms(shape)),
        tuple(gemm_cost(gemm, array) for gemm in mlp_gemms(shape)),
    )


def total(costs: tuple[GemmCost, ...], field: str) -> float:
    """The sum of one field, such as "steady_cycles" or "fpga_energy_j", over matrix products."""
    return float(sum(getattr(cost, field) for cost in costs))


@dataclass(frozen=True)
class EndToEnd:
    """A layer whose MLP is a weightless block that takes `block_cycles` per sequence."""

    label: str
    block_cycles: int
    block_fpga_energy_j: float
    block_asic_energy_j: float
    fpga_ratio: float
    asic_ratio: float


def end_to_end(layer: LayerCost, label: str, block_cycles: int, fpga: BlockEnergy, asic: BlockEnergy) -> EndToEnd:
    """Compare the dense layer with the one whose block runs `block_cycles` per sequence."""
    fpga_j, asic_j = block_cycles * fpga.j_per_cycle, block_cycles * asic.j_per_cycle
    return EndToEnd(label, block_cycles, fpga_j, asic_j, layer.fpga_ratio(fpga_j), layer.asic_ratio(asic_j))
