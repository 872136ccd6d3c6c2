"""The run directory and the steps in their order: start, resume, `--from`, `--to`.

`steps.json` in the run directory records, for every finished step, the recipe's hash, the files that it read and the
files that it wrote, each with its SHA-256. A step is up to date when all of these are still the same, and is run again
otherwise. Nothing depends on dates, so a copied or checked-out run directory resumes like the original.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lutra.errors import InputError, LutraError, RunDirectoryError
from lutra.recipes.kinds import Step, kind_of, load_any_recipe, load_function
from lutra.recipes.sections import Experiment
from lutra.runs.claim import claim_run
from lutra.runs.environment import environment
from lutra.runs.files import RunFiles, read_json, write_json

log = logging.getLogger("lutra")


def open_run(recipe: Experiment, root: Path) -> RunFiles:
    """Start a run in `root`, or go on with the one that is there.

    Raises:
        RunDirectoryError: `root` belongs to another recipe (the first differing key is named), or holds other files.
    """
    files = RunFiles(root)
    if not files.recipe.exists() and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunDirectoryError(f"{root}: not a run directory (no recipe.toml) and not empty; choose another --out")
    claim_run(files, recipe)
    return files


def load_run(root: Path) -> tuple[RunFiles, Experiment]:
    """The files and the recipe of an existing run.

    Raises:
        RunDirectoryError: `root` holds no run.
    """
    files = RunFiles(root)
    if not files.recipe.is_file():
        raise RunDirectoryError(
            f"{root}: no run there (no recipe.toml); start one with `lutra run RECIPE --out {root}`"
        )
    return files, load_any_recipe(files.recipe)


def run_steps(
    files: RunFiles,
    recipe: Experiment,
    *,
    first: str | None = None,
    last: str | None = None,
    max_minutes: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Run the steps that are not up to date, in their order, and return what each reported.

    With `first`, that step and those after it run even when they are up to date, and those before it do not run.
    `max_minutes` bounds the training; when it ends before its last iteration, so does the run.

    Raises:
        InputError: `first` comes after `last`; a step misses what a step before it should have written.
        LutraError: a step failed; what earlier steps wrote stays.
    """
    steps = kind_of(recipe).steps
    names = [step.name for step in steps]
    begin, end = (names.index(_find(recipe, name).name) for name in (first or names[0], last or names[-1]))
    if begin > end:
        raise InputError(f"--from {first} comes after --to {last}; the order is {', '.join(names)}")
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    results: dict[str, dict[str, Any]] = {}
    for step in steps[begin : end + 1]:
        if step.blocks_only and not recipe.has_blocks:
            continue
        if first is None and is_current(files, recipe, step.name):
            log.info("%s: up to date", step.name)
            results[step.name] = {"status": "up to date"}
            continue
        options: dict[str, Any] = {}
        if deadline is not None and "max_minutes" in step.narrowing_options:
            options["max_minutes"] = max(0.0, (deadline - time.monotonic()) / 60)
        result = run_step(files, recipe, step.name, **options)
        results[step.name] = {"status": "run", **result}
        if not result["finished"]:
            raise LutraError(
                f"{step.name} stopped after --max-minutes {max_minutes:g}, before its end; the same command continues"
            )
    return results


def run_step(files: RunFiles, recipe: Experiment, name: str, **options: Any) -> dict[str, Any]:
    """Run one step whether or not it is up to date, record it, and return what it reports.

    Options that are None are not passed on. The result's `finished` says whether the step did all that the recipe asks.
    """
    step = _find(recipe, name)
    function = load_function(step.function)
    options = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(function).bind(files, recipe, **options)
    except TypeError:
        raise InputError(f"{name}: not for a run of this kind: {', '.join(sorted(options))}") from None
    log.info("%s ...", name)
    started = time.monotonic()
    result: dict[str, Any] = function(files, recipe, **options)
    seconds = time.monotonic() - started
    # `train` reports one training, `baselines` one for each.
    trainings = [part for part in (result, *result.values()) if isinstance(part, dict) and "stopped" in part]
    stopped = next((training["stopped"] for training in trainings if training["stopped"]), None)
    finished = not stopped if trainings else not step.narrowing_options & options.keys()
    _record(files, recipe, step, seconds if finished else None)
    if stopped == "interrupt":
        raise KeyboardInterrupt
    log.info("%s: %s after %.1f s", name, f"stopped by {stopped}" if stopped else "done", seconds)
    return {**result, "finished": finished}


def is_current(files: RunFiles, recipe: Experiment, name: str) -> bool:
    """Whether a step has finished and neither recipe, nor its inputs, nor its outputs have changed since."""
    record = finished_steps(files).get(name)
    expected = _evidence(files, recipe, _find(recipe, name))
    return record is not None and all(record.get(key) == value for key, value in expected.items())


def finished_steps(files: RunFiles) -> dict[str, dict[str, Any]]:
    """The record of every finished step, by name; empty for a run that has none."""
    return dict(read_json(files.steps, "run")) if files.steps.exists() else {}


def _record(files: RunFiles, recipe: Experiment, step: Step, seconds: float | None) -> None:
    """Write the step into the record, or take it out when it did not finish (`seconds` is None)."""
    records = finished_steps(files)
    records.pop(step.name, None)
    if seconds is not None:
        evidence = _evidence(files, recipe, step)
        records[step.name] = {
            **evidence,
            "seconds": round(seconds, 3),
            "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "environment": environment(),
        }
    write_json(files.steps, {each.name: records[each.name] for each in kind_of(recipe).steps if each.name in records})


def _evidence(files: RunFiles, recipe: Experiment, step: Step) -> dict[str, Any]:
    """What makes a finished step current, as it is now."""
    read = {path for name in step.reads for path in _written(files, _find(recipe, name))}
    return {
        "recipe": recipe.content_hash(),
        "inputs": _digests(files, sorted(read)),
        "outputs": _digests(files, sorted(_written(files, step))),
    }


def _written(files: RunFiles, step: Step) -> Iterator[Path]:
    for pattern in step.writes:
        yield from (path for path in files.root.glob(pattern) if path.is_file())


def _digests(files: RunFiles, paths: list[Path]) -> dict[str, str]:
    return {path.relative_to(files.root).as_posix(): _sha256(path) for path in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _find(recipe: Experiment, name: str) -> Step:
    steps = {step.name: step for step in kind_of(recipe).steps}
    if name not in steps:
        raise InputError(f"no step named {name}; the steps are {', '.join(steps)}")
    return steps[name]
