"""Sums as graphs of tables and adders: proved, and cheaper than summing every output on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.block.adder_graph import Number, Operand, adder_graph, prove
from lutra.errors import MismatchError


def width_of(encoded, start):
    """Bits of the largest sum, in two's complement."""
    return int((np.abs(encoded).sum(axis=0) + np.abs(start)).max()).bit_length() + 1


def random_sums(rng, rows, outputs, largest):
    encoded, start = rng.integers(-largest, largest + 1, (rows, outputs)), rng.integers(-99, 100, outputs)
    return encoded, start, width_of(encoded, start)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([1, 2, 3, 7, 128]))
def test_the_graph_is_the_sum_for_all_bits(seed, rows, outputs, largest):
    encoded, start, bits = random_sums(np.random.default_rng(seed), rows, outputs, largest)
    prove(adder_graph(encoded, start, bits), encoded, start)


@pytest.mark.parametrize("encoded", [np.zeros((3, 2), int), np.array([[-128], [127]]), np.array([[5, -5], [0, 0]])])
def test_values_that_leave_little_to_add(encoded):
    start = np.arange(encoded.shape[1]) - 1
    prove(adder_graph(encoded, start, width_of(encoded, start)), encoded, start)


def damaged(graph):
    """The graph with one thing wrong, in every way that there is."""
    for index, count in enumerate(graph.counts):
        for wrong in (
            replace(count, inverted=count.inverted ^ {count.places[0]}),
            replace(count, places=count.places[1:]),
        ):
            yield replace(graph, counts=[*graph.counts[:index], wrong, *graph.counts[index + 1 :]])
    for index, adder in enumerate(graph.adders):
        first, *rest = adder.operands
        narrow = replace(adder, number=Number(adder.number.name, adder.number.high - 1))
        for wrong in (
            replace(adder, operands=(replace(first, shift=first.shift + 1), *rest)),
            replace(adder, operands=(replace(first, inverted=not first.inverted), *rest)),
            narrow,
        ):
            yield replace(graph, adders=[*graph.adders[:index], wrong, *graph.adders[index + 1 :]])
    for index, output in enumerate(graph.outputs):
        for wrong in (replace(output, constant=output.constant ^ 1), replace(output, operands=output.operands[1:])):
            yield replace(graph, outputs=[*graph.outputs[:index], wrong, *graph.outputs[index + 1 :]])


def test_the_proof_finds_every_fault():
    rng = np.random.default_rng(1)
    encoded, start, bits = random_sums(rng, 24, 5, 3)
    count = 0
    for wrong in damaged(adder_graph(encoded, start, bits)):
        count += 1
        with pytest.raises(MismatchError, match="adder graph: "):
            prove(wrong, encoded, start)
    assert count > 50


def test_outputs_that_share_counts_take_less():
    rng = np.random.default_rng(2)
    for largest, share, most in ((1, 0.65, 85), (3, 0.87, 150)):
        encoded, start, bits = random_sums(rng, 192, 24, largest)
        together = adder_graph(encoded, start, bits).luts
        alone = sum(adder_graph(encoded[:, [d]], start[[d]], bits).luts for d in range(4))
        assert together < share * alone * 6
        assert together < most * 24


def test_nothing_is_counted_or_added_twice():
    graph = adder_graph(np.ones((4, 1), int), np.zeros(1, int), 4)
    count = graph.count((0, 1), ())
    assert graph.count((0, 1), ()) is count
    assert graph.count((0, 1), (1,)) is not count
    operands = Operand(count), Operand(count, 3)
    total = graph.add(operands)
    assert graph.add([replace(operand, shift=operand.shift + 2) for operand in operands]).number is total.number


def test_levels_count_the_adders_on_the_way():
    rng = np.random.default_rng(4)
    graph = adder_graph(*random_sums(rng, 50, 3, 3))
    assert {graph.levels[count.number.name] for count in graph.counts} == {0}
    for adder in graph.adders:
        assert graph.levels[adder.number.name] > max(graph.levels[each.number.name] for each in adder.operands)
    assert graph.depth == max(graph.output_levels) > 2
    assert adder_graph(np.zeros((2, 1), int), np.array([5]), 4).depth == 0
