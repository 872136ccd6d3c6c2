"""Area, slack and power of a trained block in standard cells, from its parts and from switching counted on real rows.

Prints a record; finished designs are kept in FOLDER and taken from there the next time:

    lutra run recipes/language/ivit-t-block.toml --to freeze --out RUN
    LUTRA_LIBERTY=cells.lib python -m lutra.papers.experiments.asic_block FOLDER RUN:accumulate:1:gated ...

A design is a run directory with a frozen model, whose first block is taken, a dataflow, a fold factor and a clock,
plain or gated; all of one width, that of I-ViT-T, of nanoGPT-baby or of gpt-mini. Each takes one to four minutes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import tomllib
from pathlib import Path

from safetensors.numpy import load_file

from lutra import settings
from lutra.accelerators.block.cells.parts import build_parts
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import DATAFLOWS, Dataflow
from lutra.frozen import store
from lutra.frozen.graph import WeightlessBlock
from lutra.papers.quweit.recorded_asic import RECORDED_BLOCKS
from lutra.runs.files import RunFiles, write_json
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import fpga_yosys, native_yosys, opensta
from lutra.version import __version__

CLOCK_HZ = 1e9
MODELS = {192: "ivit-t", 384: "gpt-baby", 128: "gpt-mini"}
SAMPLED_LANES = {"accumulate": 4, "tree": 1}
"""Lanes that are mapped; a tree is as large as some dozen accumulators."""


def shape_of(block: WeightlessBlock) -> str:
    """As the variants of `spaces/gpt-mini-recovery.toml` are called: "8D-in-8-groups", "paper-4D-D-dense"."""
    width, groups = block.graph.input_width, block.summation.groups
    luts = [f"{layer.width // width}D".replace("1D", "D") for layer in block.lut_layers]
    return f"{luts[0]}-in-{groups}-groups" if groups > 1 else f"paper-{'-'.join(luts)}-dense"


def measure(asic: Asic, folder: Path, files: RunFiles, dataflow: Dataflow, fold: int) -> dict[str, object]:
    graph = store.load(files.frozen).graphs[0]
    plan = BlockPlan(graph, "block_0", fold, dataflow)
    start = time.perf_counter()
    result = build_parts(asic, folder, plan, load_file(files.samples)[graph.name], SAMPLED_LANES[dataflow])
    return {
        "frozen_hash": store.content_hash(files.frozen),
        "shape": shape_of(plan.block),
        "width": graph.input_width,
        "output_bits": graph.output_type.bits,
        "dataflow": dataflow,
        "fold_factor": fold,
        "clock_gating": asic.gate_clocks,
        "clock_hz": asic.clock_hz,
        "cycles_per_token": plan.schedule.interval_cycles,
        "latency_cycles": plan.schedule.latency_cycles,
        **result,
        "tool": asic.tool,
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    front, mapper, sta = fpga_yosys(), native_yosys(), opensta()
    if front is None or mapper is None or sta is None or settings.LIBERTY.path is None:
        sys.exit("needs both Yosys, OpenSTA and a library in LUTRA_LIBERTY; `lutra doctor` tells what is missing")
    folder = Path(sys.argv[1])
    targets = []
    for design in sys.argv[2:]:
        path, dataflow, fold, clock = design.rsplit(":", 3)
        run = RunFiles(Path(path))
        kept = folder / f"{run.root.name}_{dataflow}_{fold}_{clock}.json"
        if not kept.exists():
            asic = Asic(front, mapper, sta, settings.LIBERTY.path, CLOCK_HZ, clock != "plain")
            write_json(kept, measure(asic, kept.with_suffix(""), run, DATAFLOWS[dataflow], int(fold)))
        recipe = tomllib.loads(run.recipe.read_text(encoding="utf-8"))["name"]
        targets.append({"recipe": recipe, **json.loads(kept.read_text(encoding="utf-8"))})
    widths = {target["width"] for target in targets}
    if len(widths) != 1 or not widths <= MODELS.keys():
        sys.exit(f"widths {sorted(widths)}: a record is of one model, whose width is one of {sorted(MODELS)}")
    record = {
        "design": RECORDED_BLOCKS[MODELS[widths.pop()]],
        "contents": "first block of a trained model, its activations",
        "method": "the rest, and sampled lanes that stand for all; timing and power of the whole",
        "targets": targets,
        "lutra": __version__,
        "device": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
