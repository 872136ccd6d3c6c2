"""Training logs for TensorBoard or Weights & Biases, where LUTRA_TRACKER asks for one: every line of ours, as it comes.

What `log.jsonl` says stays what counts; a tracker gets the same figures, and nothing is read back from it. A training
that goes on from a checkpoint sends its later lines again, to the same place.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lutra import settings
from lutra.errors import InputError
from lutra.names import shown

TRACKERS = ("tensorboard", "wandb")


class Tracker(Protocol):
    """Where the figures of one training go."""

    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        """Send what of `figures` is a number, nested ones by their path ("dev/accuracy")."""

    def close(self) -> None:
        """Send all of it."""


def open_tracker(folder: Path | None) -> Tracker:
    """The tracker of the training whose log is in `folder`: TensorBoard's events or W&B's files come beside the log.

    A training without a folder keeps no log, and has no tracker.

    Raises:
        InputError: LUTRA_TRACKER names none that there is, or one that is not installed or cannot start.
    """
    wanted = settings.TRACKER.text
    if wanted is None or folder is None:
        return _Nothing()
    if wanted not in TRACKERS:
        raise InputError(f"LUTRA_TRACKER: {shown(wanted)} is no tracker; it may be {' or '.join(TRACKERS)}")
    try:
        importlib.import_module(wanted)
    except ImportError:
        raise InputError(f"LUTRA_TRACKER: {wanted} is not installed; pip install {wanted}") from None
    return _TensorBoard(folder) if wanted == "tensorboard" else _WeightsAndBiases(folder)


class _Nothing:
    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard:
    """Fabric's logger, in `folder`/tensorboard."""

    def __init__(self, folder: Path) -> None:
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        self._logger = TensorBoardLogger(folder, name="tensorboard", version="")

    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        self._logger.log_metrics(numbers(figures), step)

    def close(self) -> None:
        self._logger.finalize("success")


class _WeightsAndBiases:
    """A run of W&B, its files in `folder`/wandb. Whether they leave the machine is up to a login and WANDB_MODE."""

    def __init__(self, folder: Path) -> None:
        wandb = importlib.import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        try:
            self._run = wandb.init(project="lutra", name=str(folder), id=identity, dir=str(folder), resume="allow")
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise InputError(f"LUTRA_TRACKER: wandb: {reason}; WANDB_MODE=offline needs no login") from None

    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        self._run.log(numbers(figures), step=step)

    def close(self) -> None:
        self._run.finish()


def numbers(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a log line by their path; truth values, words and what is missing are left out."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + name] = value
    return found
