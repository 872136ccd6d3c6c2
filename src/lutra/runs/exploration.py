"""What the record of an exploration says: which losses stand beside each other, and which baselines beside what."""

from __future__ import annotations

from collections.abc import Iterable
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


def whole_in_integers(results: Iterable[dict[str, Any]]) -> bool:
    """Whether every run and baseline that ended well was evaluated whole in integers, so that such losses compare.

    A model of which only the blocks can be frozen has baselines without any integers.
    """
    return all("golden" in result["validation_loss"] for result in results if result["error"] is None)


def our_loss(losses: dict[str, float], whole: bool) -> float:
    """The loss that counts: `whole` in integers, or of integer blocks (where there are some) in a float model."""
    return losses["golden"] if whole else losses.get("fake_quantised", losses["float"])


def of_latest_stage(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of the latest stage and the baselines that it uses."""
    runs = [run for run in record["runs"] if run["stage"] == record["stage"]]
    return [*runs, *(baseline for baseline in record["baselines"] if baseline["used"])]


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
