"""The report of a frozen model that came from elsewhere: hardware alone, no learning."""

from __future__ import annotations

from typing import Any

from lutra.errors import RunDirectoryError
from lutra.recipes.frozen import FrozenRecipe
from lutra.report.build import (
    Figure,
    Page,
    Section,
    block_section,
    cost_figures,
    cost_section,
    hardware_left_out,
    proof_section,
    rebuild_of,
    run_warnings,
    verdict,
    write_page,
)
from lutra.report.evidence import Evidence, read_run
from lutra.report.tables import Table
from lutra.runs.files import RunFiles


def report_run(files: RunFiles, recipe: FrozenRecipe) -> dict[str, Any]:
    """Write `report.html` from what the run's steps have written so far.

    Returns:
        As `lutra.report.build.report_run`.
    """
    evidence = read_run(files, recipe)
    page = Page(
        name=recipe.name,
        kicker=f"a frozen model of {_origin(evidence)} · recipe {recipe.content_hash()}",
        result=verdict(evidence),
        figures=(*_figures(evidence), *cost_figures(evidence)),
        warnings=run_warnings(evidence),
        sections=(
            _model(evidence),
            proof_section(evidence),
            block_section(evidence),
            cost_section(evidence),
            Section("left-out", "What these numbers leave out", points=_left_out(recipe)),
            rebuild_of(evidence),
        ),
    )
    return write_page(files, page)


def _origin(evidence: Evidence) -> str:
    origin = evidence.frozen.origin if evidence.frozen is not None else {}
    return origin.get("model") or origin.get("recipe") or "unknown origin"


def _model(evidence: Evidence) -> Section:
    if evidence.frozen is None:
        return Section("model", "The frozen model", missing="There is no frozen model.")
    rows = [
        (graph.name, str(graph.input_width), str(graph.output_width), f"{graph.input_type.bits} bits")
        for graph in evidence.frozen.graphs
    ]
    origin = "; ".join(f"{key} {value}" for key, value in sorted(evidence.frozen.origin.items()))
    return Section(
        "model",
        "The frozen model",
        paragraphs=(
            f"What the model says of its origin: {origin or 'nothing'}. Nothing was trained or evaluated here.",
        ),
        tables=(Table("Blocks", ("name", "inputs", "outputs", "input"), tuple(rows)),),
    )


def _figures(evidence: Evidence) -> tuple[Figure, ...]:
    if evidence.simulate is None:
        return ()
    mismatches, rows = evidence.simulate["mismatches"], evidence.simulate["rows"]
    unit = f"in {rows:,} rows, all designs"
    return (Figure("RTL mismatches", f"{mismatches:,}", unit, "bad" if mismatches else "good"),)


def _left_out(recipe: FrozenRecipe) -> tuple[str, ...]:
    dense = "" if recipe.dense else "Costs stand beside nothing: the recipe does not say ([dense]) what was replaced."
    return (*([dense] if dense else []), "Whatever is outside of the blocks.", *hardware_left_out())


def require_complete(files: RunFiles, recipe: FrozenRecipe) -> None:
    """Raises RunDirectoryError: without a training there is no score to record."""
    raise RunDirectoryError(f"{files.root}: a frozen model from elsewhere has no evaluation; its report is the record")
