"""The schedule against cycle counts worked out by hand (and, in test_simulate.py, against simulated cycles)."""

import numpy as np
import pytest

from lutra.accelerators.block.schedule import graph_levels, lane_groups, registered_levels, schedule
from lutra.errors import InputError
from lutra.frozen.graph import as_weightless
from lutra.frozen.random_block import random_block


def make(fold_factor, dataflow="accumulate", **shape):
    return schedule(as_weightless(random_block(np.random.default_rng(0), **shape)), fold_factor, dataflow)


def test_one_bit_per_cycle():
    # 12 bits summed one by one; 12 activations and 12 outputs travel one by one, too.
    s = make(1, width=12, luts=(20, 12))
    assert (s.steps, s.bits_per_step, s.input_lanes, s.input_beats, s.output_lanes, s.output_beats) == (
        12,
        1,
        1,
        12,
        1,
        12,
    )
    # 12 to fill and 2 stages before, 1 through the tables, 12 to sum, 4 stages, 11 beats more, 2 at the output
    assert s.latency_cycles == 44
    assert s.interval_cycles == 12
    assert [s.cycles(rows) for rows in (0, 1, 2, 10)] == [0, 44, 56, 152]


def test_everything_in_one_cycle():
    s = make("all", width=12, luts=(20, 12))
    assert (s.steps, s.bits_per_step, s.input_lanes, s.output_lanes) == (1, 12, 12, 12)
    assert (s.latency_cycles, s.interval_cycles, s.cycles(100)) == (12, 1, 111)  # 12 bits are added in two stages


def test_more_steps_than_elements():
    # Every group sums at most ceil(37 / 3) = 13 bits, 4 at a time; 5 activations fit into 3 beats of 2.
    s = make(4, width=5, output_width=7, luts=(37,), inputs=(6,), groups=3)
    assert (s.steps, s.bits_per_step) == (4, 4)
    assert (s.input_lanes, s.input_beats, s.output_lanes, s.output_beats) == (2, 3, 2, 4)
    assert s.cycles(3) == 3 + 2 + 3 + 3 * 4 + 5 + 3  # 4 bits are added in two stages


def test_adders_that_would_save_no_step_are_left_out():
    s = make(8, width=12, luts=(20, 9))
    assert (s.steps, s.bits_per_step) == (2, 5)


def test_several_sources_are_summed_one_after_the_other():
    s = make(10, width=12, thermometer_bits=3, luts=(20, 12), sum_sources=(0, 2))
    assert s.steps == 5  # 36 thermometer bits and 12 of the last layer


def test_the_block_of_the_paper():
    # I-ViT-T: 192 activations, 192 last tables, 192 outputs: a row every 192 cycles at one bit per cycle.
    shape = {"width": 192, "thermometer_bits": 8, "luts": (768, 192), "inputs": (6, 6)}
    assert make(1, **shape).interval_cycles == 192
    assert make(4, **shape).interval_cycles == 48


def test_outputs_of_the_papers_block_by_trees():
    # 12 outputs per cycle, each from 96 tables of 2 bits and 4 bits of step: 7 levels of adders in 3 stages.
    s = make(12, "tree", width=192, thermometer_bits=8, luts=(768, 192), inputs=(6, 6))
    assert (s.steps, s.bits_per_step, s.output_lanes, s.output_beats, s.drain_cycles) == (16, 192, 12, 16, 3)
    # 16 to fill, 1 through the tables, 16 steps, 3 stages, product and output register
    assert s.latency_cycles == 38
    assert s.cycles(10) - s.cycles(9) == s.interval_cycles == 16


def test_adders_are_registered_behind_the_first_level_and_then_every_third():
    levels = {n: registered_levels(n) for n in range(9)}
    assert levels[0] == (0,)  # tables alone
    assert [levels[n] for n in (1, 2, 4, 5, 7)] == [(1,), (1, 2), (1, 4), (1, 4, 5), (1, 4, 7)]
    for n, registered in levels.items():
        assert registered[-1] == n
        assert max(np.diff(registered), default=0) <= 3


def test_trees_of_one_group_after_the_other_select_their_bits_first():
    shape = {"width": 12, "luts": (24,), "inputs": (6,), "groups": 2}
    assert make(1, "tree", **shape).drain_cycles == 1 + 2  # the bits; 6 tables of 2 bits, 3 levels
    assert make("all", "tree", **shape).drain_cycles == 1  # 2 tables of 6 bits, 1 level, all groups at once


def test_graphs_are_registered_behind_the_first_level_and_then_every_second():
    assert [graph_levels(n) for n in (0, 1, 2, 3, 4, 5)] == [(0,), (1,), (1, 2), (1, 3), (1, 3, 4), (1, 3, 5)]


def test_trees_and_graphs_of_a_block_take_as_long_as_the_longest():
    shape = {"width": 12, "luts": (96,), "inputs": (6,), "encoded_values": "ternary"}
    graph, tree = make("all", "graph", **shape), make("all", "tree", **shape)
    assert (graph.steps, graph.output_lanes, graph.output_beats) == (tree.steps, tree.output_lanes, tree.output_beats)
    assert graph.drain_cycles > tree.drain_cycles
    assert graph.latency_cycles - tree.latency_cycles == graph.drain_cycles - tree.drain_cycles


def test_lanes_without_a_last_output_keep_their_group():
    block = as_weightless(random_block(np.random.default_rng(0), width=5, luts=(6,), inputs=(3,), groups=2))
    assert lane_groups(block, 2, 3).tolist() == [[0, 1, 1], [0, 1, 1]]  # outputs 0, 1 and 2, 3, 4


def test_other_dataflows_are_refused():
    with pytest.raises(InputError, match="dataflow must be accumulate, tree, graph or auto"):
        make(1, "systolic")


@pytest.mark.parametrize("bad", [0, -1, 1.5, "some", True])
def test_impossible_fold_factors_are_refused(bad):
    with pytest.raises(InputError, match="fold factor"):
        make(bad)
