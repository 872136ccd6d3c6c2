"""Tables and the record of a run of kind "convert"."""

from __future__ import annotations

from typing import Any

from lutra.errors import RunDirectoryError
from lutra.recipes.convert import ConvertRecipe
from lutra.report.tables import Table
from lutra.runs.files import RunFiles, read_json

_LABELS = {
    "golden": "frozen integers, as the hardware computes",
    "fake_quantised": "the same before freezing, fake-quantised",
    "float": "the same in floating point",
    "none": "no feed-forward part, healed alike",
    "none_untouched": "no feed-forward part, not healed",
}


def summary_tables(files: RunFiles, recipe: ConvertRecipe, step: str = "run") -> list[Table]:
    """Scores against the original, and the comparison of RTL and frozen model."""
    tables = []
    if step in ("run", "evaluate") and files.evaluate.exists():
        tables.append(_scores(read_json(files.evaluate, "evaluate"), recipe))
    if step in ("run", "simulate") and files.simulate.exists():
        tables.append(_proof(read_json(files.simulate, "simulate")))
    return tables


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


def _proof(simulation: dict[str, Any]) -> Table:
    rows = []
    for design in simulation["designs"]:
        blocks = design["blocks"]
        sums = (sum(block[key] for block in blocks) for key in ("rows", "mismatches", "cycles_measured"))
        rows.append((f"F = {design['fold_factor']}", str(len(blocks)), *(f"{value:,}" for value in sums)))
    header = ("design", "blocks", "rows", "mismatches", "cycles measured")
    return Table("RTL against the frozen model, every output bit", header, tuple(rows))


def summarise(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """What was converted, how near it is, and what the simulation compared."""
    parts = {"source": files.root / "source.json", "fit": files.root / "fit.json"}
    parts |= {"evaluate": files.evaluate, "simulate": files.simulate, "synth": files.synth}
    return {name: read_json(path, "run") if path.exists() else None for name, path in parts.items()}


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
