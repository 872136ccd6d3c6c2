"""Random frozen weightless blocks of every shape that a recipe can ask for; shared by the tests of several steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from lutra.frozen.graph import Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer, group_mask
from lutra.frozen.types import TensorType


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
    luts: tuple[int, ...] = (20, 12),
    inputs: tuple[int, ...] = (6, 4),
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
    ops: list = [Thermometer(("x",), "bits0", thresholds)]
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


def random_rows(rng: np.random.Generator, graph: Graph, rows: int) -> np.ndarray:
    """Input rows over the whole range of the input type, (rows, width) int64."""
    return rng.integers(graph.input_type.minimum, graph.input_type.maximum + 1, (rows, graph.input_width))


@st.composite
def block_graphs(draw: st.DrawFn, max_width: int = 20) -> Graph:
    """Hypothesis strategy over block configurations: odd widths, 1 to 3 LUT layers, n 2..8, 1..255 bits, groups."""
    width = draw(st.integers(1, max_width))
    layers = draw(st.integers(1, 3))
    sources = draw(st.sets(st.integers(0, layers), min_size=1, max_size=2))
    return random_block(
        np.random.default_rng(draw(st.integers(0, 2**32 - 1))),
        width=width,
        output_width=draw(st.integers(1, max_width)),
        thermometer_bits=draw(st.sampled_from([1, 2, 3, 8, 31, 255])),
        luts=tuple(draw(st.lists(st.integers(1, 40), min_size=layers, max_size=layers))),
        inputs=tuple(draw(st.lists(st.integers(2, 8), min_size=layers, max_size=layers))),
        sum_sources=tuple(sorted(sources)),
        groups=draw(st.integers(1, 4)),
        output_bits=draw(st.sampled_from([4, 8, 16, 24])),
        max_shift=draw(st.integers(0, 6)),
        encoded_values=draw(st.sampled_from(sorted(ENCODED_VALUES))),
    )
