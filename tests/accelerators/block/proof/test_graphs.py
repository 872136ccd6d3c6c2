"""A netlist of an adder graph in stages is proved to be it, and a netlist with a fault is not."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from lutra.accelerators.block.adder_graph import adder_graph
from lutra.accelerators.block.emit import with_library
from lutra.accelerators.block.graph_pipeline import GraphPipeline, graph_module
from lutra.accelerators.block.proof.graphs import prove_graph
from lutra.accelerators.block.proof.pipeline import Pipeline
from lutra.accelerators.block.schedule import graph_levels
from lutra.errors import MismatchError, ToolError
from lutra.synth.netlist.cells import Netlist, SettledNetlist, Values
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import fpga_script, run_script

PLACES, OUTPUTS, LARGEST = 30, 4, 3


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A graph in stages, its sums and its netlist."""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    rng = np.random.default_rng(1)
    encoded = rng.integers(-LARGEST, LARGEST + 1, (PLACES, OUTPUTS))
    start = rng.integers(-20, 20, OUTPUTS)
    graph = adder_graph(encoded, start, 8)
    pipeline = GraphPipeline(graph, graph_levels(graph.depth))
    folder = tmp_path_factory.mktemp("graph") / "rtl"
    design = with_library({"sums.sv": graph_module(pipeline, "sums")})
    design.write(folder)
    netlist = run_script(yosys, folder, fpga_script(design.sources, "sums"), "sums")["sums"]
    return pipeline, encoded, start, netlist


def prove(pipeline, netlist):
    ports = {name: port["bits"] for name, port in netlist["ports"].items()}
    registers = Pipeline(Netlist(netlist, "sums"), ports["advance_i"][0])
    return prove_graph(pipeline, registers, ports["bits_i"], ports["sums_o"])


def sums_of(netlist, rows):
    """The bits of all sums that a netlist makes of rows (n, PLACES) when they stay long enough."""
    cells, ports = SettledNetlist(netlist, "sums", lambda name: False), netlist["ports"]
    values: Values = {net: rows[:, place] == 1 for place, net in enumerate(ports["bits_i"]["bits"])}
    values |= {ports["advance_i"]["bits"][0]: np.ones(len(rows), bool)}
    return np.stack([cells.evaluate(net, values) for net in ports["sums_o"]["bits"]], axis=1)


def test_the_netlist_is_the_graph(mapped):
    pipeline, encoded, start, netlist = mapped
    assert pipeline.stages > 1
    proof = prove(pipeline, netlist)
    registers = [each for stage in range(1, pipeline.stages + 1) for each in pipeline.registers(stage)]
    assert (proof.words, proof.bits) == (len(registers), sum(each.bits for each in registers))
    rows = np.random.default_rng(2).integers(0, 2, (500, PLACES))
    expected = (start + rows @ encoded)[:, :, None] >> np.arange(pipeline.graph.bits) & 1
    assert (sums_of(netlist, rows) == expected.reshape(len(rows), -1)).all()


def test_a_register_that_goes_on_by_itself_is_not_proved(mapped):
    pipeline, _, _, netlist = mapped
    changed = copy.deepcopy(netlist)
    register = next(cell for cell in changed["cells"].values() if cell["type"] == "FDRE")
    register["connections"]["CE"] = changed["ports"]["bits_i"]["bits"][:1]
    with pytest.raises(ToolError, match="an enable of its own"):
        prove(pipeline, changed)


@pytest.mark.slow
def test_every_fault_that_shows_in_a_sum_is_found(mapped):
    pipeline, _, _, netlist = mapped
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 2, (2000, PLACES))
    right = sums_of(netlist, rows)
    names = sorted(name for name, cell in netlist["cells"].items() if cell["type"].startswith("LUT"))
    shown = 0
    for name in rng.choice(names, 40, replace=False):
        faulty = copy.deepcopy(netlist)
        table = faulty["cells"][name]["parameters"]["INIT"]
        place = int(rng.integers(len(table)))
        faulty["cells"][name]["parameters"]["INIT"] = table[:place] + str(1 - int(table[place])) + table[place + 1 :]
        if (sums_of(faulty, rows) != right).any():
            shown += 1
            with pytest.raises(MismatchError, match="is not that of the adder graph"):
                prove(pipeline, faulty)
    assert shown > 20
