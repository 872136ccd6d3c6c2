"""LUTs of whole trained blocks with all sums in one cycle: by trees, and by what is chosen for each group of outputs.

Prints a record; finished blocks are kept in FOLDER and taken from there the next time:

    lutra run recipes/demo.toml --set 'baselines=[]' --set block.encoded_bits=3 --to freeze --out RUN
    python -m lutra.papers.experiments.summed_blocks FOLDER RUN ... > src/lutra/papers/recorded/synth/summed_blocks.json

A run is a directory with a frozen model, whose first block is taken, and its captured rows. Both designs of the block
are simulated on rows, with and without stalls, synthesised whole, and their netlists are proved to be the block.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from lutra.accelerators.block.bench.compare import require_match
from lutra.accelerators.block.bench.harness import Device
from lutra.accelerators.block.choice import graph_of
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.tables import prove_tables
from lutra.accelerators.block.proof.trees import prove_summation
from lutra.accelerators.block.schedule import Dataflow
from lutra.accelerators.block.simulate import simulate_devices
from lutra.frozen import store
from lutra.frozen.types import IntArray
from lutra.papers.experiments.run import needed_yosys
from lutra.runs.files import RunFiles, write_json
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import map_fpga, sources_of
from lutra.version import __version__

ROWS = 64
"""That are simulated."""
DATAFLOWS: tuple[Dataflow, ...] = ("tree", "auto")


def measure(yosys: Tool, folder: Path, plan: BlockPlan, rows: IntArray) -> dict[str, Any]:
    """One design of a block, works in `folder`.

    Raises:
        MismatchError: the design differs from the golden model, or its netlist from the block.
        ToolError: a tool failed.
    """
    began, rtl = time.perf_counter(), folder / "rtl"
    block_design([plan]).write(rtl)
    simulated = simulate_devices([Device(plan, rows)], rtl, folder / "waveforms")
    require_match(simulated, plan.schedule.dataflow)
    use, netlist = map_fpga(yosys, rtl, sources_of(rtl), plan.name)
    tables, sums = prove_tables(plan, netlist), prove_summation(plan, netlist)
    return {
        "dataflow": plan.schedule.dataflow,
        "sums": [asdict(each) for each in plan.schedule.sums],
        "use": asdict(use),
        "lut_packed_per_output": round(use.lut_packed / plan.graph.output_width, 1),
        "lut_raw_per_output": round(use.lut_raw / plan.graph.output_width, 1),
        "latency_cycles": plan.schedule.latency_cycles,
        "cycles_measured": simulated[0].cycles_measured,
        "cycles_predicted": simulated[0].cycles_predicted,
        "rows": len(rows),
        "proof": {"tables": asdict(tables), "sums": asdict(sums)},
        "seconds": round(time.perf_counter() - began, 1),
    }


def target_of(yosys: Tool, folder: Path, files: RunFiles) -> dict[str, Any]:
    """Both designs of a run's first block."""
    graph = store.load(files.frozen).graphs[0]
    rows = load_file(files.samples)[graph.name][:ROWS].astype("int64")
    plans = {dataflow: BlockPlan(graph, "block_0", "all", dataflow) for dataflow in DATAFLOWS}
    plan = plans["auto"]
    encoded = plan.block.summation.encoded
    groups = [graph_of(plan, group) for group in range(plan.block.summation.groups)]
    return {
        "frozen_hash": store.content_hash(files.frozen),
        "outputs": graph.output_width,
        "groups": len(groups),
        "bits": [len(bits) for bits in plan.group_bits],
        "encoded_values": [int(encoded.min()), int(encoded.max())],
        "graph_depths": [each.depth for each in groups],
        "designs": [measure(yosys, folder / dataflow, each, rows) for dataflow, each in plans.items()],
        "tool": yosys.name,
    }


def main() -> None:
    yosys, folder, targets = needed_yosys(), Path(sys.argv[1]), []
    for path in sys.argv[2:]:
        files = RunFiles(Path(path))
        kept = folder / f"{files.root.name}.json"
        if not kept.exists():
            write_json(kept, target_of(yosys, folder / files.root.name, files))
        recipe = tomllib.loads(files.recipe.read_text(encoding="utf-8"))
        told = {"recipe": recipe["name"], "encoded_bits": recipe["block"]["encoded_bits"]}
        targets.append({**told, **json.loads(kept.read_text(encoding="utf-8"))})
    record = {
        "design": "summed-blocks",
        "contents": "first block of a trained model, its activations",
        "method": "whole block with all sums in one cycle, simulated, synthesised and proved",
        "targets": targets,
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
