"""The golden model against a plain double loop over spec.md."""

import numpy as np
import pytest
from hypothesis import given, settings

from frozen_blocks import block_graphs, random_rows
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden
from lutra.frozen.graph import Graph, as_weightless
from lutra.frozen.ops import accumulator_range
from lutra.frozen.random_block import random_block
from lutra.frozen.types import TensorType


def row_by_hand(graph: Graph, x: list[int]) -> list[int]:
    """One row, following spec.md word for word in Python integers."""
    block = as_weightless(graph)
    values = {graph.input: x}
    values[block.thermometer.output] = [
        int(feature >= threshold)
        for feature, row in zip(x, block.thermometer.thresholds.tolist(), strict=True)
        for threshold in row
    ]
    for layer in block.lut_layers:
        bits = values[layer.inputs[0]]
        values[layer.output] = [
            table[sum(bits[source] << i for i, source in enumerate(sources))]
            for sources, table in zip(layer.connections.tolist(), layer.tables.tolist(), strict=True)
        ]
    bits = [bit for name in block.summation.inputs for bit in values[name]]
    output = []
    for d, bias in enumerate(block.summation.bias.tolist()):
        total = bias + sum(int(block.summation.encoded[r, d]) for r, bit in enumerate(bits) if bit)
        multiplier, shift = int(block.requantise.multiplier[d]), int(block.requantise.shift[d])
        scaled = (total * multiplier + (1 << shift >> 1)) >> shift
        output.append(max(graph.output_type.minimum, min(graph.output_type.maximum, scaled)))
    return output


@settings(max_examples=40, deadline=None)
@given(block_graphs(max_width=9))
def test_golden_follows_the_specification(graph):
    x = random_rows(np.random.default_rng(1), graph, 5)
    expected = [row_by_hand(graph, row) for row in x.tolist()]
    assert golden.run(graph, x).tolist() == expected


def test_rows_are_independent_of_how_they_are_cut():
    graph = random_block(np.random.default_rng(0))
    x = random_rows(np.random.default_rng(1), graph, 37)
    assert (golden.run(graph, x, rows_at_once=5) == golden.run(graph, x)).all()
    assert golden.run(graph, x[:0]).shape == (0, graph.output_width)


def test_every_accumulator_value_fits_its_declared_type():
    graph = random_block(np.random.default_rng(3), luts=(30, 25))
    summation = as_weightless(graph).summation
    type_ = graph.types()[summation.output]
    low, high = accumulator_range(summation)
    assert type_.minimum <= low < high <= type_.maximum
    assert low < -(2 ** (type_.bits - 2)) or high >= 2 ** (type_.bits - 2), "one bit less would do"


@pytest.mark.parametrize("bad", [np.zeros((2, 11), int), np.full((2, 12), 128), np.zeros((2, 12))])
def test_wrong_input_is_one_clear_error(bad):
    with pytest.raises(InputError, match="block: input must"):
        golden.run(random_block(np.random.default_rng(0)), bad)


def test_quantise_rounds_half_up_and_saturates():
    type_ = TensorType(True, 8, 0.5)
    x = np.array([-1e9, -0.75, -0.25, 0.0, 0.25, 0.75, 1e9], np.float32)
    assert golden.quantise(x, type_).tolist() == [-128, -1, 0, 0, 1, 2, 127]
    assert golden.dequantise(np.array([-3, 4]), type_).tolist() == [-1.5, 2.0]


def test_other_graphs_are_not_taken_for_blocks():
    graph = random_block(np.random.default_rng(0))
    with pytest.raises(FrozenModelError, match="not a weightless block"):
        as_weightless(Graph("g", "x", graph.input_type, graph.input_width, graph.ops[:-1]))
