"""Recorded scores of BERTs: grouped over seeds, and differences between two methods of the same run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lutra.papers.records import Records
from lutra.runs.schemas.recorded import BertRecord
from lutra.runs.typed import read_record

Entry = dict[str, Any]
"""One recorded run of a chain, as `lutra results add` writes it into `bert/TASK-seedN.json`."""


@dataclass(frozen=True)
class Sample:
    """One value per seed."""

    values: tuple[float, ...]
    base: str
    """The float checkpoint that all of them start from."""
    size_mib: float

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def standard_deviation(self) -> float | None:
        """Of the sample; None for a single seed."""
        if len(self.values) < 2:
            return None
        return math.sqrt(sum((value - self.mean) ** 2 for value in self.values) / (len(self.values) - 1))

    @property
    def spread(self) -> str:
        """The standard deviation and the number of seeds, in words."""
        deviation = self.standard_deviation
        return "one seed" if deviation is None else f"± {deviation:.2f} over {len(self.values)} seeds"


def read_entries(records: Records) -> list[Entry]:
    """Every recorded run of a chain in `records`.

    Raises:
        InputError: a file is not one of the record.
    """
    entries: list[Entry] = []
    for path in records.files("bert"):
        found: list[Entry] = read_record(path, BertRecord, "results add")["results"]
        entries += [entry for entry in found if entry["methods"]]
    return entries


def scores(entries: list[Entry], task: str, method: str, split: str | None = None) -> Sample | None:
    """The method's scores on a task's development set, in points; None where there is none.

    Seeds belong together when all else in their recipes is equal; of several such groups the largest is taken, of
    equally large ones the one recorded last.
    """
    with_method = [entry for entry in entries if entry["task"] == task and method in entry["methods"]]
    return _sample(with_method, method, lambda entry: _score(entry, method, split))


def robustness(entries: list[Entry], task: str, method: str, engine: str | None = None) -> Sample | None:
    """The method's R where it was measured, on `engine` if one is named, and is finite, over seeds as in `scores`; None
    where there is none.
    """
    measured = [
        entry
        for entry in entries
        if entry["task"] == task
        and isinstance((found := _robustness(entry, method)).get("ratio"), int | float)
        and engine in (None, found.get("engine", "torch"))
    ]
    return _sample(measured, method, lambda entry: float(_robustness(entry, method)["ratio"]))


def _robustness(entry: Entry, method: str) -> dict[str, Any]:
    return entry["methods"].get(method, {}).get("robustness") or {}


def difference(entries: list[Entry], task: str, method: str, other: str) -> Sample | None:
    """How many points more `method` has than `other` in the same run, over seeds as in `scores`."""
    with_both = [entry for entry in entries if entry["task"] == task and {method, other} <= entry["methods"].keys()]
    return _sample(with_both, method, lambda entry: _score(entry, method) - _score(entry, other))


def _score(entry: Entry, method: str, split: str | None = None) -> float:
    return float(entry["methods"][method]["dev"][split or entry["dev_split"]][entry["metric"]])


def _sample(entries: list[Entry], method: str, value: Any) -> Sample | None:
    groups: dict[str, dict[int, Entry]] = {}
    for entry in sorted(entries, key=lambda entry: str(entry["recorded"])):
        groups.setdefault(entry["recipe"]["settings"], {})[entry["recipe"]["seed"]] = entry
    if not groups:
        return None
    largest = max(
        groups.values(), key=lambda group: (len(group), max(str(entry["recorded"]) for entry in group.values()))
    )
    last = list(largest.values())[-1]
    values = tuple(value(largest[seed]) for seed in sorted(largest))
    return Sample(values, str(last["checkpoint"]["name"]), float(last["methods"][method]["size_mib"]))
