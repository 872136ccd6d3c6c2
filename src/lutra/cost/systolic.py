"""The baseline: an output-stationary S x S int8 systolic array (QuWeiT section 4.3.2, Table 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lutra.accelerators.systolic.array import product_cycles
from lutra.cost.technology import Technology, quweit_paper
from lutra.cost.workload import TransformerShape
from lutra.errors import InputError


@dataclass(frozen=True)
class Gemm:
    """`count` products of a (rows x inner) with an (inner x columns) matrix."""

    name: str
    rows: int
    inner: int
    columns: int
    count: int = 1

    def steady_cycles(self, size: int) -> int:
        """The paper's rule: each S x S tile of the result takes `inner` cycles; no filling, draining or loading."""
        return self.count * self._tiles(size) * self.inner

    def cycles(self, size: int, output_lanes: int | None = None) -> int:
        """Cycles of the array of `accelerators.systolic`, each of the `count` products on its own: with loading of the
        first operands, the last wavefront and the last results (`product_cycles`).

        Operands come as fast as the array takes them. By default a whole row of a tile's results leaves per cycle.
        """
        lanes = output_lanes or size
        return self.count * product_cycles(self.rows, self.inner, self.columns, size, lanes)

    def _tiles(self, size: int) -> int:
        return math.ceil(self.rows / size) * math.ceil(self.columns / size)


def attention_gemms(shape: TransformerShape) -> tuple[Gemm, ...]:
    """The matrix products of one layer's attention, in order (causal masks are not halved)."""
    tokens, width, head = shape.tokens, shape.width, shape.width_of_head
    queries, keys = shape.query_width, shape.kv_width
    if queries == keys:
        projections = [Gemm("QKV", tokens, width, queries, 3)]
    else:
        projections = [Gemm("Q", tokens, width, queries), Gemm("KV", tokens, width, keys, 2)]
    return (
        *projections,
        Gemm("QK^T", tokens, head, tokens, shape.heads),
        Gemm("softmax V", tokens, tokens, head, shape.heads),
        Gemm("projection", tokens, queries, width),
    )


def mlp_gemms(shape: TransformerShape) -> tuple[Gemm, ...]:
    """The matrix products of one layer's MLP."""
    first = Gemm("MLP 1", shape.tokens, shape.width, shape.hidden, 2 if shape.gated else 1)
    return (first, Gemm("MLP 2", shape.tokens, shape.hidden, shape.width))


@dataclass(frozen=True)
class SystolicArray:
    """An array of a size that the paper measured, with its energy per cycle."""

    size: int
    fpga_j_per_cycle: float
    asic_j_per_cycle: float


def systolic_array(size: int, technology: Technology | None = None) -> SystolicArray:
    """The paper's S x S array: energy per cycle = energy of the two MLP products / their cycles (Table 3).

    Raises:
        InputError: the technology has no array of this size.
    """
    technology = technology or quweit_paper()
    section = f"systolic_{size}"
    if section not in technology.sections():
        known = [name.removeprefix("systolic_") for name in technology.sections() if name.startswith("systolic_")]
        raise InputError(f"{technology.path}: no systolic array of size {size}; there are {', '.join(known)}")
    cycles = technology[section, "mlp_cycles"]
    return SystolicArray(
        size,
        technology[section, "fpga_mlp_energy_j"] / cycles,
        technology[section, "asic_mlp_energy_j"] / cycles,
    )
