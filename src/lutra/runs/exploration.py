"""What the record of an exploration says of the baselines that its variants were compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BaselineGroup:
    """The trainings of one baseline, seed after seed, and the variants whose recovery is taken against them."""

    ffn: str
    folder: str
    """Of all seeds, in the folder of the exploration."""
    variants: tuple[str, ...]
    losses: tuple[dict[str, float], ...]
    """By arithmetic, of each seed."""
    shared: bool
    """By all variants: they differ in their blocks alone."""


def baseline_groups(record: dict[str, Any]) -> list[BaselineGroup]:
    """The baselines of the latest stage that ended well; several of a kind where variants differ outside of blocks."""
    compared: dict[str, dict[str, None]] = {}
    for run in record["runs"]:
        if run["stage"] == record["stage"]:
            for path in run["baselines"].values():
                compared.setdefault(_folder(path), {})[run["variant"]] = None
    trainings: dict[str, list[dict[str, Any]]] = {}
    for baseline in record["baselines"]:
        if baseline["used"] and baseline["error"] is None:
            trainings.setdefault(_folder(baseline["run"]), []).append(baseline)
    kinds = [runs[0]["ffn"] for runs in trainings.values()]
    return [
        BaselineGroup(
            ffn=runs[0]["ffn"],
            folder=folder,
            variants=tuple(compared.get(folder, ())),
            losses=tuple(run["validation_loss"] for run in runs),
            shared=kinds.count(runs[0]["ffn"]) == 1,
        )
        for folder, runs in trainings.items()
    ]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
