"""Strategies and rows for frozen weightless blocks; shared by the tests of several steps."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from lutra.frozen.graph import Graph
from lutra.frozen.random_block import ENCODED_VALUES, random_block


def random_rows(rng: np.random.Generator, graph: Graph, rows: int) -> np.ndarray:
    """Input rows over the whole range of the input type, (rows, width) int64."""
    return rng.integers(graph.input_type.minimum, graph.input_type.maximum + 1, (rows, graph.input_width))


def mixed_block(luts: int) -> Graph:
    """A graph takes less for the first six outputs, of ternary values; trees for the last six, of 24 bits in int8."""
    rng = np.random.default_rng(5)
    graph = random_block(
        rng, width=12, thermometer_bits=3, luts=(luts,), inputs=(6,), groups=2, encoded_values="ternary", max_shift=0
    )
    summation = graph.ops[-2]
    encoded = summation.encoded.copy()
    encoded[luts // 2 :] = 0
    encoded[luts // 2 : luts // 2 + 24, 6:] = rng.integers(-128, 128, (24, 6))
    return dataclasses.replace(
        graph, ops=(*graph.ops[:-2], dataclasses.replace(summation, encoded=encoded), graph.ops[-1])
    )


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
