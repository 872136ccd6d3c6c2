"""Counts of a block's hardware and work, against what the frozen model really touches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from frozen_blocks import block_graphs, random_rows
from lutra.cost.weightless import inference_counts
from lutra.frozen import golden
from lutra.frozen.graph import Graph, as_weightless
from lutra.frozen.random_block import random_block


def test_counts_of_a_dense_block():
    graph = random_block(np.random.default_rng(0), width=12, thermometer_bits=3, luts=(20, 12), inputs=(6, 4))
    counts = inference_counts(as_weightless(graph))
    assert counts.thermometer_bits == 36
    assert counts.luts == 32
    assert counts.additions_per_token == 12 * 12
    assert counts.encoded_bytes == 12 * 12 * 7 / 8  # fewer than 128 of the 256 values occur
    assert counts.table_bytes == (20 * 64 + 12 * 16) / 8
    assert counts.comparators == len(np.unique(as_weightless(graph).lut_layers[0].connections))


def test_groups_save_additions_and_bytes():
    graph = random_block(np.random.default_rng(0), width=12, luts=(20, 12), groups=4)
    counts = inference_counts(as_weightless(graph))
    assert counts.additions_per_token == 4 * 3 * 3
    assert counts.encoded_bytes == 4 * 3 * 3 * 6 / 8


@pytest.mark.parametrize(
    ("kind", "bits"), [("int8", 8), ("int4", 4), ("int3", 3), ("ternary", 2), ("power-of-two-5", 4)]
)
def test_encoded_values_take_the_bits_that_tell_them_apart(kind, bits):
    graph = random_block(np.random.default_rng(0), width=40, luts=(40,), inputs=(4,), encoded_values=kind)
    assert inference_counts(as_weightless(graph)).encoded_bytes == 40 * 40 * bits / 8


def test_a_summation_of_thermometer_bits_reads_every_comparator():
    graph = random_block(np.random.default_rng(0), sum_sources=(0, 2))
    assert inference_counts(as_weightless(graph)).comparators == 36


@settings(max_examples=50, deadline=None)
@given(block_graphs())
def test_unread_comparators_change_nothing(graph):
    block = as_weightless(graph)
    counts = inference_counts(block)
    assert counts.distinct_comparators <= counts.comparators <= counts.thermometer_bits
    thermometer = block.thermometer
    touched = thermometer.output in block.summation.inputs
    read = np.arange(thermometer.width) if touched else np.unique(block.lut_layers[0].connections)
    rng = np.random.default_rng(0)
    rows = random_rows(rng, graph, 20)
    bits = golden.trace(graph, rows)[thermometer.output].copy()
    unread = np.setdiff1d(np.arange(thermometer.width), read)
    bits[:, unread] ^= 1
    assert counts.comparators == thermometer.width - len(unread)
    rest = Graph(graph.name, thermometer.output, block.graph.types()[thermometer.output], bits.shape[1], graph.ops[1:])
    np.testing.assert_array_equal(golden.run(rest, bits), golden.run(graph, rows))
