"""Writes the SystemVerilog of frozen models: library modules as they are, one set of generated modules per block."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from mako.template import Template

from lutra.errors import InputError, LutraError
from lutra.files import RunFiles, read_json, write_json
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipe import Recipe
from lutra.rtl.plan import BlockPlan, address_bits
from lutra.rtl.schedule import LEVELS_PER_STAGE, Dataflow, FoldFactor
from lutra.rtl.tree import TreePlan
from lutra.rtl.wave import WavePlan

HERE = Path(__file__).parent
FILE_LIST = "filelist.f"
MANIFEST = "rtl.json"
INSTANCE = re.compile(r"\b(lutra_\w+) (?:#\(|u_)")
"""The module of an instance, as our SystemVerilog writes them."""

logger = logging.getLogger("lutra")


@cache
def _template(name: str) -> Template:
    imports = ["from lutra.escape import comment"]
    return Template(filename=str(HERE / "templates" / f"{name}.sv.mako"), strict_undefined=True, imports=imports)


def library_files() -> dict[str, str]:
    """The hand-written library modules: file name -> text, sorted by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / "lib").glob("*.sv"))}


def block_files(plan: BlockPlan) -> dict[str, str]:
    """The generated modules of one block: file name -> text. The last one is the block's top module."""
    arguments: dict[str, Any] = {"plan": plan, "s": plan.schedule, "graph": plan.graph, "address_bits": address_bits}
    parts = {"thermometer": "thermometer", "network": "network", "summation": plan.schedule.dataflow}
    files: dict[str, str] = {}
    if plan.schedule.dataflow == "tree":
        arguments["tree"] = tree = TreePlan(plan)
        for number in range(plan.schedule.output_lanes):
            text = _template("lane").render(**arguments, number=number, lane=tree.lane(number))
            files[f"{plan.name}_lane_{number}.sv"] = str(text)
    else:
        arguments |= {"wave": WavePlan(plan), "levels_per_stage": LEVELS_PER_STAGE}
    for part, template in parts.items():
        files[f"{plan.name}_{part}.sv"] = str(_template(template).render(**arguments))
    return files | {f"{plan.name}.sv": str(_template("block").render(**arguments))}


def design_files(plans: list[BlockPlan]) -> dict[str, str]:
    """All files of a design that holds the given blocks: file name -> text, the file list last."""
    return complete({file: text for plan in plans for file, text in block_files(plan).items()})


def complete(generated: dict[str, str]) -> dict[str, str]:
    """Generated modules with the library modules that they need before them, and the file list last."""
    library, waiting = library_files(), list(generated.values())
    needed: set[str] = set()
    while waiting:
        instantiated = {f"{name}.sv" for name in INSTANCE.findall(waiting.pop())}
        new = (instantiated & library.keys()) - needed
        needed |= new
        waiting += (library[file] for file in new)
    files = {file: library[file] for file in sorted(needed)} | generated
    return files | {FILE_LIST: "".join(f"{name}\n" for name in files)}


def model_plans(model: FrozenModel, fold_factor: FoldFactor, dataflow: Dataflow = "accumulate") -> list[BlockPlan]:
    """The plans of all graphs of a model, named block_0, block_1, ... in graph order."""
    return [BlockPlan(graph, f"block_{index}", fold_factor, dataflow) for index, graph in enumerate(model.graphs)]


def generate_rtl(
    model: FrozenModel, out: Path, fold_factor: FoldFactor, dataflow: Dataflow = "accumulate"
) -> list[Path]:
    """Write the design of all graphs of `model` into the folder `out`, which it replaces; return the files.

    `filelist.f` names every SystemVerilog file; the tops are block_0, block_1, ... in graph order. `rtl.json` maps
    them to graphs and holds the schedule. Equal models give equal text.

    Raises:
        FrozenModelError: a graph that is not a weightless block.
        InputError: the fold factor is out of range, there is no such dataflow, or `out` holds something other than
            generated RTL.
    """
    plans = model_plans(model, fold_factor, dataflow)
    return write_design(plans, out)


def write_design(plans: list[BlockPlan], out: Path) -> list[Path]:
    """Write the design of `plans` into the folder `out`, whole or not at all (see `generate_rtl`)."""
    blocks = [{"module": plan.name, "graph": plan.graph.name, **asdict(plan.schedule)} for plan in plans]
    return write_files(design_files(plans), {"blocks": blocks}, out)


def write_files(files: dict[str, str], manifest: dict[str, Any], out: Path) -> list[Path]:
    """Write a design and its manifest into the folder `out`, which it replaces, whole or not at all.

    Raises:
        InputError: `out` holds something other than generated RTL.
    """
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: holds something other than generated RTL; choose an empty folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8")
            write_json(staging / MANIFEST, {"design_hash": design_hash(files), **manifest})
            staging.chmod(0o755)
            old = staging.with_name(f"{staging.name}.old")
            if out.exists():
                out.rename(old)
            staging.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise LutraError(f"{out}: cannot write ({error.strerror}); free some space or choose another folder") from error
    return [out / name for name in [*files, MANIFEST]]


def design_hash(files: dict[str, str]) -> str:
    """Digest of a design's text: changes with the model, the fold factor and the templates."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name} {len(text)}\n{text}".encode())
    return digest.hexdigest()


def is_current(plans: list[BlockPlan], folder: Path) -> bool:
    """Whether `folder` was generated from exactly these plans. Later edits of its files do not count."""
    if not (folder / MANIFEST).is_file():
        return False
    return bool(read_json(folder / MANIFEST, "rtl").get("design_hash") == design_hash(design_files(plans)))


def fold_folder(run: RunFiles, fold_factor: FoldFactor) -> Path:
    """Where a run keeps the design of one fold factor."""
    return run.rtl / f"fold_{fold_factor}"


def generate_run(run: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Write the RTL of a run's frozen model for every fold factor of the recipe, replacing earlier RTL.

    Raises:
        FrozenModelError: the frozen model is missing, changed, or not made of weightless blocks.
    """
    model = store.load(run.frozen)
    designs = []
    for fold_factor in recipe.hardware.fold_factors:
        folder = fold_folder(run, fold_factor)
        files = generate_rtl(model, folder, fold_factor, recipe.hardware.dataflow)
        logger.info("%s: %d files", folder, len(files))
        blocks = read_json(folder / MANIFEST, "rtl")["blocks"]
        designs.append({"fold_factor": fold_factor, "folder": str(folder.relative_to(run.root)), "blocks": blocks})
    return {"frozen_hash": store.content_hash(run.frozen), "designs": designs}
