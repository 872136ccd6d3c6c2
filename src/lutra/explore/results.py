"""What a finished run says, and what the runs of a variant say together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from lutra.cost.weightless import inference_counts
from lutra.errors import LutraError, RunDirectoryError
from lutra.explore.pareto import pareto_set
from lutra.explore.processes import Job
from lutra.explore.space import Variant
from lutra.frozen import store
from lutra.frozen.graph import as_weightless
from lutra.runs.exploration import our_loss
from lutra.runs.files import RunFiles
from lutra.runs.record import finished_steps
from lutra.runs.schemas.training import LogLine
from lutra.runs.typed import read_evidence, read_lines

COSTS = {
    "luts": "LUTs",
    "distinct_comparators": "comparators",
    "additions_per_token": "additions per token",
    "encoded_bytes": "bytes of E",
}
"""The costs that a variant is judged by, summed over the blocks of a model; see `InferenceCounts`."""


def finished_result(job: Job) -> dict[str, Any] | None:
    """The result of a job that has run to its last step before, or None."""
    try:
        recorded = finished_steps(job.files).get(job.last_step, {}).get("recipe") == job.recipe.content_hash()
        return read_result(job) if recorded else None
    except LutraError:  # a file is missing or damaged: `lutra run` makes it again
        return None


def read_result(job: Job) -> dict[str, Any]:
    """What a run measured of its best checkpoint and of its last iteration.

    `validation_loss` by arithmetic and `cost` (None without weightless blocks) are of the best checkpoint;
    `last_validation_loss` and `training_seconds` are what training ended with.

    Raises:
        RunDirectoryError, FrozenModelError: a file is missing or damaged.
    """
    weightless = job.recipe.model.ffn == "weightless"
    last_validation_loss, training_seconds = _end_of_training(job.files)
    return {
        "validation_loss": read_evidence(job.files, job.recipe, "evaluate")["validation_loss"],
        "cost": inference_cost(job.files) if weightless else None,
        "last_validation_loss": last_validation_loss,
        "training_seconds": training_seconds,
    }


def inference_cost(files: RunFiles) -> dict[str, float]:
    """Counts of all frozen blocks of a run together, by the names of `InferenceCounts`."""
    total: dict[str, float] = {}
    for graph in store.load(files.frozen).graphs:
        for name, count in dataclasses.asdict(inference_counts(as_weightless(graph))).items():
            total[name] = total.get(name, 0) + count
    return total


def _end_of_training(files: RunFiles) -> tuple[float, float]:
    """The loss of the last evaluation, and the seconds over all calls, however often the training was stopped."""
    lines = read_lines(files.train_log, LogLine, f"delete {files.root} and run again")
    if not lines:
        raise RunDirectoryError(f"{files.train_log}: holds no evaluation; delete {files.root} and run again")
    return lines[-1]["validation_loss"], lines[-1].get("seconds", 0.0)


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean, sample standard deviation (None below two values), range and count; None without values."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "mean": statistics.fmean(values),
        "standard_deviation": deviation,
        "min": min(values),
        "max": max(values),
        "count": len(values),
    }


def summarise(variants: Sequence[Variant], runs: Sequence[dict[str, Any]], whole: bool) -> list[dict[str, Any]]:
    """One row per variant over its seeds, the best first; `pareto` says which no other variant beats.

    The objectives are mean recovery and the mean costs. `runs` are results of one stage; `whole` says which losses
    count (see `our_loss`).
    """
    rows = [_row(variant, [run for run in runs if run["variant"] == variant.name], whole) for variant in variants]
    judged = [row for row in rows if row["recovery"] and row["cost"]]
    points = [[row["recovery"]["mean"], *(row["cost"][name] for name in COSTS)] for row in judged]
    best = [judged[position]["variant"] for position in pareto_set(points, [True, *(False for _ in COSTS)])]
    return [{**row, "pareto": row["variant"] in best} for row in sorted(rows, key=_rank)]


def _row(variant: Variant, runs: list[dict[str, Any]], whole: bool) -> dict[str, Any]:
    done = [run for run in runs if run["error"] is None]
    costs = [run["cost"] for run in done if run["cost"]]
    losses = [our_loss(run["validation_loss"], whole) for run in done]
    last_losses = [run["last_validation_loss"] for run in done]
    arithmetics = done[0]["validation_loss"] if done else ()
    return {
        "variant": variant.name,
        "group": variant.group,
        "marked": variant.marked,
        "seeds": [run["seed"] for run in done],
        "failed_seeds": [run["seed"] for run in runs if run["error"] is not None],
        "recovery": spread([run["recovery"] for run in done if run["recovery"] is not None]),
        "loss": spread(losses),
        "last_loss": spread(last_losses),
        "validation_loss": {name: spread([run["validation_loss"][name] for run in done]) for name in arithmetics},
        "cost": {name: statistics.fmean(cost[name] for cost in costs) for name in costs[0]} if costs else None,
        "training_seconds": statistics.fmean(run["training_seconds"] for run in done) if done else None,
    }


def _rank(row: dict[str, Any]) -> tuple[int, float]:
    """The best recovery first, then what has a loss only, then what has nothing."""
    if row["recovery"]:
        return 0, -row["recovery"]["mean"]
    return (1, row["loss"]["mean"]) if row["loss"] else (2, 0.0)
