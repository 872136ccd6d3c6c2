"""Writes the SystemVerilog of frozen models: library modules as they are, one set of generated modules per block."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from mako.template import Template

from lutra.accelerators.block.graph_pipeline import graph_module
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import LEVELS_PER_STAGE, BlockSchedule, Dataflow, FoldFactor
from lutra.accelerators.block.tree import TreePlan
from lutra.accelerators.block.wave import WavePlan
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.hardware.design import Design, library_files
from lutra.hardware.literals import address_bits
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles

RTL = Path(__file__).parent / "rtl"
"""Hand-written modules of the block, and the templates of those that a trained model decides."""

logger = logging.getLogger("lutra")


@cache
def _template(name: str) -> Template:
    imports = ["from lutra.escape import comment"]
    return Template(filename=str(RTL / f"{name}.sv.mako"), strict_undefined=True, imports=imports)


def block_files(plan: BlockPlan) -> dict[str, str]:
    """The generated modules of one block: file name -> text. The last one is the block's top module."""
    arguments: dict[str, Any] = {"plan": plan, "s": plan.schedule, "graph": plan.graph, "address_bits": address_bits}
    parts = {"thermometer": "thermometer", "network": "network", "summation": "tree"}
    files: dict[str, str] = {}
    if plan.schedule.dataflow == "accumulate":
        arguments |= {"wave": WavePlan(plan), "levels_per_stage": LEVELS_PER_STAGE}
        parts["summation"] = "accumulate"
    else:
        arguments["tree"] = tree = TreePlan(plan)
        for number in tree.numbers:
            text = _template("lane").render(**arguments, number=number, lane=tree.lane(number))
            files[f"{plan.name}_lane_{number}.sv"] = str(text)
        for group, pipeline in tree.graphs.items():
            name = f"{plan.name}_graph_{group}"
            files[f"{name}.sv"] = graph_module(pipeline, name)
    for part, template in parts.items():
        files[f"{plan.name}_{part}.sv"] = str(_template(template).render(**arguments))
    return files | {f"{plan.name}.sv": str(_template("block").render(**arguments))}


def with_library(generated: dict[str, str]) -> Design:
    """Generated modules, of a block or of a part of one, with the library modules that they need."""
    return Design.complete(generated, library_files(RTL))


def block_design(plans: Sequence[BlockPlan]) -> Design:
    """The design that holds the given blocks; its manifest maps them to their graphs and holds their schedules."""
    generated = {file: text for plan in plans for file, text in block_files(plan).items()}
    blocks = [{"module": plan.name, "graph": plan.graph.name, **_recorded(plan.schedule)} for plan in plans]
    return Design.complete(generated, library_files(RTL), {"blocks": blocks})


def _recorded(schedule: BlockSchedule) -> dict[str, Any]:
    """A schedule as a manifest holds it: what concerns graphs only where one was asked for."""
    told = {name: value for name, value in asdict(schedule).items() if value not in ((), None)}
    return told | ({"sums": list(told["sums"])} if "sums" in told else {})


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
    return block_design(model_plans(model, fold_factor, dataflow)).write(out)


@dataclass(frozen=True)
class ModelDesign:
    """The blocks of a run's frozen model at one fold factor, and their design."""

    plans: tuple[BlockPlan, ...]
    design: Design


def run_design(files: RunFiles, recipe: Recipe, fold_factor: FoldFactor) -> ModelDesign:
    """The design of a run's frozen model, rendered once per frozen model, fold factor and process.

    Raises:
        FrozenModelError: the frozen model is missing, changed, or not made of weightless blocks.
    """
    return _rendered(files.frozen, store.content_hash(files.frozen), fold_factor, recipe.hardware.dataflow)


@lru_cache(maxsize=8)
def _rendered(frozen: Path, content_hash: str, fold_factor: FoldFactor, dataflow: Dataflow) -> ModelDesign:
    plans = tuple(model_plans(store.load(frozen), fold_factor, dataflow))
    return ModelDesign(plans, block_design(plans))


def fold_folder(files: RunFiles, fold_factor: FoldFactor) -> Path:
    """Where a run keeps the design of one fold factor."""
    return files.rtl / f"fold_{fold_factor}"


def chosen_sums(plans: Sequence[BlockPlan]) -> list[str]:
    """What was chosen for the sums of blocks where there was a choice, a line each, or why there was none."""
    lines = []
    for plan in plans:
        sums = plan.schedule.sums
        if plan.schedule.fallback:
            lines.append(f"{plan.name}: trees; {plan.schedule.fallback}")
        elif sums:
            graphs = sum(each.dataflow == "graph" for each in sums)
            trees = sum(each.tree_luts for each in sums)
            chosen = sum(each.graph_luts if each.dataflow == "graph" else each.tree_luts for each in sums)
            lines.append(
                f"{plan.name}: graphs for {graphs} of {len(sums)} groups of outputs, counted {chosen:,} LUTs "
                f"where trees are {trees:,}"
            )
    return lines


def write_rtl(files: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Write the RTL of a run's frozen model for every fold factor of the recipe, replacing earlier RTL.

    Raises:
        FrozenModelError: the frozen model is missing, changed, or not made of weightless blocks.
    """
    designs = []
    for fold_factor in recipe.hardware.fold_factors:
        folder = fold_folder(files, fold_factor)
        designed = run_design(files, recipe, fold_factor)
        design = designed.design
        written = design.write(folder)
        logger.info("%s: %d files", folder, len(written))
        for line in chosen_sums(designed.plans):
            logger.info("%s: %s", folder, line)
        where = str(folder.relative_to(files.root))
        designs.append({"fold_factor": fold_factor, "folder": where, "blocks": design.manifest["blocks"]})
    return {"frozen_hash": store.content_hash(files.frozen), "designs": designs}
