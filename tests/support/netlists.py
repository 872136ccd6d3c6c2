"""Synthesised netlists for tests of proofs, and faults to put into them."""

from __future__ import annotations

import pytest

from lutra.accelerators.block.emit import block_design
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import fpga_script, run_script, sources_of


def synthesise(plan, folder):
    """The UltraScale+ netlist of a block called "block" in Yosys' JSON form; skips the test where Yosys is absent."""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    block_design([plan]).write(folder)
    return run_script(yosys, folder, fpga_script(sources_of(folder), "block"), "block")["block"]


def driver(netlist, net):
    """The cell that drives a net, to be changed."""
    return next(
        cell
        for cell in netlist["cells"].values()
        if any(net in cell["connections"][p] for p, way in cell["port_directions"].items() if way == "output")
    )


def flip_entry(cell, entry):
    """Change one entry of a LUT cell."""
    init = list(cell["parameters"]["INIT"])
    init[-1 - entry] = "10"[int(init[-1 - entry])]
    cell["parameters"]["INIT"] = "".join(init)
