"""Place and route on ECP5: a small block with the real tools, and what a report must hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import ToolError
from lutra.frozen.random_block import random_block
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.nextpnr import nextpnr, parse_report, place_and_route
from lutra.synth.tools.yosys import copy_sources, sources_of


def test_a_small_block_is_placed_and_routed(tmp_path):
    yosys, pnr = fpga_yosys(), nextpnr()
    if yosys is None or pnr is None:
        pytest.skip("Yosys and nextpnr-ecp5 are not both installed")
    graph = random_block(np.random.default_rng(0), width=3, thermometer_bits=1, luts=(4, 3), inputs=(3, 3))
    block_design([BlockPlan(graph, "block_0", 1)]).write(tmp_path / "rtl")
    copy_sources(tmp_path / "rtl", tmp_path)
    use = place_and_route(yosys, pnr, tmp_path, sources_of(tmp_path / "rtl"), "block_0")
    assert 3 * 8 < use.ff < 1000
    assert 20 < use.lut4 < 2000
    assert use.lut4_available > 80_000
    assert (use.bram, use.dsp) == (0, 0)
    assert 30e6 < use.fmax_hz < 1e9


def report(**fmax: float) -> str:
    used = {"TRELLIS_COMB": 7, "TRELLIS_FF": 3, "DP16KD": 0, "MULT18X18D": 0}
    utilization = {name: {"used": count, "available": 100} for name, count in used.items()}
    clocks = {name: {"achieved": value, "constraint": 100.0} for name, value in fmax.items()}
    return json.dumps({"fmax": clocks, "utilization": utilization})


def test_reports():
    use = parse_report(report(**{"$glbnet$clk_i$TRELLIS_IO_IN": 157.5}), "t")
    assert (use.lut4, use.lut4_available, use.ff, use.fmax_hz) == (7, 100, 3, 157.5e6)
    with pytest.raises(ToolError, match="names no clock clk_i"):
        parse_report(report(other=1.0), "t")
    for text in ("", "{}", "[]", report(clk_i=1.0).replace("TRELLIS_FF", "FF")):
        with pytest.raises(ToolError, match="not a report of nextpnr-ecp5"):
            parse_report(text, "t")
