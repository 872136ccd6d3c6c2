"""The operations of a frozen model, one file per family. `spec.md` gives their exact meaning.

To add one: a class with `kind`, `check`, `result` and a meaning, a row in `OPERATIONS`, a section in spec.md with
numbered constraints, and `tests/frozen/ops/test_KIND.py`.
"""

from __future__ import annotations

from lutra.frozen.ops.attention import Attention, AttentionParts, ShiftmaxAttention
from lutra.frozen.ops.base import DIMENSIONS, Operation, Past
from lutra.frozen.ops.block import ConditionalSum, LutLayer, Thermometer, accumulator_range
from lutra.frozen.ops.embedding import PIXEL_OFFSET, Embedding, Patches, Positions
from lutra.frozen.ops.gelu import ShiftGelu
from lutra.frozen.ops.linear import MatMul, Requantise, Residual, Table, product_range
from lutra.frozen.ops.norm import IntegerLayerNorm, LayerNorm
from lutra.frozen.ops.pool import MeanRows, Select
from lutra.recipes.groups import group_bounds, group_mask

__all__ = [
    "DIMENSIONS", "OPERATIONS", "PIXEL_OFFSET", "Attention", "AttentionParts", "ConditionalSum", "Embedding",
    "IntegerLayerNorm",
    "LayerNorm", "LutLayer", "MatMul", "MeanRows", "Operation", "Past", "Patches", "Positions", "Requantise",
    "Residual", "Select", "ShiftGelu", "ShiftmaxAttention", "Table", "Thermometer", "accumulator_range", "group_bounds",
    "group_mask", "product_range",
]  # fmt: skip

OPERATIONS: dict[str, type[Operation]] = {
    op.kind: op
    for op in (
        Thermometer,
        LutLayer,
        ConditionalSum,
        Requantise,
        MatMul,
        Table,
        Residual,
        Embedding,
        Patches,
        Positions,
        LayerNorm,
        Attention,
        Select,
        MeanRows,
        ShiftGelu,
        ShiftmaxAttention,
        IntegerLayerNorm,
    )
}
