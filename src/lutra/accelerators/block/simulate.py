"""Proves that RTL and frozen model agree: every output of real rows, with and without stalls, and every cycle."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutra import children
from lutra.accelerators.block.bench import harness, waveform
from lutra.accelerators.block.bench.compare import BlockResult, compare, require_match
from lutra.accelerators.block.bench.harness import Device
from lutra.accelerators.block.emit import block_design, fold_folder, run_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import Dataflow, FoldFactor
from lutra.errors import FrozenModelError, InputError, RunDirectoryError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.types import IntArray
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import STALL_SEED
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.typed import write_evidence

logger = logging.getLogger("lutra")


def simulate_graphs(
    graphs: Sequence[tuple[Graph, FoldFactor, np.ndarray]], folder: Path, dataflow: Dataflow = "accumulate"
) -> list[BlockResult]:
    """Generate, build and simulate blocks together; leaves the design in `folder`/rtl, waveforms in `folder`/waveforms.

    Each entry is a graph, its fold factor and its input rows, integers (rows, input_width) with at least one row. The
    blocks are named block_0, block_1, ... in this order. Differences are in the results: see `require_match`.

    Raises:
        InputError: rows that the graph does not take.
        ToolError: a tool is missing or fails.
    """
    plans = [BlockPlan(graph, f"block_{index}", fold, dataflow) for index, (graph, fold, _) in enumerate(graphs)]
    devices = [Device(plan, _checked(plan, rows)) for plan, (_, _, rows) in zip(plans, graphs, strict=True)]
    block_design(plans).write(folder / "rtl")
    return simulate_devices(devices, folder / "rtl", folder / "waveforms")


def simulate_devices(devices: list[Device], rtl: Path, waves_folder: Path) -> list[BlockResult]:
    """Simulate blocks of the design in the folder `rtl` in one build. The first one that differs is looked into."""
    patience = harness.patience(devices)
    with children.temporary_folder("simulate") as temporary:
        bench = harness.build(devices, rtl, temporary / "all")
        passes = harness.run(bench, patience)
        results = [compare(device, list(both)) for device, *both in zip(devices, *passes, strict=True)]
        failed = next((index for index, result in enumerate(results) if result.problem), None)
        if failed is not None:
            target = waves_folder / f"{results[failed].name}.vcd"
            alone = temporary / "alone"
            results[failed] = waveform.explain(devices[failed], results[failed], rtl, alone, patience, target)
    return results


def simulate_run(
    files: RunFiles, recipe: Recipe, fold_factors: Sequence[FoldFactor] | None = None, rows: int | None = None
) -> dict[str, Any]:
    """Simulate the RTL of a run's frozen model on captured rows, for every fold factor; write and return the evidence.

    RTL that is missing or was generated from something else is generated first. At most `rows` rows per block.

    Raises:
        MismatchError: RTL and golden model, or measured and predicted cycles, differ; the evidence is written before.
        RunDirectoryError: no captured rows for a graph.
        ToolError: a tool is missing or fails.
    """
    model = store.load(files.frozen)
    samples = captured_rows(files, model, rows or recipe.hardware.rows)

    def simulate(fold_factor: FoldFactor) -> tuple[FoldFactor, list[BlockResult]]:
        designed, folder = run_design(files, recipe, fold_factor), fold_folder(files, fold_factor)
        if not designed.design.is_current(folder):
            designed.design.write(folder)
        devices = [Device(plan, _checked(plan, samples[plan.graph.name])) for plan in designed.plans]
        results = simulate_devices(devices, folder, files.root / "waveforms" / folder.name)
        wrong = sum(result.problem is not None for result in results)
        logger.info("fold factor %s: %d blocks simulated, %d differ", fold_factor, len(results), wrong)
        return fold_factor, results

    # Verilator translates with one thread: while it does, the design before it is compiled or runs.
    designs = children.concurrently(simulate, fold_factors or recipe.hardware.fold_factors, os.cpu_count() or 1)
    every = [result for _, results in designs for result in results]
    evidence = {
        "frozen_hash": store.content_hash(files.frozen),
        "simulator": verilator.version(),
        "rows": sum(result.rows for result in every),
        "mismatches": sum(result.mismatches + result.mismatches_with_stalls for result in every),
        "stall_seed": STALL_SEED,
        "stalled_cycles": {
            end: sum(getattr(result.stalled_cycles, end) for result in every) for end in ("source", "sink")
        },
        "cycles_match": all(result.cycles_measured == result.cycles_predicted for result in every),
        "designs": [
            {"fold_factor": fold_factor, "blocks": [result.to_json() for result in results]}
            for fold_factor, results in designs
        ],
    }
    write_evidence(files, recipe, "simulate", evidence)
    for fold_factor, results in designs:
        require_match(results, f"fold factor {fold_factor}")
    return evidence


def captured_rows(files: RunFiles, model: FrozenModel, rows: int) -> dict[str, np.ndarray]:
    """Up to `rows` rows of real data per graph, (rows, input_width), by the graph's name.

    Raises:
        RunDirectoryError: they cannot be read, or a graph has none.
    """
    try:
        tensors = store.read_tensors(files.samples)
    except FrozenModelError as error:
        raise RunDirectoryError(str(error)) from None
    for graph in model.graphs:
        found = tensors.get(graph.name)
        if found is None or not found.size:
            raise RunDirectoryError(f"{files.samples}: no rows for {graph.name}; run `lutra freeze` again")
        if found.dtype != np.int8 or found.ndim != 2 or found.shape[1] != graph.input_width:
            wanted = f"int8 (rows, {graph.input_width})"
            raise RunDirectoryError(
                f"{files.samples}: {graph.name} is {found.dtype} {found.shape}, not {wanted}; run `lutra freeze` again"
            )
    return {graph.name: tensors[graph.name][:rows] for graph in model.graphs}


def _checked(plan: BlockPlan, rows: np.ndarray) -> IntArray:
    type_, width = plan.graph.input_type, plan.graph.input_width
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(f"{plan.graph.name}: needs integer rows of shape (1 or more, {width}), got {rows.shape}")
    if rows.min() < type_.minimum or rows.max() > type_.maximum:
        raise InputError(f"{plan.graph.name}: input rows must lie in [{type_.minimum}, {type_.maximum}]")
    return rows.astype(np.int64)
