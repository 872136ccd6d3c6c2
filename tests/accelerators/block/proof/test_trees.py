"""The proof that synthesised trees compute the plain sum: holds for the trained values, fails for every change."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frozen_blocks import mixed_block
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.trees import prove_summation
from lutra.accelerators.block.tree import TreePlan
from lutra.errors import InputError, MismatchError, ToolError
from lutra.frozen.random_block import random_block
from lutra.synth.netlist.diagrams import FALSE, Diagrams
from netlists import driver, flip_entry, synthesise

GROUPED = random_block(
    np.random.default_rng(3), width=12, thermometer_bits=3, luts=(36,), inputs=(6,), groups=3, max_shift=0
)
WHOLE = random_block(
    np.random.default_rng(4),
    width=4,
    thermometer_bits=3,
    luts=(62,),
    inputs=(4,),
    max_shift=0,
    encoded_values="power-of-two-5",
)


MIXED = mixed_block(48)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    return synthesise(BlockPlan(GROUPED, "block", 3, "tree"), tmp_path_factory.mktemp("grouped") / "rtl")


def with_encoded(row, output, change):
    """The grouped block with one other encoded value."""
    summation = GROUPED.ops[-2]
    encoded = summation.encoded.copy()
    encoded[row, output] += change
    ops = [*GROUPED.ops[:-2], dataclasses.replace(summation, encoded=encoded), GROUPED.ops[-1]]
    return BlockPlan(dataclasses.replace(GROUPED, ops=tuple(ops)), "block", 3, "tree")


def test_the_sums_of_groups_in_turn_are_proved(grouped):
    plan = BlockPlan(GROUPED, "block", 3, "tree")
    proof = prove_summation(plan, grouped)
    assert proof.outputs == 12
    assert proof.tables == 9  # per lane 12 bits, 4 in a table
    assert proof.table_entries == 9 * 4 * 16  # steps times values of four bits
    assert (proof.adders, proof.registers) == (6, 9)  # one adder and a table alone, then their sum


@pytest.mark.slow
def test_trees_of_several_stages_are_proved(tmp_path):
    plan = BlockPlan(WHOLE, "block", "all", "tree")
    proof = prove_summation(plan, synthesise(plan, tmp_path / "rtl"))
    assert proof.outputs == 4
    assert proof.registers > 4  # those between the stages beside the complete sums


@pytest.mark.slow
def test_trees_that_wait_for_graphs_are_proved(tmp_path):
    plan = BlockPlan(WHOLE, "block", "all", "tree")
    waiting = 3  # registers in a row that synthesis would make a shift register of
    before = plan.schedule.drain_cycles
    plan.schedule = dataclasses.replace(plan.schedule, drain_cycles=before + waiting)
    netlist = synthesise(plan, tmp_path / "rtl")
    proof = prove_summation(plan, netlist)
    assert proof.registers == sum(len(taken) for lane in range(4) for taken in TreePlan(plan).lane(lane).registers)
    registers = [driver(netlist, net) for net in netlist["netnames"]["u_summation.u_lane_0.stage_7_0_q"]["bits"][:2]]
    registers[0]["connections"]["D"] = registers[1]["connections"]["D"]
    with pytest.raises(MismatchError, match="bit 0 of the register of stage_6_0_q of lane 0"):
        prove_summation(plan, netlist)


@pytest.mark.parametrize("entry", [0, 37, 63])
def test_a_single_wrong_table_entry_is_found(grouped, entry):
    changed = copy.deepcopy(grouped)
    word = changed["netnames"]["u_summation.u_lane_1.leaf_2"]["bits"]
    cell = next(cell for cell in (driver(changed, net) for net in word if net != "0") if cell["type"] == "LUT6")
    flip_entry(cell, entry)
    with pytest.raises(MismatchError, match=r"block: bit \d of leaf_2 of lane 1 is [01] in step \d for bits [01]+, "):
        prove_summation(BlockPlan(GROUPED, "block", 3, "tree"), changed)


@pytest.mark.parametrize("change", [1, -1, 100])
def test_another_encoded_value_is_found(grouped, change):
    rows, outputs = np.nonzero(GROUPED.ops[-2].encoded)
    row = next(r for r in range(len(rows)) if rows[r] in BlockPlan(GROUPED, "block", 3, "tree").registered)
    with pytest.raises(MismatchError):
        prove_summation(with_encoded(rows[row], outputs[row], change), grouped)


def test_a_wrong_adder_is_found(grouped):
    sums = grouped["netnames"]["beat_sums"]["bits"]
    for place in (0, 5):
        changed = copy.deepcopy(grouped)
        register = driver(changed, sums[place])
        logic = driver(changed, register["connections"]["D"][0])
        cell = driver(changed, logic["connections"]["S"][place % 4]) if logic["type"] == "CARRY4" else logic
        flip_entry(cell, 1)
        with pytest.raises(MismatchError, match=r"bit \d+ of the register of sum_2_0 of lane 0 is not that of the sum"):
            prove_summation(BlockPlan(GROUPED, "block", 3, "tree"), changed)


def test_swapped_bits_are_found(grouped):
    changed = copy.deepcopy(grouped)
    bits = [net for net in changed["netnames"]["u_summation.bits_0_q"]["bits"] if isinstance(net, int)]
    first, second = (driver(changed, net)["connections"] for net in bits[:2])
    first["D"], second["D"] = second["D"], first["D"]
    with pytest.raises(MismatchError, match="lane 0 gets another bit than 0 in step 0"):
        prove_summation(BlockPlan(GROUPED, "block", 3, "tree"), changed)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return synthesise(BlockPlan(MIXED, "block", "all", "auto"), tmp_path_factory.mktemp("mixed") / "rtl")


@pytest.mark.slow
def test_graphs_beside_trees_are_proved(mixed):
    plan = BlockPlan(MIXED, "block", "all", "auto")
    tree = TreePlan(plan)
    assert [each.dataflow for each in plan.schedule.sums] == ["graph", "tree"]
    proof = prove_summation(plan, mixed)
    assert proof.outputs == 12
    words = [len(graph.registers(stage)) for graph in tree.graphs.values() for stage in range(1, graph.stages + 1)]
    assert proof.graph_words == sum(words) > 0 and proof.tables > 0


@pytest.mark.slow
def test_what_is_wrong_in_a_graph_is_found(mixed):
    plan, changed = BlockPlan(MIXED, "block", "all", "auto"), copy.deepcopy(mixed)
    register = driver(changed, changed["netnames"]["beat_sums"]["bits"][0])
    flip_entry(driver(changed, register["connections"]["D"][0]), 1)
    with pytest.raises(MismatchError, match=r"bit 0 of u_summation.u_graph_0.output_0_\d_q is not that of the adder"):
        prove_summation(plan, changed)
    changed = copy.deepcopy(mixed)
    bits = [net for net in changed["netnames"]["bits_q"]["bits"] if isinstance(net, int)]
    changed["netnames"]["bits_q"]["bits"][:2] = bits[1::-1]
    with pytest.raises(MismatchError, match="is not that of the adder graph"):
        prove_summation(plan, changed)
    summation = MIXED.ops[-2]
    encoded = summation.encoded.copy()
    encoded[plan.registered[0], 0] ^= 1
    other = dataclasses.replace(
        MIXED, ops=(*MIXED.ops[:-2], dataclasses.replace(summation, encoded=encoded), MIXED.ops[-1])
    )
    with pytest.raises((MismatchError, ToolError)):  # its graph may have other words
        prove_summation(BlockPlan(other, "block", "all", "auto"), mixed)


def test_what_can_not_be_proved_is_an_error(grouped):
    with pytest.raises(InputError, match="only a tree's"):
        prove_summation(BlockPlan(GROUPED, "block", 3), grouped)
    with pytest.raises(ToolError, match=r"no signal"):
        prove_summation(BlockPlan(GROUPED, "block", 3, "tree"), {**grouped, "netnames": {}})


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 7), st.integers(0, 1023))
def test_diagrams_add(left_bits, right_bits, bits, assignment):
    diagrams = Diagrams()
    variables = [diagrams.variable(i) for i in range(left_bits + right_bits)]
    words = variables[:left_bits], variables[left_bits:]
    total = diagrams.add(*words, bits)
    assert total == diagrams.add(*reversed(words), bits)  # equal functions are the same number
    given_bits = {i: bool(assignment >> i & 1) for i in range(len(variables))}
    numbers = [
        sum(given_bits[i] << place for place, i in enumerate(places)) - (given_bits[places[-1]] << len(places))
        for places in (range(left_bits), range(left_bits, left_bits + right_bits))
    ]
    for place, function in enumerate(total):
        for variable, value in given_bits.items():
            literal = diagrams.variable(variable) if value else diagrams.negate(diagrams.variable(variable))
            function = diagrams.choose(literal, function, FALSE)
        assert (function != FALSE) == bool(sum(numbers) >> place & 1)
