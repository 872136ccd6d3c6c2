"""A run's weightless blocks as an IP core: which blocks, what they share, and the rows that prove them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.block.emit import RTL, block_files
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.schedule import Dataflow, FoldFactor
from lutra.accelerators.block.simulate import captured_rows
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden, store
from lutra.frozen.graph import Graph
from lutra.hardware.axi.core import Member, RowCore
from lutra.hardware.axi.package import GoldenRows, Package, build_package, core_name
from lutra.hardware.axi.streams import RowStream, bus_bits_for
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.typed import read_evidence

ROWS = 64
"""Captured rows of each block that a package holds as golden vectors."""


def row_core(
    graphs: Sequence[Graph],
    name: str,
    fold_factor: FoldFactor,
    dataflow: Dataflow = "accumulate",
    bus_bits: tuple[int, int] | None = None,
    resources: dict[str, dict[str, Any]] | None = None,
) -> RowCore:
    """Weightless blocks of one shape between one pair of streams.

    `bus_bits` are those of the streams in and out; by default the narrowest that do not slow the blocks down.
    `resources` are what synthesis counted, by graph.

    Raises:
        FrozenModelError: a graph is not a weightless block.
        InputError: blocks of several shapes, a wrong name or fold factor.
    """
    plans = [BlockPlan(graph, f"{name}_block_{index}", fold_factor, dataflow) for index, graph in enumerate(graphs)]
    first = plans[0]
    for plan in plans[1:]:
        if _shape(plan) != _shape(first):
            raise InputError(
                f"{plan.graph.name} and {first.graph.name} have rows of different shapes, which cannot share streams; "
                "package them apart with --block"
            )
    s, x, y = first.schedule, first.graph, first.block.requantise.type
    steps = max(plan.schedule.interval_cycles for plan in plans)
    streams = []
    for type_, width, lanes, bits in (
        (x.input_type, x.input_width, s.input_lanes, bus_bits and bus_bits[0]),
        (y, x.output_width, s.output_lanes, bus_bits and bus_bits[1]),
    ):
        stream = RowStream(type_, width, lanes, bits or 8)
        streams.append(stream if bits else RowStream(type_, width, lanes, bus_bits_for(stream.row_bytes, steps)))
    members = tuple(
        Member(
            plan.name,
            plan.graph.name,
            block_files(plan),
            plan.graph.input_type.scale,
            plan.graph.output_type.scale,
            plan.schedule.interval_cycles,
            plan.schedule.latency_cycles,
            (resources or {}).get(plan.graph.name),
        )
        for plan in plans
    )
    return RowCore(name, members, *streams)


def _shape(plan: BlockPlan) -> tuple[Any, ...]:
    s, graph = plan.schedule, plan.graph
    types = (graph.input_type.bits, graph.input_type.signed, graph.output_type.bits, graph.output_type.signed)
    return (graph.input_width, graph.output_width, s.input_lanes, s.output_lanes, *types)


def package_run(
    files: RunFiles,
    recipe: Recipe,
    out: Path,
    name: str | None = None,
    fold_factor: FoldFactor | None = None,
    blocks: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Write the blocks of a run, by default all of them, as an IP core into the folder `out`; what it is.

    Raises:
        FrozenModelError: the frozen model is missing, damaged, or not made of weightless blocks.
        RunDirectoryError: no captured rows.
        InputError: no such block or fold factor, a wrong name, blocks that cannot share streams, or `out` holds
            something else.
    """
    fold = fold_factor or default_fold(recipe)
    chosen_name = core_name(name, recipe.name)
    model = store.load(files.frozen)
    graphs = chosen_graphs(model.graphs, blocks, files)
    frozen_hash = store.content_hash(files.frozen)
    counted, simulated = _resources(files, recipe, frozen_hash, fold), _simulated(files, recipe, frozen_hash, fold)
    core = row_core(graphs, chosen_name, fold, recipe.hardware.dataflow, resources=counted)
    rows = captured_rows(files, model, ROWS)
    vectors = [golden_rows(index, graph, rows[graph.name]) for index, graph in enumerate(graphs)]
    package = blocks_package(core, vectors, frozen_hash, recipe.hardware.dataflow, fold, simulated)
    written = package.write(out)
    return {
        "out": str(out),
        "name": chosen_name,
        "build_hash": package.build_hash,
        "frozen_hash": frozen_hash,
        "fold_factor": fold,
        "blocks": [member.title for member in core.members],
        "bus_bits": {"in": core.input.bus_bits, "out": core.output.bus_bits},
        "cycles_per_row": core.interval_cycles,
        "files": len(written),
    }


def blocks_package(
    core: RowCore,
    vectors: Sequence[GoldenRows],
    frozen_hash: str,
    dataflow: Dataflow,
    fold_factor: FoldFactor,
    simulated: bool = False,
) -> Package:
    """The package of blocks; `simulated` says whether the run has simulated them at this fold factor."""
    about = {"frozen_hash": frozen_hash, "dataflow": dataflow, "fold_factor": fold_factor, "simulated": simulated}
    return build_package(core, vectors, {**about, "libraries": (RTL,)})


def golden_rows(index: int, graph: Graph, rows: np.ndarray) -> GoldenRows:
    """Rows of the block of this index in a package, with what the golden model makes of them."""
    return GoldenRows(index, rows, golden.run(graph, rows.astype(np.int64)))


def default_fold(recipe: Recipe) -> FoldFactor:
    """The fold factor of what is built: the first that the recipe synthesises, or else generates."""
    return (recipe.hardware.synthesise_fold_factors or recipe.hardware.fold_factors)[0]


def chosen_graphs(graphs: Sequence[Graph], blocks: Sequence[int] | None, files: RunFiles) -> list[Graph]:
    """The blocks of a run's model that go into a core, by default all."""
    if not graphs:
        raise FrozenModelError(f"{files.frozen}: holds no weightless blocks, which an IP core is made of")
    for number in blocks or ():
        if not 0 <= number < len(graphs):
            raise InputError(f"--block {number}: the frozen model has {len(graphs)} blocks, numbered from 0 on")
    return [graphs[number] for number in dict.fromkeys(blocks)] if blocks else list(graphs)


def _resources(files: RunFiles, recipe: Recipe, frozen_hash: str, fold: FoldFactor) -> dict[str, dict[str, Any]]:
    """What synthesis counted for UltraScale+, by graph; empty where it counted something else or nothing."""
    if not files.synth.exists():
        return {}
    evidence = read_evidence(files, recipe, "synth")
    if evidence.get("frozen_hash") != frozen_hash:
        return {}
    return {
        block["graph"]: {**block, "tool": target["tool"]}
        for target in evidence["targets"]
        for block in target["blocks"]
        if target["target"] == "xcup" and target["fold_factor"] == fold
    }


def _simulated(files: RunFiles, recipe: Recipe, frozen_hash: str, fold: FoldFactor) -> bool:
    """Whether the run has simulated this design without any difference."""
    if not files.simulate.exists():
        return False
    evidence = read_evidence(files, recipe, "simulate")
    folds = [design["fold_factor"] for design in evidence["designs"]]
    return bool(
        evidence.get("frozen_hash") == frozen_hash
        and fold in folds
        and not evidence["mismatches"]
        and evidence["cycles_match"]
    )
