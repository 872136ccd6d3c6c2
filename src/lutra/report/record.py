"""The record of measured results: one JSON file per recipe name, one entry per recipe hash and seed; of BERTs, one
file per task and seed in the folder `bert`.

Entries are made from run directories and never written by hand.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lutra.cost.bert import flops, size_mib
from lutra.errors import InputError, RunDirectoryError
from lutra.escape import brief
from lutra.recipes.bert import BertRecipe
from lutra.recipes.bert_config import BertConfig
from lutra.recipes.kinds import KINDS, Kind, kind_of, load_function
from lutra.recipes.language import Recipe
from lutra.recipes.sections import Experiment
from lutra.recipes.vision import VisionRecipe
from lutra.report.bert import read_chain
from lutra.report.evidence import read_run
from lutra.runs.files import RunFiles
from lutra.runs.record import changed_outputs, failed_steps
from lutra.runs.schemas.exploration import ExplorationRecord
from lutra.runs.typed import read_record, write_record

EXPLORATION_FILE = "explore.json"


def summarise(files: RunFiles, recipe: Experiment) -> dict[str, Any]:
    """What a run has measured so far, with where it comes from."""
    kind = kind_of(recipe)
    source = {"name": recipe.name, "seed": recipe.seed, "hash": recipe.content_hash()}
    measured = kind.call(kind.summarise, files, recipe)
    return {"recipe": {**source, **measured.pop("recipe", {})}, **measured}


def summarise_language(files: RunFiles, recipe: Recipe | VisionRecipe) -> dict[str, Any]:
    """How long it was trained, losses, and what simulation, synthesis and cost model measured."""
    evidence = read_run(files, recipe)
    settings = recipe.model_copy(update={"seed": 0}).content_hash()
    return {
        "recipe": {"iterations": recipe.train.iterations, "settings": settings},
        "frozen_hash": evidence.frozen_hash,
        "steps": _times(evidence.steps),
        "evaluate": evidence.evaluate,
        "simulate": evidence.simulate,
        "synth": evidence.synth,
        "cost": evidence.cost,
    }


def summarise_bert(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Scores, size and cost of every stage that was evaluated."""
    evidence = read_chain(files, recipe)
    evaluate = evidence.evaluate or {"methods": {}}
    methods = {}
    for name, measured in evaluate["methods"].items():
        config = BertConfig.model_validate(measured["bert"])
        methods[name] = {
            "score": measured["dev"][evaluate["dev_split"]][evaluate["metric"]],
            "size_mib": size_mib(config),
            "gflops": flops(config).total / 1e9,
            **{key: value for key, value in measured.items() if key != "bert"},
        }
    return {
        "recipe": {"settings": recipe.settings_hash()},
        "steps": _times(evidence.steps),
        **{key: value for key, value in evaluate.items() if key != "methods"},
        "methods": methods,
        **({"accelerator": _accelerator(evidence.simulate)} if evidence.simulate else {}),
    }


def _accelerator(simulated: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the simulation found of every method that has an accelerator; single groups and blocks stay in the run."""
    return {
        method: {key: value for key, value in design.items() if key not in ("groups", "stalled", "blocks")}
        for method, design in simulated["designs"].items()
    }


def _times(steps: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {key: step[key] for key in ("seconds", "ended", "environment")} for name, step in steps.items()}


def add_result(files: RunFiles, recipe: Experiment, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Record a run in `folder`; an earlier entry of the same recipe is replaced. Returns the file and the entry.

    Raises:
        RunDirectoryError: the run has no evaluation, or a file made from another frozen model than the present one.
    """
    kind = kind_of(recipe)
    kind.call(kind.require_complete, files, recipe)
    path = folder / kind.record_folder / f"{recipe.record_name}.json"
    entry = {**summarise(files, recipe), "recorded": time.strftime("%Y-%m-%d")}
    others = [other for other in _entries(path, kind) if other["recipe"]["hash"] != entry["recipe"]["hash"]]
    entries = sorted([*others, entry], key=lambda other: (other["recipe"]["seed"], other["recipe"]["hash"]))
    write_record(path, load_function(kind.record), {"name": recipe.record_name, "results": entries})
    return path, entry


def add_exploration(exploration: Path, folder: Path) -> Path:
    """Record what `lutra explore` measured in `exploration` as `folder`/explore/NAME.json. Returns the file.

    Raises:
        RunDirectoryError: no exploration there, or not a single run of it has finished.
    """
    record = read_record(exploration / EXPLORATION_FILE, ExplorationRecord, "explore")
    if not any(variant["loss"] for variant in record["variants"]):
        raise RunDirectoryError(f"{exploration}: no variant has finished yet; run `lutra explore` first")
    path = folder / "explore" / f"{record['name']}.json"
    write_record(path, ExplorationRecord, {**record, "recorded": time.strftime("%Y-%m-%d")})
    return path


def list_results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every entry of the record but explorations, by kind of recipe; by recipe name and seed in each.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; record a run with `lutra results add RUN`")
    return {
        name: [entry for path in sorted((folder / kind.record_folder).glob("*.json")) for entry in _entries(path, kind)]
        for name, kind in KINDS.items()
    }


def require_complete_language(files: RunFiles, recipe: Recipe | VisionRecipe) -> None:
    """Raise where a run of a language or vision model can not be recorded.

    Raises:
        RunDirectoryError: it has no evaluation or one of a model that was trained in part, a step that failed, a file
            that was changed after its step, or one made from another frozen model than the present one.
    """
    _require_sound(files)
    evidence, root = read_run(files, recipe), files.root
    if evidence.evaluate is None:
        raise RunDirectoryError(f"{root}: has no evaluation; run `lutra evaluate {root}` first")
    if unfinished := evidence.evaluate.get("unfinished"):
        done = ", ".join(f"{name} at iteration {iterations}" for name, iterations in unfinished.items())
        raise RunDirectoryError(
            f"{root}: of {recipe.train.iterations} iterations trained only in part: {done}; run `lutra run` again"
        )
    if evidence.stale:
        names = ", ".join(sorted(evidence.stale))
        raise RunDirectoryError(f"{root}: {names} made from an earlier frozen model; run `lutra run` again")


def require_complete_bert(files: RunFiles, recipe: BertRecipe) -> None:
    """Raise where a run of BERTs can not be recorded.

    Raises:
        RunDirectoryError: it has no evaluation, a step that failed, or a file that was changed after its step.
    """
    _require_sound(files)
    if not files.evaluate.exists():
        raise RunDirectoryError(f"{files.root}: has no evaluation; run `lutra evaluate {files.root}` first")


def _require_sound(files: RunFiles) -> None:
    failed = {name: reason for name, reason in failed_steps(files).items() if name != "report"}
    for name, reason in failed.items():
        raise RunDirectoryError(f"{files.root}: {name} failed ({brief(reason)}); run `lutra run` again")
    for path in changed_outputs(files):
        raise RunDirectoryError(f"{files.root / path}: was changed after its step; run `lutra run` again")


def _entries(path: Path, kind: Kind) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = read_record(path, load_function(kind.record), "results add")["results"]
    return entries
