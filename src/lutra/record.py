"""The record of measured results: one JSON file per recipe name, one entry per recipe hash and seed.

Entries are made from run directories and never written by hand.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lutra.errors import InputError, RunDirectoryError
from lutra.files import RunFiles, read_json, write_json
from lutra.recipe import Recipe
from lutra.report.evidence import Evidence, read_run

EXPLORATION_FILE = "explore.json"


def summarise(files: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """What a run has measured so far, with where it comes from."""
    evidence = read_run(files, recipe)
    return {
        "recipe": {"name": recipe.name, "seed": recipe.seed, "hash": recipe.content_hash()},
        "frozen_hash": evidence.frozen_hash,
        "steps": {
            name: {key: step[key] for key in ("seconds", "ended", "environment")}
            for name, step in evidence.steps.items()
        },
        "evaluate": evidence.evaluate,
        "simulate": evidence.simulate,
        "synth": evidence.synth,
        "cost": evidence.cost,
    }


def add_result(files: RunFiles, recipe: Recipe, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Record a run in `folder`; an earlier entry of the same recipe is replaced. Returns the file and the entry.

    Raises:
        RunDirectoryError: the run has no evaluation, or a file made from another frozen model than the present one.
    """
    evidence = read_run(files, recipe)
    _check_complete(evidence)
    entry = {**summarise(files, recipe), "recorded": time.strftime("%Y-%m-%d")}
    path = folder / f"{recipe.name}.json"
    others = [other for other in _entries(path) if other["recipe"]["hash"] != entry["recipe"]["hash"]]
    entries = sorted([*others, entry], key=lambda other: (other["recipe"]["seed"], other["recipe"]["hash"]))
    write_json(path, {"name": recipe.name, "results": entries})
    return path, entry


def add_exploration(exploration: Path, folder: Path) -> Path:
    """Record what `lutra explore` measured in `exploration` as `folder`/explore/NAME.json. Returns the file.

    Raises:
        RunDirectoryError: no exploration there, or not a single run of it has finished.
    """
    record = read_json(exploration / EXPLORATION_FILE, "explore")
    if not any(variant["loss"] for variant in record["variants"]):
        raise RunDirectoryError(f"{exploration}: no variant has finished yet; run `lutra explore` first")
    path = folder / "explore" / f"{record['name']}.json"
    write_json(path, {**record, "recorded": time.strftime("%Y-%m-%d")})
    return path


def list_results(folder: Path) -> list[dict[str, Any]]:
    """Every entry of the record, by recipe name and seed.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; record a run with `lutra results add RUN`")
    return [entry for path in sorted(folder.glob("*.json")) for entry in _entries(path)]


def _check_complete(evidence: Evidence) -> None:
    root = evidence.files.root
    if evidence.evaluate is None:
        raise RunDirectoryError(f"{root}: has no evaluation; run `lutra evaluate {root}` first")
    if evidence.stale:
        names = ", ".join(sorted(evidence.stale))
        raise RunDirectoryError(f"{root}: {names} made from an earlier frozen model; run `lutra run` again")


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return list(read_json(path, "results add")["results"])
    except (KeyError, TypeError):
        raise InputError(f"{path}: not a file of the record; move it away") from None
