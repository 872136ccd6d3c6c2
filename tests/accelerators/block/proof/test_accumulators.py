"""The proof of synthesised accumulators: holds for the trained values, fails for every change."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof import accumulators as accumulator_proof
from lutra.accelerators.block.proof.accumulators import prove_accumulators
from lutra.errors import InputError, MismatchError, ToolError
from lutra.frozen.random_block import random_block
from netlists import driver, flip_entry, synthesise

GRAPH = random_block(
    np.random.default_rng(3), width=6, thermometer_bits=3, luts=(16,), inputs=(6,), groups=2, output_bits=8, max_shift=3
)
GRAPH.ops[1].tables[[0, 10]] = 1  # bits that are always 1, or 0, and bits that no output adds
GRAPH.ops[1].tables[9] = 0
GRAPH.ops[2].encoded[[3, 10]] = 0
WHOLE = random_block(np.random.default_rng(4), width=3, luts=(6,), inputs=(4,), output_bits=8)


def plan_of(summation=None, requantise=None, fold_factor=2):
    """The block with some parts changed; two bits per step, four steps and three output beats for each group."""
    ops = [*GRAPH.ops[:-2], summation or GRAPH.ops[-2], requantise or GRAPH.ops[-1]]
    return BlockPlan(dataclasses.replace(GRAPH, ops=tuple(ops)), "block", fold_factor)


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    return synthesise(plan_of(), tmp_path_factory.mktemp("grouped") / "rtl")


@pytest.fixture(scope="module")
def synthesised_by_four(tmp_path_factory):
    return synthesise(plan_of(fold_factor=4), tmp_path_factory.mktemp("four") / "rtl")


@pytest.fixture
def netlist(synthesised):
    return copy.deepcopy(synthesised)


def word(netlist, name):
    return [net for net in netlist["netnames"][name]["bits"] if isinstance(net, int)]


def test_accumulators_of_groups_are_proved(netlist):
    plan = plan_of()
    proof = prove_accumulators(plan, netlist)
    assert proof.outputs == 6
    assert proof.table_entries <= 6 * plan.schedule.steps * 4  # values of two bits
    assert proof.registers > 6 * plan.sum_bits
    assert proof.requantised_sums >= 2**plan.sum_bits


@pytest.fixture(params=[accumulator_proof.FEW_CASES, 0], ids=["all cases", "enables apart"])
def few_cases(request, monkeypatch):
    """Looked up numbers are proved with what enables them, as with few bits per step, or apart from it."""
    monkeypatch.setattr(accumulator_proof, "FEW_CASES", request.param)


@pytest.mark.slow
def test_an_addend_of_two_stages_is_proved(synthesised_by_four, few_cases):
    plan = plan_of(fold_factor=4)
    proof = prove_accumulators(plan, synthesised_by_four)
    assert (proof.outputs, plan.schedule.bits_per_step) == (6, 4)
    assert proof.table_entries == 6 * plan.schedule.steps * 2 * 4  # two pairs of bits


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["first", "last"])
def test_a_lost_bit_of_each_stage_of_an_addend_is_found(synthesised_by_four, few_cases, stage):
    netlist = copy.deepcopy(synthesised_by_four)
    name = {"first": "u_addend.gen_level[1].gen_register.numbers_q", "last": "addend"}[stage]
    net = word(netlist, f"u_summation.u_sum_3.{name}")[1]
    driver(netlist, net)["connections"]["D"] = ["0"]
    with pytest.raises(MismatchError, match=r"bit \d of what output 3 adds"):
        prove_accumulators(plan_of(fold_factor=4), netlist)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["first", "last"])
def test_a_stage_of_an_addend_that_takes_at_other_times_is_found(synthesised_by_four, few_cases, stage):
    netlist = copy.deepcopy(synthesised_by_four)
    name = {"first": "u_addend.gen_level[1].gen_register.numbers_q", "last": "addend"}[stage]
    net = word(netlist, f"u_summation.u_sum_3.{name}")[0]
    driver(netlist, net)["connections"]["CE"] = ["1"]
    with pytest.raises(MismatchError, match="output 3 adds"):
        prove_accumulators(plan_of(fold_factor=4), netlist)


@pytest.mark.slow
def test_one_bit_per_step_is_proved(tmp_path):
    """A bit of 0 may clear the register of what is looked up."""
    plan = plan_of(fold_factor=1)
    assert prove_accumulators(plan, synthesise(plan, tmp_path / "rtl")).outputs == 6


@pytest.mark.slow
def test_a_row_in_one_step_is_proved(tmp_path):
    plan = BlockPlan(WHOLE, "block", "all")
    assert prove_accumulators(plan, synthesise(plan, tmp_path / "rtl")).outputs == 3


@pytest.mark.parametrize("output", range(6))
@pytest.mark.parametrize("change", [1, -1, 64])
def test_another_encoded_value_is_found(netlist, output, change):
    summation = GRAPH.ops[-2]
    encoded = summation.encoded.copy()
    row = max(r for r in plan_of().registered if encoded[r, output])
    encoded[row, output] += change if -128 <= encoded[row, output] + change <= 127 else -change
    with pytest.raises(MismatchError, match=f"output {output} "):
        prove_accumulators(plan_of(summation=dataclasses.replace(summation, encoded=encoded)), netlist)


@pytest.mark.parametrize("entry", [0, 1, 3])
def test_a_changed_entry_of_the_rom_is_found(netlist, entry):
    cells = [
        name for name in netlist["cells"] if "u_sum_4.gen_values" in name and "LUT" in netlist["cells"][name]["type"]
    ]
    flip_entry(netlist["cells"][cells[0]], entry)
    with pytest.raises(MismatchError, match=r"bit \d of what output 4 adds in step \d is wrong"):
        prove_accumulators(plan_of(), netlist)


def test_a_dropped_carry_is_found(netlist):
    chains = [c for c in netlist["cells"].values() if c["type"] == "CARRY4" and c["connections"]["CI"] != ["0"]]
    sums = {net for lane in range(2) for net in word(netlist, f"u_summation.gen_chosen[{lane}].u_chosen.words_i")}
    taken = {c["connections"]["D"][0] for c in netlist["cells"].values() if c["connections"].get("Q", [""])[0] in sums}
    chain = next(c for c in chains if set(c["connections"]["O"]) & taken)
    chain["connections"]["CI"] = ["0"]
    with pytest.raises(MismatchError, match=r"bit \d+ of the sum of output \d is not that of the sum and its addend"):
        prove_accumulators(plan_of(), netlist)


def test_another_bias_is_found(netlist):
    summation = GRAPH.ops[-2]
    bias = summation.bias.copy()
    bias[2] ^= 1
    with pytest.raises(MismatchError, match="bit 0 of the sum of output 2"):
        prove_accumulators(plan_of(summation=dataclasses.replace(summation, bias=bias)), netlist)


def test_another_multiplier_is_found(netlist):
    requantise = GRAPH.ops[-1]
    multiplier = requantise.multiplier.copy()
    multiplier[3] += 2
    with pytest.raises(MismatchError, match=r"the product of sum|the output"):
        prove_accumulators(plan_of(requantise=dataclasses.replace(requantise, multiplier=multiplier)), netlist)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("u_summation.bits_0_at", "bit . of group 0 in step . is another at tap 0"),
        ("u_summation.bits_1_at", "bit . of group 1 in step . is another at tap "),
        ("u_summation.first_at", "the mark of the first step is lost"),
        ("u_summation.last_at", "the mark of the last step is lost"),
        ("u_summation.step_q", "bit . of the step is not that of the step before"),
    ],
)
def test_registers_that_take_what_belongs_to_another_are_found(netlist, line, problem):
    first, second = (driver(netlist, net)["connections"] for net in word(netlist, line)[:2])
    first["D"], second["D"] = second["D"], first["D"]
    with pytest.raises(MismatchError, match=problem):
        prove_accumulators(plan_of(), netlist)


def test_another_choice_and_another_output_are_found(netlist):
    changed = copy.deepcopy(netlist)
    first, second = (driver(changed, net)["connections"] for net in word(changed, "beat_sums")[:2])
    first["D"], second["D"] = second["D"], first["D"]
    with pytest.raises(MismatchError, match="bit 0 of the sum that leaves lane 0 is not that of its output"):
        prove_accumulators(plan_of(), changed)
    for name in ("y_data_o", "u_output_register.spare_q"):
        changed = copy.deepcopy(netlist)
        first, second = (driver(changed, net)["connections"] for net in word(changed, name)[:2])
        first["D"], second["D"] = second["D"], first["D"]
        with pytest.raises(MismatchError, match="the output with bit 0"):
            prove_accumulators(plan_of(), changed)


def test_what_can_not_be_proved_is_an_error(netlist):
    with pytest.raises(InputError, match="dataflow tree has no accumulators"):
        prove_accumulators(BlockPlan(GRAPH, "block", 2, "tree"), netlist)
    with pytest.raises(ToolError, match="no signal"):
        prove_accumulators(plan_of(), {**netlist, "netnames": {}})
