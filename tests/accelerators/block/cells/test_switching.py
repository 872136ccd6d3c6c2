"""Switching measured on a mapped netlist: against toggles counted by hand, and against those of the golden model."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frozen_blocks import random_rows
from lutra.accelerators.block.cells.switching import measure_switching
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import InputError, MismatchError, ToolError
from lutra.frozen import golden
from lutra.frozen.random_block import random_block
from lutra.synth.netlist.gates import GateNetlist, ToggleCounter
from lutra.synth.netlist.liberty import clock_gate_name, parse_function, read_cells
from lutra.synth.netlist.switching import annotation
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import fpga_yosys, native_yosys
from lutra.synth.tools.yosys import copy_sources, read_liberty, sources_of

CELLS = """
library (small) {
  cell (NAND2) { area : 1; pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A & B)"; timing () { related_pin : "A"; values ("1, 2", "3, 4"); } } }
  cell ("FLOP") { ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (D) { direction : input; } pin (CK) { clock : true; direction : input; }
    pin (Q) { direction : output; function : "IQ"; } pin (QN) { direction : output; function : "IQN"; } }
  cell (RESET_FLOP) { ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; clear : "!R"; } pin (Q) { function : "IQ"; } }
  cell (BIG_GATE) { area : 3; clock_gating_integrated_cell : latch_posedge; }
  cell (GATE) { area : 2; clock_gating_integrated_cell : "latch_posedge";
    pin (CK) { clock_gate_clock_pin : true; } pin (E) { clock_gate_enable_pin : true; }
    pin (GCK) { clock_gate_out_pin : true; } }
}
"""


def cell(kind: str, **pins: int | str) -> dict:
    return {"type": kind, "connections": {pin: [net] for pin, net in pins.items()}}


def ports(outputs: dict[str, int], **inputs: int) -> dict:
    return {name: {"direction": "input", "bits": [net]} for name, net in inputs.items()} | {
        name: {"direction": "output", "bits": [net]} for name, net in outputs.items()
    }


@pytest.mark.parametrize(
    ("formula", "meaning"),
    [
        ("!((A & B) | C)", lambda a, b, c: 1 - (a & b | c)),
        ("A*B + C", lambda a, b, c: a & b | c),
        ("A B' C", lambda a, b, c: a & (1 - b) & c),
        ("A & B ^ C", lambda a, b, c: a & (b ^ c)),  # unlike in C and Python, ^ binds more than &
        ("(A ^ B)' | 0", lambda a, b, c: 1 - (a ^ b)),
        ("(A & 1) | !B & !C", lambda a, b, c: a | (1 - b) & (1 - c)),
    ],
)
def test_functions_of_cells(formula, meaning):
    function, names = parse_function(formula, "cell T")
    columns = [np.array([bit >> i & 1 for bit in range(8)], np.uint64) * np.uint64(2**64 - 1) for i in range(3)]
    computed = function(dict(zip("ABC", columns, strict=True))) & np.uint64(1)
    assert set(names) <= set("ABC")
    assert computed.tolist() == [meaning(*(bit >> i & 1 for i in range(3))) for bit in range(8)]


@pytest.mark.parametrize("formula", ["A &", "(A", "A)", "A ? B", ""])
def test_functions_that_are_none(formula):
    with pytest.raises(InputError, match="cell T"):
        parse_function(formula, "cell T")


def test_cells_of_a_library():
    cells = read_cells(CELLS, ["NAND2", "FLOP", "GATE"])
    assert cells["FLOP"].flip_flop.clock_pin == "CK"
    assert cells["GATE"].clock_gate.enable_pins == ("E",)
    assert clock_gate_name(CELLS) == "GATE"
    assert clock_gate_name(CELLS.replace("latch_posedge", "latch_negedge")) is None
    with pytest.raises(InputError, match="no cell OTHER"):
        read_cells(CELLS, ["NAND2", "OTHER"])
    with pytest.raises(InputError, match="RESET_FLOP: only flip-flops on the rising edge without asynchronous reset"):
        read_cells(CELLS, ["RESET_FLOP"])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=12))
def test_toggles_counted_by_hand(steps):
    """q takes nand(d, q) in the cycles in which the enable was 1; an inverse output follows."""
    module = {
        "ports": ports({"q": 5}, clk=2, d=3, e=4),
        "cells": {
            "u1": cell("NAND2", A=3, B=5, Y=6),
            "u2": cell("FLOP", D=6, CK=7, Q=5, QN=8),
            "u3": cell("GATE", CK=2, E=4, GCK=7),
        },
    }
    netlist = GateNetlist(module, read_cells(CELLS, ["NAND2", "FLOP", "GATE"]), "t")
    values = netlist.start(1, np.random.default_rng(0))
    starts = [int(word) for word in np.unpackbits(values[netlist.place(5)].view(np.uint8), bitorder="little")]
    counter = ToggleCounter(netlist.size)
    for d, e in steps:
        values[netlist.port("d")] = np.uint64(2**64 - 1 if d else 0)
        values[netlist.port("e")] = np.uint64(2**64 - 1 if e else 0)
        netlist.settle(values)
        counter.see(values)
        netlist.clock(values)
    toggles = {3: 0, 5: 0, 6: 0, 8: 0}
    for q in starts:
        trace = []
        for d, e in steps:
            nand = 1 - (d & q)
            trace.append({3: int(d), 5: q, 6: nand, 8: 1 - q})
            q = nand if e else q
        for net in toggles:
            toggles[net] += sum(a[net] != b[net] for a, b in pairwise(trace))
    assert {net: int(counter.toggles[netlist.place(net)]) for net in toggles} == toggles
    assert counter.cycles == len(steps) - 1


def test_a_combinational_loop_is_refused():
    loop = {"ports": ports({}, a=2), "cells": {"u1": cell("NAND2", A=2, B=3, Y=3)}}
    with pytest.raises(ToolError, match="combinational loop"):
        GateNetlist(loop, read_cells(CELLS, ["NAND2"]), "t")


@pytest.fixture(scope="module", params=[False, True], ids=["plain clock", "gated clocks"])
def mapped(request, tmp_path_factory, liberty):
    """A block in standard cells, and its netlist."""
    if fpga_yosys() is None or native_yosys() is None:
        pytest.skip("a native Yosys and a Yosys from 0.40 are not both installed")
    graph = random_block(np.random.default_rng(5), width=4, thermometer_bits=2, luts=(6, 5), inputs=(4, 4))
    plan = BlockPlan(graph, "block_0", 1)
    folder = tmp_path_factory.mktemp("asic")
    block_design([plan]).write(folder / "rtl")
    copy_sources(folder / "rtl", folder)
    sources = sources_of(folder / "rtl")
    tool = Asic(fpga_yosys(), native_yosys(), None, liberty, 1e9, gate_clocks=request.param)
    _, module = tool.map(folder, sources, plan.name)
    kinds = {each["type"] for each in module["cells"].values()}
    cells = read_cells(read_liberty(liberty).decode(), kinds)
    assert any(each.clock_gate for each in cells.values()) == request.param
    return plan, GateNetlist(module, cells, plan.name), module


def test_registers_toggle_as_the_golden_model_says(mapped):
    plan, netlist, module = mapped
    rows = random_rows(np.random.default_rng(6), plan.graph, 64)
    switching = measure_switching(netlist, plan, rows, lanes=64)
    trace = golden.trace(plan.graph, rows)
    names = module["netnames"]
    nets = names["bits_q" if "bits_q" in names else "u_summation.bits_i"]["bits"]
    for net, r in zip(nets, plan.registered, strict=True):
        layer, place = plan.summed[r]
        bits = trace[plan.layers[layer].output][:, place]
        per_token = (bits != np.roll(bits, -1)).mean()  # every stream starts at another row, so every pair occurs once
        counted = switching.toggles_per_cycle[netlist.place(net)]
        assert counted * plan.schedule.interval_cycles == pytest.approx(per_token), (layer, place)
    lines = list(annotation(netlist, switching))
    pins = sum(len(pins) for _, pins in netlist.instances.values())
    assert sum(line.startswith("switching {") for line in lines) == pins
    for clock in netlist.gated_clocks:
        assert 0 < switching.toggles_per_cycle[clock] / 2 <= 1, "pulses per cycle"
    for gate in netlist.clock_gate_pins():
        assert next(line.split()[2] for line in lines if line.startswith(f"switching {{{gate}}}")) == "2"


def test_gates_that_compute_something_else_are_found(mapped):
    plan, netlist, _ = mapped
    rows = random_rows(np.random.default_rng(6), plan.graph, 64)
    bias = plan.block.summation.bias.copy()
    ops = tuple(
        type(op)(**{**vars(op), "bias": bias + 512}) if op is plan.block.summation else op for op in plan.graph.ops
    )
    other = BlockPlan(replace(plan.graph, ops=ops), plan.name, 1)
    with pytest.raises(MismatchError, match="the mapped gates differ from the golden model"):
        measure_switching(netlist, other, rows, lanes=64)
