"""A block in standard cells put together from its parts, against mapping it whole."""

from __future__ import annotations

import numpy as np
import pytest

from frozen_blocks import random_rows
from lutra.accelerators.block.cells.lane_models import LaneNetlist
from lutra.accelerators.block.cells.measure import measure_block
from lutra.accelerators.block.cells.parts import build_parts, split
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import MismatchError
from lutra.frozen.random_block import random_block
from lutra.synth.netlist.gates import CUT, EVERY_LANE, GateNetlist, cut_out
from lutra.synth.netlist.liberty import read_cells
from lutra.synth.tools.yosys import copy_sources, sources_of

GRAPH = random_block(
    np.random.default_rng(0), width=6, thermometer_bits=2, luts=(12,), inputs=(4,), output_bits=16, max_shift=0
)
NAND = """library (small) { cell (NAND2) { area : 1; pin (A) { direction : input; } pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A & B)"; } } }"""


@pytest.mark.parametrize(("dataflow", "lanes"), [("accumulate", 6), ("tree", 3)])
def test_a_block_is_cut_at_its_lanes(dataflow, lanes):
    plan = BlockPlan(GRAPH, "block", 2 if dataflow == "accumulate" else 3, dataflow)
    parts = split(plan)
    assert list(parts.lanes) == [f"block_lane_{lane}" for lane in range(lanes)]
    instances = "".join(parts.rest.values())
    for name, text in parts.lanes.items():
        assert instances.count(f"{name} u_") == 1
        assert text.count(f"module {name} ") == 1
    generated = {name for name in block_design([plan]).files if name.startswith("block")}
    assert generated == parts.rest.keys() | ({f"{name}.sv" for name in parts.lanes} if dataflow == "tree" else set()), (
        "the rest is the other generated modules"
    )


@pytest.mark.slow  # gates are joined across the border of lanes in the whole, and chosen for other loads.
@pytest.mark.parametrize(
    ("dataflow", "samples", "gated"),
    [("accumulate", 3, False), ("tree", 2, True)],
)
def test_parts_are_the_whole(tmp_path, standard_cells, dataflow, samples, gated):
    plan, tool = BlockPlan(GRAPH, "block", 2, dataflow), standard_cells(gated)
    rows = random_rows(np.random.default_rng(6), GRAPH, 64)
    parts = build_parts(tool, tmp_path / "parts", plan, rows, samples)
    assert [each["instances"] for each in parts["parts"]] == [1] + [len(split(plan).lanes) // samples] * samples
    block_design([plan]).write(tmp_path / "rtl")
    copy_sources(tmp_path / "rtl", tmp_path / "whole")
    whole = measure_block(tool, tmp_path / "whole", sources_of(tmp_path / "rtl"), plan, rows)
    assert parts.keys() == whole.keys() | {"parts"}
    # The whole shares clock gates between parts.
    assert parts["area_mm2"] == pytest.approx(whole["area_mm2"], rel=0.07 if gated else 0.05)
    assert parts["slack_ns"] == pytest.approx(whole["slack_ns"], abs=0.1)
    # What assumes activities takes gated clocks for always pulsing.
    uniform = pytest.approx(whole["power_uniform"]["total_w"], rel=0.12 if gated else 0.05)
    assert parts["power_uniform"]["total_w"] == uniform
    for figure in ("total_w", "energy_per_token_j", "toggles_per_net_and_cycle"):
        ratio = pytest.approx(whole["power_measured"][figure], rel=0.1)
        assert parts["power_measured"][figure] == ratio, figure
    if gated:  # cells behind gated clocks count too, and clock gates besides
        plain = build_parts(standard_cells(False), tmp_path / "plain", plan, rows, samples)["power_measured"]
        assert parts["power_measured"]["switching_w"] > plain["switching_w"]
        assert parts["power_measured"]["internal_w"] < plain["internal_w"]


def test_a_lane_that_sums_something_else_is_found():
    """Around the lane, whose port sum_o drives q, there is nothing; its model says nand(a, b), then and(a, b)."""
    module = {
        "ports": {
            "clk_i": {"direction": "input", "bits": [2]},
            "a": {"direction": "input", "bits": [3]},
            "q": {"direction": "output", "bits": [4]},
        },
        "cells": {
            "u7": {
                "type": "lane",
                "port_directions": {"clk_i": "input", "bits_i": "input", "sum_o": "output"},
                "connections": {"clk_i": [2], "bits_i": [3, "1"], "sum_o": [4]},
            }
        },
    }
    lane = {
        "ports": {
            "clk_i": {"direction": "input", "bits": [2]},
            "bits_i": {"direction": "input", "bits": [3, 4]},
            "sum_o": {"direction": "output", "bits": [5]},
        },
        "cells": {"u1": {"type": "NAND2", "connections": {"A": [3], "B": [4], "Y": [5]}}},
    }
    cells = read_cells(NAND, ["NAND2"])
    opened, kinds = cut_out(module, ["lane"])
    around = GateNetlist(opened, cells, "around")
    assert kinds == {"u7": "lane"}
    assert around.inputs == {"clk_i", "a", f"u7{CUT}sum_o"}
    companion = LaneNetlist(GateNetlist(lane, cells, "block_lane_0"), around, "u7", words=1)
    values = around.start(1, np.random.default_rng(0))
    a = values[around.port("a")[0]].copy()
    values[around.port(f"u7{CUT}sum_o")] = ~a
    companion.settle(values, counts=True)
    values[around.port(f"u7{CUT}sum_o")] = a ^ (EVERY_LANE << np.uint64(1))  # right in the first simulation only
    with pytest.raises(MismatchError, match="block_lane_0"):
        companion.settle(values, counts=True)
