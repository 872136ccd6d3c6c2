"""Weightless blocks of random contents, in every shape that a recipe can ask for: their cost hardly depends on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lutra.frozen.graph import Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.recipes.groups import group_mask


def _symmetric(largest: int) -> Callable[..., np.ndarray]:
    return lambda rng, shape: rng.integers(-largest, largest + 1, shape)


ENCODED_VALUES: dict[str, Callable[..., np.ndarray]] = {
    "int8": lambda rng, shape: rng.integers(-128, 128, shape),
    "int6": _symmetric(31),
    "int4": _symmetric(7),
    "int3": _symmetric(3),
    "ternary": _symmetric(1),
    "power-of-two-5": lambda rng, shape: rng.choice([0, 1, 2, 4, 8, -1, -2, -4, -8], shape),
    "kept-quarter": lambda rng, shape: rng.integers(-128, 128, shape) * (rng.random(shape) < 0.25),
}
"""Random encoded values (rows, outputs) of the kinds that training can make, every value of a kind as likely."""


def random_block(
    rng: np.random.Generator,
    *,
    width: int = 12,
    output_width: int | None = None,
    thermometer_bits: int = 3,
    luts: Sequence[int] = (20, 12),
    inputs: Sequence[int] = (6, 4),
    sum_sources: tuple[int, ...] | None = None,
    groups: int = 1,
    output_bits: int = 16,
    max_shift: int = 4,
    encoded_values: str = "int8",
    name: str = "block",
) -> Graph:
    """A block with random contents; `sum_sources` as in `BlockConfig.sum_sources` (0 = thermometer)."""
    output_width = output_width or width
    thresholds = np.sort(rng.integers(-128, 129, (width, thermometer_bits)), axis=1)
    ops: list[Any] = [Thermometer(("x",), "bits0", thresholds)]
    widths = [width * thermometer_bits]
    for layer, (count, n) in enumerate(zip(luts, inputs, strict=True), start=1):
        connections = rng.integers(0, widths[-1], (count, n))
        tables = rng.integers(0, 2, (count, 2**n))
        ops.append(LutLayer((f"bits{layer - 1}",), f"bits{layer}", connections, tables))
        widths.append(count)
    sources = sum_sources or (len(luts),)
    read = sum(widths[source] for source in sources)
    groups = min(groups, read, output_width)
    encoded = ENCODED_VALUES[encoded_values](rng, (read, output_width)) * group_mask(read, output_width, groups)
    bias = rng.integers(-2000, 2000, output_width)
    ops.append(ConditionalSum(tuple(f"bits{source}" for source in sources), "sum", encoded, bias, groups))
    shift = rng.integers(0, max_shift + 1, output_width)
    multiplier = rng.integers(1, 2 ** (max_shift + 1), output_width)
    ops.append(Requantise(("sum",), "y", multiplier, shift, TensorType(True, output_bits, 2.0**-8)))
    graph = Graph(name, "x", TensorType(True, 8, 2.0**-5), width, tuple(ops))
    graph.check()
    return graph
