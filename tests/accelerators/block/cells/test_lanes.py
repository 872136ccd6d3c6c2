"""Counting a block from some lanes and the rest, against flat synthesis of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.accelerators.block.cells.lanes import synthesise_lanes
from lutra.accelerators.block.cells.parts import split
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.errors import InputError
from lutra.frozen.random_block import random_block
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import sources_of, synthesise_fpga

GRAPH = random_block(
    np.random.default_rng(0), width=6, thermometer_bits=2, luts=(12,), inputs=(4,), output_bits=16, max_shift=0
)


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", ["accumulate", "tree"])  # three of six accumulators count twice, one of two trees
def test_lanes_and_the_rest_are_the_whole(tmp_path, dataflow):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    plan = BlockPlan(GRAPH, "block", 2, dataflow)
    parts = synthesise_lanes(yosys, tmp_path / "parts", plan)
    assert [module.instances for module in parts.modules] == [1, 2]
    block_design([plan]).write(tmp_path / "rtl")
    whole = synthesise_fpga(yosys, tmp_path / "rtl", sources_of(tmp_path / "rtl"), "block")
    assert parts.total.ff == pytest.approx(whole.ff, rel=0.05)
    assert parts.total.lut_raw == pytest.approx(whole.lut_raw, rel=0.05)
    assert parts.total.lut_packed == pytest.approx(whole.lut_packed, rel=0.1)


def test_graphs_have_no_equal_lanes(tmp_path):
    plan = BlockPlan(GRAPH, "block", "all", "graph")
    for measure in (lambda: synthesise_lanes(None, tmp_path, plan), lambda: split(plan)):
        with pytest.raises(InputError, match="outputs share graphs of adders"):
            measure()
