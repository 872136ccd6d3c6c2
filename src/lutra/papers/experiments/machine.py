"""What the transformer machine does for the models of Table 4, and what it takes of an UltraScale+.

Work is counted by the compiler and the latency model for arrays of all sizes; machines of some sizes are synthesised,
with the ports of the weightless blocks alone: those are recorded as designs of their own (`designs.py`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lutra.accelerators.block.emit import RTL as BLOCK
from lutra.accelerators.transformer import compiler, latency, overlap, timeline
from lutra.accelerators.transformer.emit import RTL, SYSTOLIC
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.synthesis.machine import PARTS, synthesise_machine
from lutra.cost import machine_work
from lutra.cost.machine import sequence_call, token_call
from lutra.cost.machine_work import work_of
from lutra.frozen.random_transformer import Feedforward
from lutra.hardware.design import library_files
from lutra.papers.experiments.designs import design_pieces
from lutra.papers.experiments.run import Piece, needed_yosys
from lutra.papers.quweit.machine_models import BUILT_SIZES, FOLDS, MODELS, NORM_LANES, SEED, SIZES
from lutra.papers.quweit.recorded_machine import MACHINES, WORK
from lutra.synth.tools.find import Tool
from lutra.synth.tools.hierarchy import hierarchy_script

FFNS: tuple[Feedforward, ...] = ("mlp", "weightless")
WORK_SECONDS, MACHINE_SECONDS = 10.0, 150.0
"""Of one piece, about."""
HEAD = {"contents": f"random, seed {SEED}", "norm_lanes": NORM_LANES}


def machine_pieces() -> list[Piece]:
    """Work of every model and size, machines that are built, and the blocks of Table 4.

    Raises:
        ToolError: Yosys is missing.
    """
    yosys = needed_yosys()
    work = [work_piece(model, size) for model in MODELS for size in SIZES]
    built = [_machine_piece(yosys, model, ffn, size) for size in BUILT_SIZES for model in MODELS for ffn in FFNS]
    return [*work, *built, *design_pieces()]


def work_piece(model: str, size: int) -> Piece:
    """What a machine of a size does for a model, with its MLPs and with blocks at several fold factors."""

    def build(folder: Path) -> dict[str, Any]:
        return {"model": model, "size": size, "works": works_of(model, size)}

    sources = [inspect.getsource(module) for module in (compiler, latency, overlap, timeline, machine_work)]
    identity = hashlib.sha256(json.dumps([model, size, SEED, FOLDS, NORM_LANES, sources]).encode()).hexdigest()
    return Piece(f"machine_work_{model}_{size}", "transformer_machine_work", {"design": WORK, **HEAD}, identity,
                 WORK_SECONDS, build)  # fmt: skip


def works_of(model: str, size: int) -> list[dict[str, Any]]:
    """One entry for each kind of call, and each fold factor where there are blocks."""
    dense, blocks = ([MODELS[model].image(ffn, size, overlaps) for overlaps in (False, True)] for ffn in FFNS)
    found = _calls(dense, None)
    for fold in FOLDS:
        folded = [replace(image, config=replace(image.config, fold_factor=fold, dataflow="tree")) for image in blocks]
        found += _calls(folded, fold)
    return found


def _calls(images: Sequence[Image], fold: int | None) -> list[dict[str, Any]]:
    """Work on the machine whose steps run one after the other, and the cycles of the one whose steps overlap."""
    serial, overlapped = images
    calls = {"sequence": sequence_call(serial), "token": token_call(serial)}
    return [
        {
            "fold_factor": fold,
            "call": name,
            **asdict(call),
            "work": asdict(work_of(serial, [call])),
            "overlapped_cycles": latency.call_cycles(overlapped, call),
        }
        for name, call in calls.items()
        if call is not None
    ]


def _machine_piece(yosys: Tool, model: str, ffn: Feedforward, size: int) -> Piece:
    """A machine without what is inside its blocks; they and their fold factor change its gearboxes alone."""

    def build(folder: Path) -> dict[str, Any]:
        image, start = MODELS[model].image(ffn, size), time.perf_counter()
        config = replace(image.config, fold_factor=size, dataflow="tree")
        modules = synthesise_machine(yosys, folder / "work", config, image.blocks)
        return {
            "model": model,
            "ffn": ffn,
            "config": config.to_mapping(),
            "modules": [asdict(module) for module in modules],
            "tool": yosys.name,
            "seconds": round(time.perf_counter() - start, 1),
        }

    sources = [text for _, text in sorted(library_files(SYSTOLIC, BLOCK, RTL).items())]
    sources.append((RTL / "transformer.sv.mako").read_text(encoding="utf-8"))
    content = [model, ffn, str(size), str(HEAD), str(PARTS), inspect.getsource(hierarchy_script), *sources, yosys.name]
    identity = hashlib.sha256("\n".join(content).encode()).hexdigest()
    head = {
        "design": MACHINES,
        **HEAD,
        "target": "xcup",
        "method": "every module once, counted as often as it occurs, without DSP; blocks are black boxes",
    }
    return Piece(f"machine_{model}_{ffn}_{size}", "transformer_machine", head, identity, MACHINE_SECONDS, build)
