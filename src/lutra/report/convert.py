"""Tables and the record of a run of kind "convert"."""

from __future__ import annotations

from typing import Any

from lutra.errors import RunDirectoryError
from lutra.recipes.convert import ConvertRecipe
from lutra.report.build import (
    Figure,
    Page,
    Section,
    block_section,
    cost_figures,
    cost_section,
    hardware_left_out,
    not_run,
    proof_section,
    rebuild_of,
    run_warnings,
    verdict,
    write_page,
)
from lutra.report.evidence import read_run
from lutra.report.tables import Table, proof_table, synthesis_table
from lutra.runs.files import RunFiles
from lutra.runs.schemas.conversion import ConversionPlan, Fit, Source
from lutra.runs.typed import read_evidence, read_record

_LABELS = {
    "golden": "frozen integers, as the hardware computes",
    "fake_quantised": "the same before freezing, fake-quantised",
    "float": "the same in floating point",
    "none": "no feed-forward part, healed alike",
    "none_untouched": "no feed-forward part, not healed",
}


_LEFT_OUT = (
    "Attention, norms, embeddings and the rows of massive tokens stay in floating point, outside of the RTL; so do the "
    "sums of blocks and token tables, where there are any.",
    "One healing per model; differences between seeds are not shown here.",
)


def report_run(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """Write `report.html` from what the run's steps have written so far.

    Returns:
        As `lutra.report.build.report_run`.
    """
    source = read_record(files.root / "source.json", Source, "run")
    plan = read_record(files.root / "plan.json", ConversionPlan, "run")
    evidence, fit = read_run(files, recipe), files.root / "fit.json"
    start = read_record(fit, Fit, "fit") if fit.exists() else None
    scores = (_scores(evidence.evaluate, recipe),) if evidence.evaluate else ()
    sections = (
        Section("converted", "What was converted", paragraphs=(_told(plan, source),), tables=(_converted(plan),)),
        _start_section(start, not_run(evidence, "fit")),
        Section("evaluate", "How near it is", missing="" if scores else not_run(evidence, "evaluate"), tables=scores),
        proof_section(evidence),
        block_section(evidence),
        cost_section(evidence),
        Section("left-out", "What these numbers leave out", points=(*_LEFT_OUT, *hardware_left_out())),
        rebuild_of(evidence),
    )
    page = Page(
        name=recipe.name,
        kicker=f"{source['model']} ({source['class']}) · {source['text']} · seed {recipe.seed}",
        result=f"{_result(evidence.evaluate)} {verdict(evidence)}",
        figures=(*_figures(evidence.evaluate, plan), *cost_figures(evidence)),
        warnings=run_warnings(evidence),
        sections=sections,
    )
    return write_page(files, page)


def _told(plan: dict[str, Any], source: dict[str, Any]) -> str:
    share = 100 * plan["weights_left_dense"]
    tried = "returns exactly what it returned before" if plan["exact"] else "was not tried"
    return (
        f"{source['class']} with weights {source['weights_sha256'][:16]}; {plan['feedforward_weights']:,} feed-forward "
        f"weights, of which {share:.1f} % stay dense. The model with its own functions in the blocks' places {tried}. "
        f"Healed on {source['training_texts']:,} texts, measured on {source['held_out_texts']} others."
    )


def _converted(plan: dict[str, Any]) -> Table:
    rows = [
        (
            row["path"],
            row["kind"],
            row["form"] if row["convert"] else "–",
            f"{row['inputs']} → {row['hidden']} → {row['outputs']}",
            "block" if row["convert"] else row["reason"],
        )
        for row in plan["found"]
    ]
    return Table("Feed-forward parts", ("path", "class", "form", "features", "what happened"), tuple(rows))


def _start_section(fit: dict[str, Any] | None, missing: str) -> Section:
    heading = "The start of the blocks"
    if fit is None:
        return Section("fit", heading, missing=missing)
    rom_bits = fit.get("token_table_rom_bits", 0)
    told = (
        "Every block's result has a row for the token's id added to it. These token tables need "
        f"{rom_bits // 8:,} bytes of ROM together, and the accelerator around the blocks must bring the ids; R² is of "
        "block and table together."
    )
    return Section("fit", heading, paragraphs=(told,) if rom_bits else (), tables=(_fit(fit),))


def _fit(fit: dict[str, Any]) -> Table:
    rows = [
        (
            block["path"],
            f"{block['tokens']:,}",
            f"{block['massive_tokens']:,}",
            f"{block['r2_closed_form']:.3f}",
            f"{block['r2']:.3f}",
        )
        for block in fit["blocks"]
    ]
    header = ("path", "tokens", "massive", "R², closed form", "R², after its own gradient")
    return Table("Each block against the part that it replaced", header, tuple(rows))


def _result(evaluate: dict[str, Any] | None) -> str:
    if evaluate is None:
        return "Not evaluated yet."
    ours, none = evaluate["scores"]["golden"], evaluate["baselines"].get("none")
    name = next(iter(ours))
    text = f"The frozen integers reach a {name} of {ours[name]:.4f} to the original on held-out text"
    if none is None:
        return f"{text}; the model without feed-forward parts was not healed beside it."
    return f"{text}; without any feed-forward part, healed alike, it is {none[name]:.4f}."


def _figures(evaluate: dict[str, Any] | None, plan: dict[str, Any]) -> tuple[Figure, ...]:
    figures = [Figure("Converted", f"{100 * (1 - plan['weights_left_dense']):.1f}", "% of the feed-forward weights")]
    if evaluate is not None and evaluate["recovery"] is not None:
        figures.append(Figure("Recovery", f"{evaluate['recovery']:.3f}", "0: no feed-forward part, 1: the original"))
    return tuple(figures)


def summary_tables(files: RunFiles, recipe: ConvertRecipe, step: str = "run") -> list[Table]:
    """Scores against the original, the comparison of RTL and frozen model, and what synthesis found."""
    evidence = read_run(files, recipe)
    tables = {
        "evaluate": _scores(evidence.evaluate, recipe) if evidence.evaluate else None,
        "simulate": proof_table(evidence),
        "synth": synthesis_table(evidence),
    }
    return [table for name, table in tables.items() if table is not None and step in ("run", name)]


def _scores(evaluate: dict[str, Any], recipe: ConvertRecipe) -> Table:
    measured = {**evaluate["scores"], **evaluate["baselines"]}
    names = list(next(iter(measured.values())))
    rows = [
        (label, *(f"{measured[key][name]:.4f}" for name in names)) for key, label in _LABELS.items() if key in measured
    ]
    if evaluate["recovery"] is not None:
        blank = ("",) * (len(names) - 1)
        rows.append(("recovery (0: no feed-forward part, 1: the original)", f"{evaluate['recovery']:.3f}", *blank))
    title = f"{recipe.source.model}: {evaluate['held_out_texts']} held-out texts, against the original"
    return Table(title, ("model", *names), tuple(rows))


def summarise(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """What was converted, how near it is, and what the simulation compared."""
    source, fit = files.root / "source.json", files.root / "fit.json"
    return {
        "source": read_record(source, Source, "run") if source.exists() else None,
        "fit": read_record(fit, Fit, "fit") if fit.exists() else None,
        **{
            name: read_evidence(files, recipe, name) if getattr(files, name).exists() else None
            for name in ("evaluate", "simulate", "synth")
        },
    }


def require_complete(files: RunFiles, recipe: ConvertRecipe) -> None:
    """Raises RunDirectoryError where a run has no evaluation yet."""
    if not files.evaluate.exists():
        raise RunDirectoryError(f"{files.root}: has no evaluation; run `lutra evaluate {files.root}` first")


def results_table(entries: list[dict[str, Any]]) -> Table:
    """Recorded conversions, one line each."""
    rows = []
    for entry in entries:
        evaluate = entry.get("evaluate") or {}
        ours, none = (evaluate.get("scores") or {}).get("golden", {}), (evaluate.get("baselines") or {}).get("none", {})
        name = next(iter(ours), "score")
        shown = [f"{part[name]:.4f}" if name in part else "–" for part in (ours, none)]
        recovery = evaluate.get("recovery")
        rows.append(
            (
                entry["recipe"]["name"],
                str(entry["recipe"]["seed"]),
                name,
                *shown,
                "–" if recovery is None else f"{recovery:.3f}",
            )
        )
    return Table("Conversions", ("recipe", "seed", "score", "ours", "no FFN, healed", "recovery"), tuple(rows))
