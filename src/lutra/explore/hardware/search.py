"""Searches a space of hardware: every point, by the functions that the RTL is checked against; resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.bat.latency import BUILT
from lutra.accelerators.bat.resources import UnitFits
from lutra.accelerators.bat.search import MethodResult, buildable, choice, evaluate, steps, with_resources
from lutra.accelerators.bat.search import Space as Grid
from lutra.errors import RunDirectoryError
from lutra.explore.hardware.record import RECORD_NAME, HardwareSearch, kind_of_exploration, read_search
from lutra.explore.hardware.space import KIND, HardwarePlan, described, marked_module
from lutra.explore.pareto import pareto_set
from lutra.explore.processes import exclusive
from lutra.papers.bmt.units import recorded_units
from lutra.papers.records import RECORDED, Records
from lutra.runs.environment import environment
from lutra.runs.files import is_foreign
from lutra.runs.typed import write_record

log = logging.getLogger("lutra.explore")

WRITE_SHARE = 0.1
"""Of the time: so often is a record written that grows."""
NAMES = {"units": "our syntheses", "paper": "the paper's Table 6, scaled"}
"""Of the two columns of resources."""
_COSTS = {"latency": "cycles", "lut": "lut", "energy": "energy_j"}


@dataclass(frozen=True)
class _Task:
    """One method on one grid."""

    grid: Grid
    compared: bool
    """For the page only."""

    @property
    def key(self) -> str:
        grid = self.grid
        return f"{grid.methods[0].name}, p_pe {grid.p_pe}, p_softmax {grid.p_softmax}, {grid.sums}"


def search(plan: HardwarePlan, root: Path, records: Records | None = None) -> dict[str, Any]:
    """Search what has not been searched yet; write and return the record.

    Raises:
        RunDirectoryError: `root` belongs to another exploration, or is in use.
        InputError: a unit of BAT is recorded for too few sizes.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    fits = recorded_units(records or Records(RECORDED))
    identity = _identity(plan, fits)
    _claim(plan, root)
    with exclusive(root):
        record = _open(plan, root, identity)
        record["columns"] = [name for name in NAMES if name == "paper" or fits is not None]
        done = {entry["key"] for entry in record["entries"]}
        tasks = [task for task in _tasks(plan) if task.key not in done]
        log.info(
            "%s: %d points; %d of %d methods to search",
            plan.space.name,
            plan.points,
            len(tasks),
            len(tasks) + len(done),
        )
        next_write = time.monotonic() + 1.0
        try:
            for number, task in enumerate(tasks, start=1):
                start, cpu = time.perf_counter(), time.process_time()
                record["entries"].append(_entry(plan, task, fits))
                if not task.compared:
                    record["seconds"] += time.perf_counter() - start
                    record["cpu_seconds"] += time.process_time() - cpu
                if time.monotonic() > next_write:
                    log.info("%s: %d of %d methods", plan.space.name, number, len(tasks))
                    start = time.monotonic()
                    write_record(root / RECORD_NAME, HardwareSearch, record)
                    next_write = time.monotonic() + max(1.0, (time.monotonic() - start) / WRITE_SHARE)
        finally:
            record["peak_mib"] = max(record["peak_mib"], _peak_mib())
            write_record(root / RECORD_NAME, HardwareSearch, record)
        record |= _conclusions(plan, record)
        record["finished"] = True
        write_record(root / RECORD_NAME, HardwareSearch, record)
    return record


def _claim(plan: HardwarePlan, root: Path) -> None:
    path = root / RECORD_NAME
    if path.exists():
        kind, name = kind_of_exploration(path)
        if (kind, name) != (KIND, plan.space.name):
            raise RunDirectoryError(f"{root}: belongs to the exploration {name}; choose another folder (--out)")
    elif is_foreign(root, path):
        raise RunDirectoryError(f"{root}: not an exploration and not empty; choose another folder (--out)")
    root.mkdir(parents=True, exist_ok=True)


def _open(plan: HardwarePlan, root: Path, identity: str) -> dict[str, Any]:
    """What is there, if it followed from the same; otherwise an empty record."""
    path = root / RECORD_NAME
    if path.exists() and (there := read_search(path))["identity"] == identity:
        return there
    if path.exists():
        log.info("%s: space, syntheses or Lutra have changed; searching afresh", plan.space.name)
    return {
        "kind": KIND,
        "name": plan.space.name,
        "finished": False,
        "identity": identity,
        **described(plan),
        "device": asdict(plan.device),
        "environment": environment(),
        "points": plan.points,
        "seconds": 0.0,
        "cpu_seconds": 0.0,
        "peak_mib": 0.0,
        "entries": [],
    }


def _identity(plan: HardwarePlan, fits: UnitFits | None) -> str:
    """Of all that a result follows from: the space, scores, device, syntheses, timing, and Lutra's version."""
    content = {
        **described(plan),
        "device": asdict(plan.device),
        "units": None if fits is None else fits.content(),
        "timing": asdict(BUILT),
        "lutra": environment()["lutra"],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _tasks(plan: HardwarePlan) -> Iterator[_Task]:
    for compared, grids in ((False, plan.grids), (True, plan.compared)):
        for grid in grids:
            for method in grid.methods:
                yield _Task(replace(grid, methods=(method,)), compared)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _entry(plan: HardwarePlan, task: _Task, fits: UnitFits | None) -> dict[str, Any]:
    """A method on a grid, in both columns of resources."""
    grid, (method,) = task.grid, task.grid.methods
    built = buildable(grid, method)
    pairs = np.logical_and.outer(built, built)
    scored = plan.scores[method.name]
    (of_paper,) = evaluate(grid, None)
    columns = {"paper": of_paper} | ({} if fits is None else {"units": with_resources(grid, of_paper, fits)})
    return {
        "key": task.key,
        "compared": task.compared,
        "method": method.name,
        "copies": method.copies,
        "bits": method.bits,
        "heads": method.heads,
        "intermediate": method.intermediate,
        "p_pe": grid.p_pe,
        "p_softmax": grid.p_softmax,
        "sums": grid.sums,
        "accuracy": scored.accuracy,
        "robustness": scored.robustness,
        "points": pairs.size,
        "buildable": int(pairs.sum()),
        "columns": {name: _column(plan, task, result, built, pairs) for name, result in columns.items()},
    }


def _column(
    plan: HardwarePlan, task: _Task, result: MethodResult, built: np.ndarray, pairs: np.ndarray
) -> dict[str, Any]:
    """What one column of resources says of a method."""
    grid, limits, needs = task.grid, plan.space.limits, result.needs(plan.device)
    cycles, contenders = result.pair_cycles(), pairs & result.contenders(built)
    allowed = pairs & (needs < limits.fraction)
    if limits.milliseconds is not None:
        allowed &= cycles <= limits.milliseconds * 1e-3 * grid.clock_hz
    best = allowed
    if limits.bytes_per_second is not None:  # which a slower pair may keep to where a faster one does not
        allowed &= result.bytes_per_cycle() * grid.clock_hz <= limits.bytes_per_second
    else:
        best = allowed & contenders
    chosen = _Points(plan, grid, result)
    return {
        "feasible": int(allowed.sum()),
        "needs": [
            [int(cycles[place]), round(float(needs[place]), 5), *place] for place in steps(result, contenders, needs)
        ],
        "frontier": [] if task.compared else [chosen.at(place) for place in _frontier(plan, grid, result, best)],
        **_marked(plan, task, result, chosen),
    }


def _frontier(plan: HardwarePlan, grid: Grid, result: MethodResult, allowed: np.ndarray) -> list[tuple[int, int]]:
    """Allowed places that no other one beats in the objectives that hardware decides, the fastest first."""
    luts = result.use("lut_packed")
    if "energy" not in plan.space.objectives:
        return steps(result, allowed, luts)
    cycles, energy_j = result.pair_cycles(), result.pair_energy_j(grid.clock_hz)
    left = allowed.copy()
    for place in (*steps(result, allowed, luts), *steps(result, allowed, energy_j)):  # which beat most of the others
        no_better = (cycles >= cycles[place]) & (luts >= luts[place]) & (energy_j >= energy_j[place])
        left &= ~no_better | ((cycles == cycles[place]) & (luts == luts[place]) & (energy_j == energy_j[place]))
    places = [(int(first), int(second)) for first, second in np.argwhere(left)]
    kept = pareto_set(np.stack([cycles[left], luts[left], energy_j[left]], 1).tolist(), [False] * 3)
    return sorted((places[index] for index in kept), key=lambda place: (cycles[place], luts[place]))


class _Points:
    """What the record says of pairs."""

    def __init__(self, plan: HardwarePlan, grid: Grid, result: MethodResult) -> None:
        self.device, self.grid, self.result = plan.device, grid, result
        self.modules = grid.modules
        self.energy_j, self.rate = result.pair_energy_j(grid.clock_hz), result.bytes_per_cycle() * grid.clock_hz

    def at(self, place: tuple[int, int]) -> dict[str, Any]:
        chosen = choice(self.grid, self.result, place)
        use, device = chosen.use, self.device
        return {
            "attention": list(self.modules[place[0]]),
            "feed_forward": list(self.modules[place[1]]),
            "cycles": chosen.cycles,
            "milliseconds": chosen.milliseconds,
            "lut": round(use.lut_packed),
            "ff": round(use.ff),
            "bram": round(use.bram, 1),
            "dsp": round(use.dsp),
            "needs": max(use.lut_packed / device.lut, use.ff / device.ff, use.bram / device.bram, use.dsp / device.dsp),
            "energy_j": float(self.energy_j[place]),
            "bytes_per_second": float(self.rate[place]),
        }


def _marked(plan: HardwarePlan, task: _Task, result: MethodResult, points: _Points) -> dict[str, Any]:
    marked, grid = plan.space.marked, task.grid
    if marked is None or marked.method != result.method.name or task.compared:
        return {}
    modules = [marked_module(grid, values, "marked") for values in (marked.attention, marked.feed_forward)]
    return {"marked": points.at((grid.index(modules[0]), grid.index(modules[1])))}


def _conclusions(plan: HardwarePlan, record: dict[str, Any]) -> dict[str, Any]:
    """Across methods: what to build; points of the Pareto sets get `pareto`."""
    entries = [entry for entry in record["entries"] if not entry["compared"]]
    for name in record["columns"]:
        _mark_pareto(plan, entries, name)
    return {
        "constraints": _constraints(plan, entries),
        "chosen": {name: _choose(plan, entries, name) for name in record["columns"]},
    }


def pareto_points(record: dict[str, Any], column: str) -> list[dict[str, Any]]:
    """The Pareto set of a finished record, the fastest first."""
    points = [
        {**_of(entry), **point}
        for entry in record["entries"]
        for point in entry["columns"].get(column, {}).get("frontier", ())
        if point.get("pareto")
    ]
    return sorted(points, key=lambda point: (point["cycles"], point["lut"], point["method"]))


def _mark_pareto(plan: HardwarePlan, entries: list[dict[str, Any]], column: str) -> None:
    """Points that no other one beats in the objectives. Where no training is behind a method only its own points count:
    of two such methods nobody knows which is better."""
    groups: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for entry in entries:
        group = entry["method"] if entry["accuracy"] is None else ""
        groups.setdefault(group, []).extend((entry, point) for point in entry["columns"][column]["frontier"])
    for pairs in groups.values():
        costs = [_costs(plan, entry, point) for entry, point in pairs]
        best = set(pareto_set(costs, [False] * len(costs[0]))) if costs else set()
        for index, (_, point) in enumerate(pairs):
            point["pareto"] = index in best


def _of(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("method", "p_pe", "p_softmax", "sums", "accuracy", "robustness")}


def _costs(plan: HardwarePlan, entry: dict[str, Any], point: dict[str, Any]) -> list[float]:
    """Objectives, all to be small; what is not known is worse than all that is."""
    scores = [-(entry[name] or 0.0) for name in ("accuracy", "robustness") if name in plan.space.objectives]
    return scores + [float(point[_COSTS[name]]) for name in _COSTS if name in plan.space.objectives]


def _constraints(plan: HardwarePlan, entries: list[dict[str, Any]]) -> dict[str, float | None]:
    """The least accuracy and robustness that limits allow, as far as they say so."""
    limits = plan.space.limits
    least = None if limits.accuracy_loss is None or plan.full is None else plan.full - limits.accuracy_loss
    known = sorted({entry["method"]: entry["robustness"] for entry in entries if entry["robustness"]}.values())
    quantile = limits.robustness_quantile
    return {
        "accuracy": least,
        "robustness": float(np.quantile(known, quantile)) if quantile is not None and known else None,
    }


def _choose(plan: HardwarePlan, entries: list[dict[str, Any]], column: str) -> dict[str, Any]:
    """The fastest of all, and the fastest that meets all constraints; None where there is none."""
    least = _constraints(plan, entries)
    with_points = [entry for entry in entries if entry["columns"][column]["frontier"]]

    def fastest(some: list[dict[str, Any]]) -> dict[str, Any] | None:
        points = [{**_of(entry), **entry["columns"][column]["frontier"][0]} for entry in some]
        return min(points, key=lambda point: (point["cycles"], point["lut"]), default=None)

    meets = [
        entry
        for entry in with_points
        if all(bound is None or (entry[name] is not None and entry[name] >= bound) for name, bound in least.items())
    ]
    constrained = any(bound is not None for bound in least.values())
    return {"fastest": fastest(with_points), "best": fastest(meets), "constrained": constrained}
