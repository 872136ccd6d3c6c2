"""Sizes of gates: the logic stays as it is, and paths that are too long get larger gates."""

from __future__ import annotations

from collections import Counter
from itertools import count

import numpy as np
import pytest

from lutra.errors import ToolError
from lutra.synth.netlist.gates import GateNetlist
from lutra.synth.netlist.liberty import gate_names, read_cells
from lutra.synth.netlist.sizing import size_gates
from lutra.synth.tools.find import Tool, abc_of, native_yosys
from small_cells import small_library

LIBRARY = small_library()
GATES = gate_names(LIBRARY)
CLOCK, DATA = 2, 3


@pytest.fixture
def abc():
    yosys = native_yosys()
    if yosys is None:
        pytest.skip("a native Yosys is not installed")
    return abc_of(yosys)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cells.lib").write_text(LIBRARY)
    return tmp_path


def cell(kind: str, inputs: dict[str, list], outputs: dict[str, list]) -> dict:
    directions = dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")
    return {"type": kind, "parameters": {}, "attributes": {}, "port_directions": directions} | {
        "connections": inputs | outputs
    }


def chain(length: int, readers: int) -> dict:
    """Flip-flops around `length` gates in a row, each of which drives `readers` instances of two bits; a constant."""
    nets = count(DATA + 1)
    before = next(nets)
    cells = {"first": cell("DFF_X1", {"CK": [CLOCK], "D": [DATA]}, {"Q": [before]})}
    for place in range(length):
        net = next(nets)
        other: int | str = "1" if place % 2 else DATA
        cells[f"gate{place}"] = cell("NAND2_X1", {"A": [before], "B": [other]}, {"Y": [net]})
        for number in range(readers):
            cells[f"reader{place}_{number}"] = cell("instance", {"x_i": [DATA, net]}, {})
        before = net
    cells["unread"] = cell("INV_X1", {"A": [before]}, {"Y": [next(nets)]})
    last = next(nets)
    cells["last"] = cell("DFF_X1", {"CK": [CLOCK], "D": [before]}, {"Q": [last]})
    ports = {"clk_i": ("input", CLOCK), "x_i": ("input", DATA), "y_o": ("output", last)}
    return {
        "ports": {name: {"direction": direction, "bits": [net]} for name, (direction, net) in ports.items()},
        "cells": cells,
        "netnames": {f"net{net}": {"bits": [net], "attributes": {}} for net in range(CLOCK, last + 1)},
    }


def outputs(module: dict) -> np.ndarray:
    """What a module shows over some cycles, for 64 random inputs."""
    own = {**module, "cells": {name: each for name, each in module["cells"].items() if each["type"] != "instance"}}
    netlist = GateNetlist(own, read_cells(LIBRARY, {each["type"] for each in own["cells"].values()}), "module")
    values, rng, shown = netlist.start(1, np.random.default_rng(1)), np.random.default_rng(2), []
    for _ in range(6):
        values[netlist.port("x_i")] = rng.integers(0, 2**64, (1, 1), dtype=np.uint64)
        netlist.settle(values)
        shown.append(values[netlist.port("y_o")].copy())
        netlist.clock(values)
    return np.stack(shown[2:])


def sizes(module: dict) -> Counter:
    return Counter(each["type"].split("_")[1] for each in module["cells"].values() if each["type"] in GATES)


@pytest.mark.parametrize("readers", [0, 4])
def test_the_logic_stays_as_it_is(abc, folder, readers):
    module = chain(30, readers)
    expected, before = outputs(module), chain(30, readers)["cells"]
    size_gates(abc, folder, module, GATES, "BUF_X1", 1e9)
    assert (outputs(module) == expected).all()
    kept = {name: each for name, each in module["cells"].items() if each["type"] not in GATES}
    assert kept == {name: each for name, each in before.items() if each["type"] not in GATES}
    assert sum(sizes(module).values()) == 30  # one that nothing reads is gone
    driven = {net for each in module["cells"].values() for net in each["connections"].get("Y", [])}
    assert all(each["connections"]["x_i"][1] in driven for each in kept.values() if each["type"] == "instance")


def test_gates_grow_where_a_path_is_too_long(abc, folder):
    slow, fast = chain(60, 4), chain(60, 4)
    size_gates(abc, folder, slow, GATES, "BUF_X1", 1e7)
    size_gates(abc, folder, fast, GATES, "BUF_X1", 1e9)
    assert sizes(slow) == {"X1": 60}
    assert sizes(fast)["X2"] + sizes(fast)["X4"] > 30


def test_gates_that_drive_many_pins_elsewhere_keep_their_size(abc, folder):
    module, before = chain(60, 5), chain(60, 5)["cells"]
    size_gates(abc, folder, module, GATES, "BUF_X1", 1e9)
    kept = {name: each for name, each in before.items() if name != "unread"}
    assert kept == {name: module["cells"][name] for name in kept}


def test_a_module_without_gates_is_left_alone(folder):
    module = chain(0, 0)
    del module["cells"]["unread"]
    size_gates(Tool(("no-such-program",), "none"), folder, module, GATES, "BUF_X1", 1e9)
    assert module["cells"].keys() == {"first", "last"}


def test_what_abc_can_not_do_is_an_error(abc, folder):
    (folder / "cells.lib").write_text("library (empty) { }")
    with pytest.raises(ToolError, match=r"ABC.*abc\.log"):
        size_gates(abc, folder, chain(30, 0), GATES, "BUF_X1", 1e9)
    with pytest.raises(ToolError, match="yosys-abc beside it"):
        abc_of(Tool(("/nowhere/yosys",), "Yosys 1.0"))
