"""A netlist of an adder graph is proved to be it, and a netlist with a fault is not."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from lutra.accelerators.block.adder_graph import adder_graph, graph_design
from lutra.accelerators.block.proof.graphs import prove_graph
from lutra.errors import MismatchError
from lutra.synth.netlist.cells import Netlist, Values
from lutra.synth.tools.find import fpga_yosys
from lutra.synth.tools.yosys import fpga_script, run_script

PLACES, OUTPUTS, LARGEST = 30, 4, 3


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A graph, its sums and its netlist."""
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    rng = np.random.default_rng(1)
    encoded = rng.integers(-LARGEST, LARGEST + 1, (PLACES, OUTPUTS))
    start = rng.integers(-20, 20, OUTPUTS)
    graph = adder_graph(encoded, start, 8)
    folder = tmp_path_factory.mktemp("graph") / "rtl"
    design = graph_design(graph, "sums")
    design.write(folder)
    netlist = run_script(yosys, folder, fpga_script(design.sources, "sums"), "sums")["sums"]
    return graph, encoded, start, netlist


def sums_of(netlist, rows):
    """The bits of all sums that a netlist makes of rows (n, PLACES)."""
    cells = Netlist(netlist, "sums")
    values: Values = {net: rows[:, place] == 1 for place, net in enumerate(netlist["ports"]["bits_i"]["bits"])}
    return np.stack([cells.evaluate(net, values) for net in netlist["ports"]["sums_o"]["bits"]], axis=1)


def test_the_netlist_is_the_graph(mapped):
    graph, encoded, start, netlist = mapped
    proof = prove_graph(graph, netlist, "sums")
    assert proof.words + proof.dissolved == len(graph.counts) + len(graph.adders) + OUTPUTS
    assert proof.words > OUTPUTS
    rows = np.random.default_rng(2).integers(0, 2, (500, PLACES))
    expected = (start + rows @ encoded)[:, :, None] >> np.arange(graph.bits) & 1
    assert (sums_of(netlist, rows) == expected.reshape(len(rows), -1)).all()


def test_every_fault_that_shows_in_a_sum_is_found(mapped):
    graph, _, _, netlist = mapped
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
                prove_graph(graph, faulty, "sums")
    assert shown > 20
