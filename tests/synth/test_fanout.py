"""Buffers behind flip-flops and inputs: every pin still follows its net, and nothing drives too many pins."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.synth.netlist.fanout import LARGEST_FANOUT, insert_buffers
from lutra.synth.netlist.liberty import Buffer, fanout_buffer, flip_flop_names

BUFFER = Buffer("BUF", "A", "Z")
CLOCK, INPUT = 2, 3


def module_of(readers: list[int]) -> dict:
    """Flip-flops in a row of which number i drives `readers[i]` gates; the input drives the first and all gates."""
    cells: dict = {}
    net = INPUT + 1
    before = INPUT
    for number, count in enumerate(readers):
        own, net = net, net + 1
        cells[f"ff{number}"] = cell("FF", {"D": before, "CK": CLOCK}, {"Q": own})
        for gate in range(count):
            cells[f"g{number}_{gate}"] = cell("NAND", {"A": own, "B": INPUT}, {"Y": net})
            net += 1
        before = own
    ports = {"clk_i": {"direction": "input", "bits": [CLOCK]}, "x_i": {"direction": "input", "bits": [INPUT]}}
    return {"ports": ports, "cells": cells, "netnames": {"all": {"bits": list(range(2, net)), "attributes": {}}}}


def cell(kind: str, inputs: dict[str, int], outputs: dict[str, int]) -> dict:
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {
        "type": kind,
        "port_directions": directions,
        "connections": {pin: [net] for pin, net in (inputs | outputs).items()},
    }


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=3), st.booleans())
def test_pins_follow_their_nets_through_few_pins_each(readers, one_pin_inputs):
    module, before = module_of(readers), module_of(readers)["cells"]
    inserted = insert_buffers(module, {"FF"}, "clk_i", BUFFER, one_pin_inputs)
    buffers = {name: each for name, each in module["cells"].items() if each["type"] == "BUF"}
    assert len(buffers) == inserted and (inserted > 0) == (sum(readers) + 1 > (1 if one_pin_inputs else LARGEST_FANOUT))
    source = {each["connections"]["Z"][0]: each["connections"]["A"][0] for each in buffers.values()}
    assert len(source) == inserted  # every buffer has a net of its own
    loads: Counter[int] = Counter()
    for name, each in module["cells"].items():
        for pin, (net,) in each["connections"].items():
            if each["port_directions"][pin] == "input":
                loads[net] += 1
            if name in before:
                while net in source:
                    net = source[net]
                assert net == before[name]["connections"][pin][0]
    assert loads.pop(CLOCK) == len(readers)  # the clock is left alone
    assert max(loads.values()) <= LARGEST_FANOUT
    assert loads[INPUT] == 1 or not one_pin_inputs


LIBRARY = """
library (small) {
  cell (BUF_1) { area : 1; pin (A) { direction : input; } pin (Z) { function : "A"; } }
  cell (BUF_4) { area : 2.5; pin (A) { direction : input; } pin (Z) { direction : output; function : "(A)"; } }
  cell (BUF_8) { area : 4; pin (A) { direction : input; } pin (Z) { function : "A"; } }
  cell (INV) { area : 0.5; pin (A) { direction : input; } pin (Z) { function : "!A"; } }
  cell (FLOP) { area : 2; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; } pin (D) { }
    pin (Q) { function : "IQ"; } }
}
"""


def test_the_buffer_of_a_library_is_neither_its_smallest_nor_its_largest():
    assert fanout_buffer(LIBRARY) == Buffer("BUF_4", "A", "Z")
    assert flip_flop_names(LIBRARY) == {"FLOP"}
    with pytest.raises(InputError, match="no buffer"):
        fanout_buffer(LIBRARY.replace('"A"', '"!A"').replace('"(A)"', '"!A"'))
