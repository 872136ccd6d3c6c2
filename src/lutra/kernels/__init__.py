"""Training kernels of the weightless block: `reference` is the definition, `weightless_block` the fast operation."""

from lutra.kernels.block import (
    BlockParameters,
    IntegerParameters,
    LayerParameters,
    column_argmax,
    fast_block_available,
    weightless_block,
)

__all__ = [
    "BlockParameters",
    "IntegerParameters",
    "LayerParameters",
    "column_argmax",
    "fast_block_available",
    "weightless_block",
]
