"""The proof of a synthesised netlist: holds for the trained tables, and fails for every change of them."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from frozen_blocks import random_rows
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.tables import prove_tables
from lutra.errors import MismatchError, ToolError
from lutra.frozen import golden
from lutra.frozen.random_block import random_block
from netlists import driver, synthesise

GRAPH = random_block(
    np.random.default_rng(3), width=6, thermometer_bits=3, luts=(16, 10), inputs=(6, 7), sum_sources=(1, 2), max_shift=0
)


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    return synthesise(plan_of(), tmp_path_factory.mktemp("proof") / "rtl")


def plan_of(graph=GRAPH):
    return BlockPlan(graph, "block", 4)


def with_tables(layer, tables):
    ops = list(GRAPH.ops)
    ops[layer] = dataclasses.replace(ops[layer], tables=tables)
    return dataclasses.replace(GRAPH, ops=tuple(ops))


def test_the_synthesised_block_is_proved(netlist):
    proof = prove_tables(plan_of(), netlist)
    assert proof.outputs == len(plan_of().registered)
    assert proof.luts == len(plan_of().existing(1)) + len(plan_of().existing(2))
    assert proof.assignments >= 64 * proof.luts


@pytest.mark.slow
def test_a_block_of_trees_is_proved_too(tmp_path):
    plan = BlockPlan(GRAPH, "block", 4, "tree")
    netlist = synthesise(plan, tmp_path)
    assert prove_tables(plan, netlist).outputs == len(plan.registered)
    # Synthesis may make a register's enable part of what it takes: offers that are not made do not count.
    register = driver(netlist, netlist["netnames"]["layer_0"]["bits"][0])
    nets = register["connections"]
    taken = 1 + max(
        net
        for cell in netlist["cells"].values()
        for wire in cell["connections"].values()
        for net in wire
        if isinstance(net, int)
    )
    assert nets["CE"] != ["1"]
    netlist["cells"]["keeping"] = {
        "type": "LUT3",
        "parameters": {"INIT": "10101100"},  # I0 where I2 is 1, else I1
        "port_directions": {"I0": "input", "I1": "input", "I2": "input", "O": "output"},
        "connections": {"I0": nets["D"], "I1": nets["Q"], "I2": nets["CE"], "O": [taken]},
    }
    nets["D"], nets["CE"] = [taken], ["1"]
    assert prove_tables(plan, netlist).outputs == len(plan.registered)
    netlist["cells"]["keeping"]["parameters"]["INIT"] = "11001010"
    with pytest.raises(MismatchError, match="bit 0 of layer 0"):
        prove_tables(plan, netlist)


@pytest.mark.parametrize("layer", [1, 2])
def test_a_single_wrong_table_entry_is_found(netlist, layer):
    op = GRAPH.ops[layer]
    bits = golden.trace(GRAPH, random_rows(np.random.default_rng(0), GRAPH, 1))[op.inputs[0]][0]
    lut = plan_of().existing(layer)[-1]
    address = int(bits[op.connections[lut]] @ (1 << np.arange(op.connections.shape[1])))
    tables = op.tables.copy()
    tables[lut, address] ^= 1
    with pytest.raises(MismatchError, match=r"block: bit \d+ of layer \d is [01] in the netlist, trained is [01], for"):
        prove_tables(plan_of(with_tables(layer, tables)), netlist)


def test_another_threshold_is_found(netlist):
    thermometer = GRAPH.ops[0]
    thresholds = thermometer.thresholds.copy()
    feature = plan_of().existing(0)[0] // 3
    thresholds[feature] = np.clip(thresholds[feature] + 1, -128, 128)
    graph = dataclasses.replace(GRAPH, ops=(dataclasses.replace(thermometer, thresholds=thresholds), *GRAPH.ops[1:]))
    with pytest.raises(MismatchError):
        prove_tables(plan_of(graph), netlist)


def test_a_changed_netlist_is_found(netlist):
    bits = netlist["netnames"]["bits_q"]["bits"]
    registers = {cell["connections"]["Q"][0]: cell for cell in netlist["cells"].values() if "Q" in cell["connections"]}
    swapped = copy.deepcopy(netlist)
    first, second = (
        next(c for c in swapped["cells"].values() if c["connections"].get("Q") == [bit]) for bit in (bits[0], bits[1])
    )
    assert registers[bits[0]]["connections"]["D"] != registers[bits[1]]["connections"]["D"]
    for cell, source in ((first, bits[1]), (second, bits[0])):
        cell["connections"]["D"] = registers[source]["connections"]["D"]
    with pytest.raises(MismatchError):
        prove_tables(plan_of(), swapped)
    driver = next(
        name
        for name, cell in netlist["cells"].items()
        if cell["type"].startswith("LUT") and cell["connections"]["O"] == registers[bits[0]]["connections"]["D"]
    )
    inverted = copy.deepcopy(netlist)
    init = inverted["cells"][driver]["parameters"]["INIT"]
    inverted["cells"][driver]["parameters"]["INIT"] = init.translate(str.maketrans("01", "10"))
    with pytest.raises(MismatchError, match="bit 0 of layer 1"):
        prove_tables(plan_of(), inverted)


def test_what_the_proof_does_not_know_is_an_error(netlist):
    unknown = copy.deepcopy(netlist)
    for cell in unknown["cells"].values():
        if cell["type"] == "LUT6":
            cell["type"] = "MYSTERY"
    with pytest.raises(ToolError, match="a cell MYSTERY"):
        prove_tables(plan_of(), unknown)
    without_names = {**netlist, "netnames": {}}
    with pytest.raises(ToolError, match="no signal"):
        prove_tables(plan_of(), without_names)
