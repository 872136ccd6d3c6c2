"""An exploration: stage after stage, one run directory per variant and seed, baselines shared by all variants."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.errors import LutraError, RunDirectoryError
from lutra.evaluate.recovery import recovery
from lutra.explore.figures import pareto_figure
from lutra.explore.processes import LUTRA, Job, Progress, Runner, exclusive, run_jobs
from lutra.explore.results import finished_result, read_result, summarise
from lutra.explore.space import BASELINES, Plan, Stage, Variant, baseline_recipe
from lutra.explore.table import markdown
from lutra.recipes.language import Recipe
from lutra.runs.claim import claim_run
from lutra.runs.environment import environment
from lutra.runs.exploration import our_loss, whole_in_integers
from lutra.runs.files import RunFiles, is_foreign, write_text
from lutra.runs.schemas.exploration import ExplorationRecord
from lutra.runs.typed import VERSION, read_record, write_record

log = logging.getLogger("lutra.explore")

RECORD_NAME, TABLE_NAME, FIGURE_NAME = "explore.json", "table.md", "figure.svg"


def explore(
    plan: Plan,
    root: Path,
    parallel: int,
    last_step: str = "evaluate",
    command: Sequence[str] = LUTRA,
    max_minutes: float | None = None,
    *,
    runner: Runner = run_jobs,
) -> dict[str, Any]:
    """Run what has not run yet, `parallel` runs at a time, each to `last_step`; write and return the record.

    `runner` starts them: as processes of this machine, or on a cluster; the record is the same. A run that fails is
    recorded with the last line of its error, does not stop the others, and is tried again by the next call. `root` gets
    `explore.json` after every run, at the end `table.md` and `figure.svg`. After `max_minutes` every training saves a
    checkpoint and stops; the record then says so, and the same call goes on.

    Raises:
        RunDirectoryError: `root` belongs to another exploration, is in use, or holds a run with another recipe.
        LutraError: no variant of a stage finished.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    _claim(plan, root)
    with exclusive(root) as lock:
        exploration = _Exploration(plan, root, last_step, runner)
        if not (root / RECORD_NAME).exists():
            exploration.write(finished=False)
        variants = plan.variants
        for number, stage in enumerate(plan.stages, start=1):
            if not exploration.run_stage(number, stage, variants, parallel, lock, command, deadline):
                log.info("%s: stopped after %g minutes; the same command goes on", plan.space.name, max_minutes)
                return exploration.write(finished=False)
            if stage:
                variants = exploration.select(number, stage, variants)
        return exploration.write(finished=True)


def load_exploration(root: Path) -> dict[str, Any]:
    """The record of an exploration, as far as it has come; what an earlier Lutra did not write yet has its default.

    Raises:
        RunDirectoryError: there is none in `root`, or it is damaged.
    """
    path = root / RECORD_NAME
    if not path.is_file():
        raise RunDirectoryError(f"{root}: no exploration there ({RECORD_NAME}); give a space file to start one")
    return _with_defaults(read_record(path, ExplorationRecord, "explore"))


def _with_defaults(record: dict[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = ExplorationRecord.model_validate(record).model_dump(mode="json", exclude={VERSION})
    return filled


def _claim(plan: Plan, root: Path) -> None:
    if (root / RECORD_NAME).exists():
        if (there := load_exploration(root)["name"]) != plan.space.name:
            raise RunDirectoryError(f"{root}: belongs to the exploration {there}; choose another folder (--out)")
    elif is_foreign(root, root / RECORD_NAME):
        raise RunDirectoryError(f"{root}: not an exploration and not empty; choose another folder (--out)")
    root.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class _Planned:
    """A job, and what identifies its result in the record."""

    job: Job
    identity: dict[str, Any]


class _Exploration:
    """Results so far, by run directory relative to `root`."""

    def __init__(self, plan: Plan, root: Path, last_step: str, runner: Runner) -> None:
        self.plan, self.root, self.last_step, self.runner = plan, root, last_step, runner
        self.order: dict[str, int] = {}
        """Place of every run in the plan, so that the record does not depend on which run ended first."""
        self.runs: dict[str, dict[str, Any]] = {}
        self.baselines: dict[str, dict[str, Any]] = {}
        self.selections: list[dict[str, Any]] = []
        self.stage, self.variants = 1, plan.variants

    def run_stage(
        self,
        number: int,
        stage: Stage | None,
        variants: tuple[Variant, ...],
        parallel: int,
        lock: int,
        command: Sequence[str],
        deadline: float | None,
    ) -> bool:
        """Run the variants of a stage, with their baselines, that have not finished before; whether all have now."""
        self.stage, self.variants = number, variants
        planned = self._planned(number, stage, variants)
        self.order |= {path: len(self.order) + place for place, path in enumerate(planned) if path not in self.order}
        for each in planned.values():
            claim_run(each.job.files, each.job.recipe)
        left = {}
        for path, each in planned.items():
            if result := finished_result(each.job):
                self._store(each, {"error": None, **result})
            else:
                left[path] = each
        title = f"stage {number} of {len(self.plan.stages)}" if stage else self.plan.space.name
        log.info(
            "%s: %d runs, %d finished before, %d at a time", title, len(planned), len(planned) - len(left), parallel
        )
        self.write(finished=False)
        clock = _Clock(parallel)

        def on_end(job: Job, error: str | None, seconds: float, progress: Progress) -> None:
            error = self._end(left[self._path(job.files)], error)
            log.info("%s: %s", job.title, f"failed: {error}" if error else f"done after {seconds:.0f} s")
            clock.ended(job, seconds)
            running, waiting = len(progress.running), len(progress.waiting)
            done = len(planned) - running - waiting
            log.info("%s: %d done, %d running, %d left%s", title, done, running, waiting, clock.left(progress))
            self.write(finished=False)

        return self.runner([each.job for each in left.values()], parallel, on_end, lock, command, deadline)

    def select(self, number: int, stage: Stage, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        """The variants that go on after a stage, in their order.

        Raises:
            LutraError: none of them finished.
        """
        rows = [row for row in self._summary() if row["seeds"]]
        if not rows:
            first = next(run["error"] for run in self.runs.values() if run["stage"] == number)
            raise LutraError(f"{self.root}: stage {number}: no run finished; the first: {first}")
        best = [row["variant"] for row in rows if not row["marked"]][: stage.keep]
        kept = tuple(variant for variant in variants if variant.marked or variant.name in best)
        dropped = [variant.name for variant in variants if variant not in kept]
        log.info("stage %d: %s go on; dropped: %s", number, _names(v.name for v in kept), _names(dropped))
        self.selections.append(
            {
                "stage": number,
                "set": stage.set,
                "kept": [variant.name for variant in kept],
                "dropped": dropped,
                "variants": rows,
            }
        )
        return kept

    def write(self, finished: bool) -> dict[str, Any]:
        """Write the record (at the end also table and figure) and return it."""
        used = {path for run in self._runs_of(self.stage) for path in run["baselines"].values()}
        record = {
            "name": self.plan.space.name,
            "finished": finished,
            "space": self.plan.space.model_dump(mode="json"),
            "base_recipe": self.plan.base.model_dump(mode="json"),
            "environment": environment(),
            "stage": self.stage,
            "variants": self._summary(),
            "baselines": [{**baseline, "used": path in used} for path, baseline in self._in_order(self.baselines)],
            "selections": self.selections,
            "runs": [self._with_recovery(run) for _, run in self._in_order(self.runs)],
        }
        record = _with_defaults(record)
        write_record(self.root / RECORD_NAME, ExplorationRecord, record)
        if finished:
            write_text(self.root / TABLE_NAME, markdown(record))
            if figure := pareto_figure(record):
                write_text(self.root / FIGURE_NAME, figure)
        return record

    def _planned(self, number: int, stage: Stage | None, variants: tuple[Variant, ...]) -> dict[str, _Planned]:
        """By run directory; seed after seed, the baselines of a seed first."""
        folder = f"stage-{number}" if stage else "runs"
        planned: dict[str, _Planned] = {}
        for seed in self.plan.seeds(stage):
            ours: dict[str, _Planned] = {}
            for variant in variants:
                recipe = self.plan.recipe(variant, seed, stage)
                shared = {}
                for ffn in BASELINES:
                    baseline = baseline_recipe(recipe, ffn)
                    shared[ffn] = f"baselines/{ffn}-{_hash_without_seed(baseline)}/seed-{seed}"
                    title = f"{ffn} baseline, seed {seed}"
                    job = Job(title, RunFiles(self.root / shared[ffn]), baseline, "evaluate")
                    planned.setdefault(shared[ffn], _Planned(job, {"ffn": ffn, "seed": seed}))
                path = f"{folder}/{variant.name}/seed-{seed}"
                last_step = self.last_step if recipe.model.ffn == "weightless" else "evaluate"
                job = Job(f"{variant.name}, seed {seed}", RunFiles(self.root / path), recipe, last_step)
                identity = {"stage": number, "variant": variant.name, "seed": seed, "baselines": shared}
                ours[path] = _Planned(job, identity)
            planned |= ours
        return planned

    def _end(self, planned: _Planned, error: str | None) -> str | None:
        """Store how a run ended; returns its error, if any."""
        result: dict[str, Any] = {}
        if error is None:
            try:
                result = read_result(planned.job)
            except LutraError as unreadable:
                error = str(unreadable)
        self._store(planned, {"error": error, **result})
        return error

    def _store(self, planned: _Planned, result: dict[str, Any]) -> None:
        path = self._path(planned.job.files)
        results = self.baselines if "ffn" in planned.identity else self.runs
        results[path] = {**planned.identity, "run": path, **result}

    def _in_order(self, results: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        return sorted(results.items(), key=lambda item: self.order[item[0]])

    def _path(self, files: RunFiles) -> str:
        return files.root.relative_to(self.root).as_posix()

    def _runs_of(self, stage: int) -> list[dict[str, Any]]:
        return [run for _, run in self._in_order(self.runs) if run["stage"] == stage]

    def _whole(self, stage: int) -> bool:
        """Whether the losses of a stage are those of whole models in integers."""
        runs = self._runs_of(stage)
        baselines = (self.baselines.get(path) for run in runs for path in run["baselines"].values())
        return whole_in_integers([*runs, *(baseline for baseline in baselines if baseline)])

    def _summary(self) -> list[dict[str, Any]]:
        runs = [self._with_recovery(run) for run in self._runs_of(self.stage)]
        return summarise(self.variants, runs, self._whole(self.stage))

    def _with_recovery(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run with its recovery, as soon as it and both baselines have finished."""
        whole = self._whole(run["stage"])
        results = {"ours": run, **{ffn: self.baselines.get(path) for ffn, path in run["baselines"].items()}}
        losses = {
            name: our_loss(result["validation_loss"], whole)
            for name, result in results.items()
            if result and result["error"] is None
        }
        complete = len(losses) == len(results)
        return {**run, "recovery": recovery(losses["none"], losses["ours"], losses["mlp"]) if complete else None}


class _Clock:
    """Time left, from the seconds that an iteration took in the runs that have ended."""

    def __init__(self, parallel: int) -> None:
        self.parallel, self.seconds, self.iterations = parallel, 0.0, 0

    def ended(self, job: Job, seconds: float) -> None:
        self.seconds += seconds
        self.iterations += job.recipe.train.iterations

    def left(self, progress: Progress) -> str:
        """Text; those that run count half."""
        waiting, running = (
            sum(job.recipe.train.iterations for job in jobs) for jobs in (progress.waiting, progress.running)
        )
        iterations = waiting + running / 2
        minutes = iterations * self.seconds / self.iterations / self.parallel / 60
        return f", about {minutes:.1f} min left" if iterations else ""


def _hash_without_seed(recipe: Recipe) -> str:
    return recipe.model_copy(update={"seed": 0}).content_hash()[:8]


def _names(names: Any) -> str:
    return ", ".join(names) or "none"
