"""How the outputs of a block are summed when all are in one cycle: by trees, or by a graph that those of a group share.

What takes fewer lookup tables is chosen for every group of outputs, by counts that are made from the trained values
alone (`tree_luts`, `AdderGraph.luts`), without any synthesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from lutra.accelerators.block.adder_graph import PAIRED_BITS, TABLE_BITS, AdderGraph, adder_graph
from lutra.accelerators.block.contents import BlockContents
from lutra.frozen.types import IntArray


@dataclass(frozen=True)
class GroupSum:
    """How the outputs of one group are summed, and the lookup tables that either way is counted to take."""

    dataflow: Literal["tree", "graph"]
    tree_luts: int
    graph_luts: int


def group_sums(contents: BlockContents, forced: bool) -> tuple[GroupSum, ...]:
    """The choice for every group; with `forced`, graphs whatever they take."""
    sums = []
    for group in range(contents.block.summation.groups):
        outputs = contents.group_outputs(group)
        trees = tree_luts(contents.group_values(group), contents.start[outputs.start : outputs.stop], contents.sum_bits)
        graph = graph_of(contents, group).luts
        sums.append(GroupSum("graph" if forced or graph < trees else "tree", trees, graph))
    return tuple(sums)


def graph_of(contents: BlockContents, group: int) -> AdderGraph:
    """The adder graph of a group's outputs, made once per process for the same values."""
    values, outputs = contents.group_values(group), contents.group_outputs(group)
    start = contents.start[outputs.start : outputs.stop]
    return _graph(values.tobytes(), values.shape, start.tobytes(), contents.sum_bits)


@lru_cache(maxsize=256)
def _graph(values: bytes, shape: tuple[int, ...], start: bytes, bits: int) -> AdderGraph:
    return adder_graph(np.frombuffer(values, np.int64).reshape(shape), np.frombuffer(start, np.int64), bits)


def tree_luts(encoded: IntArray, start: IntArray, bits: int) -> int:
    """Lookup tables of the trees of `start[d] + sum_r in[r] * encoded[r, d]`, for `encoded` (R, D) and `start` (D,).

    As `tree.TreePlan` builds them with all sums in one cycle, and as packing counts them: two tables that read at most
    five bits are one, and so are two places of an adder.
    """
    places, outputs = -(-len(encoded) // TABLE_BITS) * TABLE_BITS, encoded.shape[1]
    padded = np.zeros((places, outputs), np.int64)
    padded[: len(encoded)] = encoded
    values: IntArray = padded.reshape(-1, TABLE_BITS, outputs)  # (tables, bits, D)
    low, high = np.minimum(values, 0).sum(axis=1), np.maximum(values, 0).sum(axis=1)  # (tables, D)
    low[0] += start
    high[0] += start
    width, halves = _width(low, high, bits), 0
    for place in range(bits):
        # A place of a table's sum reads the bits whose values are not multiples of the power of two above it.
        reads = (values % (1 << place + 1) != 0).sum(axis=1)
        halves += int(((place < width) * (1 * (reads > 1) + 1 * (reads > PAIRED_BITS))).sum())
    while len(low) > 1:
        pairs = len(low) // 2 * 2
        # A sum whose operand is nothing is the other operand.
        adds = np.logical_and(*((low[k:pairs:2] != 0) | (high[k:pairs:2] != 0) for k in (0, 1)))
        low, high = (np.concatenate([end[:pairs:2] + end[1:pairs:2], end[pairs:]]) for end in (low, high))
        halves += int((_width(low, high, bits)[: len(adds)] * adds).sum())
    return -(-halves // 2)


def _width(low: IntArray, high: IntArray, bits: int) -> IntArray:
    """Bits that numbers need, at most `bits`; with a sign where one can be negative."""
    largest = np.maximum(np.maximum(~low, high), 0)
    width: IntArray = np.minimum(np.ceil(np.log2(largest + 1)).astype(np.int64) + (low < 0), bits)
    return width
