"""The run directory and the steps in their order: start, resume, `--from`, `--to`.

`steps.json` in the run directory records, for every finished step, the recipe's hash, the files that it read and the
files that it wrote, each with its SHA-256, and of every failed one the reason. A step is up to date when all of these
are still the same, and is run again otherwise. Nothing depends on dates, so a copied or checked-out run directory
resumes like the original.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lutra.errors import InputError, LutraError, RunDirectoryError
from lutra.escape import brief
from lutra.reading import Journal, digest, keeping_journal
from lutra.recipes.frozen import FrozenRecipe, recipe_of_folder
from lutra.recipes.kinds import Step, kind_of, load_any_recipe, load_function
from lutra.recipes.sections import Experiment
from lutra.runs.claim import claim_run
from lutra.runs.environment import environment
from lutra.runs.files import FROZEN_FOLDER, RunFiles, cannot_write, clear_leftovers, holds_other_files, is_foreign
from lutra.runs.lock import held
from lutra.runs.record import failed_steps, finished_steps, write_steps

log = logging.getLogger("lutra")


def open_run(recipe: Experiment, root: Path) -> RunFiles:
    """Start a run in `root`, or go on with the one that is there.

    Raises:
        RunDirectoryError: `root` belongs to another recipe (the first differing key is named), or holds other files.
        InputError: a later step could not do what the recipe asks for.
    """
    if check := kind_of(recipe).check:
        load_function(check)(recipe)
    files = RunFiles(root)
    own = (FROZEN_FOLDER,) if isinstance(recipe, FrozenRecipe) else ()
    if is_foreign(root, files.recipe, own):
        raise RunDirectoryError(f"{root}: not a run directory (no recipe.toml) and not empty; choose another --out")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LutraError(cannot_write(root, error)) from None
    with held(root):
        claim_run(files, recipe)
    return files


def load_run(root: Path) -> tuple[RunFiles, Experiment]:
    """The files and the recipe of an existing run. A folder that holds nothing but a frozen model becomes one.

    Raises:
        RunDirectoryError: `root` holds no run.
    """
    files = RunFiles(root)
    if (files.frozen / "model.json").is_file() and not holds_other_files(root, (FROZEN_FOLDER,)):
        return files, recipe_of_folder(root)
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
        RunDirectoryError: another process works there, or the folder belongs to another recipe.
        LutraError: a step failed; what earlier steps wrote stays.
    """
    steps = kind_of(recipe).steps
    names = [step.name for step in steps]
    begin, end = (names.index(_find(recipe, name).name) for name in (first or names[0], last or names[-1]))
    if begin > end:
        raise InputError(f"--from {first} comes after --to {last}; the order is {', '.join(names)}")
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    results: dict[str, dict[str, Any]] = {}
    with held(files.root):
        claim_run(files, recipe)
        clear_leftovers(files.root)
        for step in steps[begin : end + 1]:
            if not step.concerns(recipe):
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
                limit = f"--max-minutes {max_minutes:g}"
                raise LutraError(f"{step.name} stopped after {limit}, before its end; the same command continues")
    return results


def run_step(files: RunFiles, recipe: Experiment, name: str, **options: Any) -> dict[str, Any]:
    """Run one step whether or not it is up to date, record it, and return what it reports.

    Options that are None are not passed on. The result's `finished` says whether the step did all that the recipe asks.
    From its start to its end the step counts as failed, so that what a killed or failed one leaves is no result.

    Raises:
        RunDirectoryError: another process works there, the folder belongs to another recipe, or what the step reads
            was changed while it ran.
        LutraError: the step failed.
    """
    step = _find(recipe, name)
    function = load_function(step.function)
    options = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(function).bind(files, recipe, **options)
    except TypeError:
        raise InputError(f"{name}: not for a run of this kind: {', '.join(sorted(options))}") from None
    with held(files.root):
        claim_run(files, recipe)
        clear_leftovers(files.root)
        _use_threads(recipe.processor_threads)
        return _run_held(files, recipe, step, lambda: function(files, recipe, **options), frozenset(options))


def _use_threads(count: int) -> None:
    """Let PyTorch compute on so many threads, whether it is loaded already or will be."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def _run_held(
    files: RunFiles, recipe: Experiment, step: Step, function: Callable[[], dict[str, Any]], options: frozenset[str]
) -> dict[str, Any]:
    log.info("%s ...", step.name)
    started = time.monotonic()
    inputs = _inputs(files, recipe, step)
    _record(files, recipe, step.name, failed="it did not come to its end")
    try:
        with keeping_journal(files.root) as journal:
            result = function()
        inputs = _as_read(files, inputs, _inputs(files, recipe, step), journal, step)
    except KeyboardInterrupt:
        _record(files, recipe, step.name, failed="it was interrupted")
        raise
    except Exception as error:
        _record(files, recipe, step.name, failed=brief(" ".join(str(error).split()), 2000))
        raise
    seconds = time.monotonic() - started
    # `train` reports one training, `baselines` one for each.
    trainings = [part for part in (result, *result.values()) if isinstance(part, dict) and "stopped" in part]
    stopped = next((training["stopped"] for training in trainings if training["stopped"]), None)
    finished = not stopped if trainings else not step.narrowing_options & options
    if finished:
        evidence = {
            "recipe": recipe.content_hash(),
            "inputs": inputs,
            "outputs": _digests(files, sorted(_written(files, step))),
            "seconds": round(seconds, 3),
            "ended": _now(),
            "environment": {**environment(), "threads": str(recipe.processor_threads)},
        }
        _record(files, recipe, step.name, finished=evidence)
    else:
        _record(files, recipe, step.name)
    if stopped == "interrupt":
        raise KeyboardInterrupt
    log.info("%s: %s after %.1f s", step.name, f"stopped by {stopped}" if stopped else "done", seconds)
    return {**result, "finished": finished}


def _as_read(
    files: RunFiles, before: dict[str, str], after: dict[str, str], journal: Journal, step: Step
) -> dict[str, str]:
    """The digests of a step's inputs, if they are what the step has read.

    Raises:
        RunDirectoryError: somebody else has changed one.
    """
    own = {name: found for name, found in journal.written.items() if name in before or name in after}
    expected = {name: found for name, found in {**before, **own}.items() if found is not None}
    read = {name: found for name, found in journal.digests.items() if name in before}
    for name in sorted(expected.keys() | after.keys()):
        if expected.get(name) != after.get(name) or read.get(name, before.get(name)) != before.get(name):
            raise RunDirectoryError(f"{files.root / name}: was changed while {step.name} ran; run {step.name} again")
    return after


def is_current(files: RunFiles, recipe: Experiment, name: str) -> bool:
    """Whether a step has finished and neither recipe, nor its inputs, nor its outputs have changed since."""
    record = finished_steps(files).get(name)
    step = _find(recipe, name)
    return (
        record is not None
        and record.get("recipe") == recipe.content_hash()
        and record.get("outputs") == _digests(files, sorted(_written(files, step)))
        and record.get("inputs") == _inputs(files, recipe, step)
    )


def _record(
    files: RunFiles, recipe: Experiment, name: str, finished: dict[str, Any] | None = None, failed: str | None = None
) -> None:
    """Write how a step ended: finished with its evidence, failed, or neither: it did less than the recipe asks for."""
    done, broken = finished_steps(files), failed_steps(files)
    for records in (done, broken):
        records.pop(name, None)
    if finished is not None:
        done[name] = finished
    if failed is not None:
        broken[name] = failed
    order = [each.name for each in kind_of(recipe).steps]
    write_steps(
        files,
        {each: done[each] for each in order if each in done},
        {each: broken[each] for each in order if each in broken},
    )


def _inputs(files: RunFiles, recipe: Experiment, step: Step) -> dict[str, str]:
    """Digests of what a step reads, by path below the run directory."""
    return _digests(files, sorted({path for name in step.reads for path in _written(files, _find(recipe, name))}))


def _written(files: RunFiles, step: Step) -> Iterator[Path]:
    """What a step has written; names that begin with a dot are of files that are not whole, and of the lock."""
    for pattern in step.writes:
        for path in files.root.glob(pattern):
            hidden = any(part.startswith(".") for part in path.relative_to(files.root).parts)
            if not hidden and path.is_file():
                yield path


def _digests(files: RunFiles, paths: list[Path]) -> dict[str, str]:
    return {path.relative_to(files.root).as_posix(): digest(path) for path in paths}


def _find(recipe: Experiment, name: str) -> Step:
    steps = {step.name: step for step in kind_of(recipe).steps}
    if name not in steps:
        raise InputError(f"no step named {name}; the steps are {', '.join(steps)}")
    return steps[name]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
