"""Training of one run: resumable to the bit, one schedule from the first iteration to the last; a task says of what.

What an iteration draws at random (batch, dropout) is a function of (seed, iteration) alone; `last.safetensors` holds
everything else, so that a process killed at any moment goes on as if nothing had happened: on the CPU, with the same
number of threads, the numbers are the same to the last bit. (A GPU's sums are not reproducible to the bit.)
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from lutra.errors import CheckpointError, RunDirectoryError, TrainingError
from lutra.nn.calibrate import calibrate_
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import TrainConfig
from lutra.recipes.sections import Experiment
from lutra.runs.claim import claim_run
from lutra.runs.files import RunFiles, clear_leftovers
from lutra.runs.schemas.training import LogLine
from lutra.runs.schemas.values import Amount, Count, Real
from lutra.runs.typed import read_lines, write_lines
from lutra.train.checkpoint import (
    OPTIMISER_PREFIX,
    STATE,
    Trainable,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    state_of,
)
from lutra.train.optimiser import (
    create_optimiser,
    learning_rate_shape,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rates,
)
from lutra.train.session import ProgressLine, StopRequest
from lutra.train.tracker import Tracker, open_tracker

_DROPOUT_STREAM = 2
"""Keeps the draws of dropout apart from other draws of the same recipe seed and iteration."""

Forward = Callable[[Tensor], Tensor]
"""The model as the trainer calls it, in its precision and on its device."""


class TrainableRecipe(Protocol):
    """What the trainer reads of a recipe."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def train(self) -> TrainConfig: ...
    def content_hash(self) -> str: ...


class Task(Protocol):
    """What is trained: a model, its data and its losses."""

    @property
    def model(self) -> Trainable: ...

    @property
    def keeps(self) -> Literal["best", "last"]:
        """Which evaluated model counts: that of the smallest validation loss, or the last one."""

    def calibration_input(self) -> Tensor:
        """What thresholds are calibrated on: a batch as the model takes it."""

    def loss(self, forward: Forward, iteration: int, device: torch.device) -> Tensor:
        """The training loss of an iteration's batch."""

    def evaluate(self) -> dict[str, float]:
        """`validation_loss`, and what else the log should have, of the model as it is."""


def train(
    files: RunFiles, recipe: Experiment, create_task: Callable[[], Task], max_minutes: float | None = None
) -> dict[str, Any]:
    """Train until the recipe's last iteration, going on where an earlier call stopped.

    Ctrl-C, SIGTERM and `max_minutes` stop after the present iteration with a checkpoint.

    Returns:
        `iterations` done, `finished`, `stopped` (None, "interrupt" or "time limit"), `validation_loss` (the latest),
        `best_validation_loss`, `best_iteration`, `seconds` of training over all calls. "Best" is among evaluations of
        integer (fake-quantised) blocks as soon as training has reached its quantised part, see
        `TrainConfig.quantise_fraction`; or the last one, for a task that keeps the last.

    Raises:
        RunDirectoryError: the folder belongs to another recipe.
        CheckpointError: the folder's last checkpoint is corrupted.
        TrainingError: a loss or a gradient is not a number; no file is overwritten then.
        InputError: LUTRA_TRACKER names no tracker that is installed.
    """
    claim_run(files, recipe)
    clear_leftovers(files.root)
    tracker = open_tracker(files.train_log.parent)
    with contextlib.closing(tracker), StopRequest(max_minutes) as stop:
        training = _Training(files, recipe, create_task(), tracker)  # type: ignore[arg-type]
        with ProgressLine(recipe.name, training.state.iteration, training.config.iterations) as progress:
            stopped = training.go_on(stop, progress)
    return training.summary(stopped)


def train_all(
    files: RunFiles,
    baselines: tuple[str, ...],
    train_one: Callable[[RunFiles, str, float | None], dict[str, Any]],
    max_minutes: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Train baselines, each into `run.baseline(ffn)`; `max_minutes` holds for all of them together.

    Returns:
        The result of `train` by ffn. The baseline that was stopped is the last one in it.
    """
    begin = time.perf_counter()
    results: dict[str, dict[str, Any]] = {}
    for ffn in baselines:
        left = None if max_minutes is None else max_minutes - (time.perf_counter() - begin) / 60
        results[ffn] = train_one(files.baseline(ffn), ffn, left)
        if not results[ffn]["finished"]:
            break
    return results


@checked_dataclass(config=STATE)
class _State:
    """What `last.safetensors` remembers beside tensors; losses in nats, `loss_sum` since the latest evaluation."""

    iteration: Count = 0
    validation_loss: Real | None = None
    best_validation_loss: Real | None = None
    best_iteration: Count | None = None
    loss_sum: Real = 0.0
    loss_count: Count = 0
    seconds: Amount = 0.0


class _Training:
    """Model, optimiser and state of one run, in memory."""

    def __init__(self, files: RunFiles, recipe: TrainableRecipe, task: Task, tracker: Tracker) -> None:
        self.run, self.recipe, self.config, self.task, self.tracker = files, recipe, recipe.train, task, tracker
        self.model = task.model
        self.blocks = weightless_blocks(self.model)
        self.quantise_at = round(self.config.iterations * (1 - self.config.quantise_fraction))
        fraction = self.config.mapping_fraction
        self.freeze_mapping_at = None if fraction is None else round(self.config.iterations * fraction)
        self.fabric = Fabric(accelerator="auto", devices=1, precision=self.config.precision)
        self.adamw = create_optimiser(self.model, self.config)
        self.trained, self.optimiser = self.fabric.setup(self.model, self.adamw)
        self.state = _State()
        self.log: list[dict[str, Any]] = []
        self.saved_at: int | None = None
        if files.last_checkpoint.exists():
            self._resume()

    def go_on(self, stop: StopRequest, progress: ProgressLine) -> str | None:
        """Train to the end (None), or until asked to stop (the reason)."""
        if self.saved_at is None:
            self._calibrate()
            self._arrive(progress)
        while self.state.iteration < self.config.iterations:
            if reason := stop.reason:
                self._save()
                done = f"stopped by {reason} at iteration {self.state.iteration} of {self.config.iterations}"
                progress.message(f"{done}; the same command goes on from there")
                return reason
            begin = time.perf_counter()
            loss = self._step()
            seconds = time.perf_counter() - begin
            self.state.seconds += seconds
            progress.iteration(self.state.iteration, loss, seconds)
            self._arrive(progress)
        return None

    def summary(self, stopped: str | None) -> dict[str, Any]:
        return {
            "iterations": self.state.iteration,
            "finished": self.state.iteration == self.config.iterations,
            "stopped": stopped,
            "validation_loss": self.state.validation_loss,
            "best_validation_loss": self.state.best_validation_loss,
            "best_iteration": self.state.best_iteration,
            "seconds": self.state.seconds,
        }

    def _calibrate(self) -> None:
        self.model.eval()
        if self.blocks:
            calibrate_(self.model, self.task.calibration_input().to(self.fabric.device))
        self.model.train()

    def _step(self) -> float:
        """One update of the weights; returns the training loss before it."""
        config, iteration = self.config, self.state.iteration
        set_learning_rates(self.adamw, config, iteration)
        seeds = np.random.SeedSequence((self.recipe.seed, _DROPOUT_STREAM, iteration))
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        loss = self.task.loss(self.trained, iteration, self.fabric.device)
        value = self._require_finite(loss.item(), "training loss")
        self.fabric.backward(loss)
        norm = self._require_finite(self.adamw.gradient_norm(), "norm of the gradient")
        limit = config.gradient_clip or math.inf
        self.adamw.step(scale=min(1.0, limit / (norm + 1e-6)))
        self.adamw.zero_grad()
        for block in self.blocks.values():
            block.constrain_thresholds_()
        self.state.iteration += 1
        self.state.loss_sum += value
        self.state.loss_count += 1
        return value

    def _require_finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            kept = "nothing was saved yet" if self.saved_at is None else f"the checkpoint of {self.saved_at} is kept"
            raise TrainingError(
                f"{self.recipe.name}: iteration {self.state.iteration}: the {what} is {value} ({kept}); "
                "try smaller learning rates or gradient_clip"
            )
        return value

    def _arrive(self, progress: ProgressLine) -> None:
        """Whatever is due at the iteration just reached; when it has been saved, all of it has been done."""
        iteration = self.state.iteration
        if iteration == self.freeze_mapping_at:
            self._freeze_mappings()
        if self.blocks and iteration == self.quantise_at:
            for block in self.blocks.values():
                block.quantise_()
            self.state.best_validation_loss = self.state.best_iteration = None
        last = iteration == self.config.iterations
        evaluation_due = last or iteration % self.config.evaluate_every == 0
        if evaluation_due:
            self._evaluate(progress)
        if evaluation_due or iteration % self.config.checkpoint_every == 0:
            self._save()

    def _freeze_mappings(self) -> None:
        for block in self.blocks.values():
            block.freeze_mapping_()

    def _evaluate(self, progress: ProgressLine) -> None:
        """Loss on the whole validation set, a new best checkpoint if it is one, and a line in the log."""
        state, config = self.state, self.config
        begin = time.perf_counter()
        figures = self.task.evaluate()
        loss = figures["validation_loss"]
        state.seconds += time.perf_counter() - begin
        state.validation_loss = self._require_finite(loss, "validation loss")
        kept = self.task.keeps == "last" or state.best_validation_loss is None or loss < state.best_validation_loss
        if kept:
            state.best_validation_loss, state.best_iteration = loss, state.iteration
            save_checkpoint(self.run.best_checkpoint, self.model.weights(), self._metadata())
        floor = config.min_learning_rate / config.learning_rate
        self.log.append(
            {
                "iteration": state.iteration,
                "train_loss": state.loss_sum / state.loss_count if state.loss_count else None,
                **figures,
                "quantised": bool(self.blocks) and state.iteration >= self.quantise_at,
                "learning_rate": config.learning_rate * learning_rate_shape(config, state.iteration, floor),
                "seconds": round(state.seconds, 3),
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0
        write_lines(self.run.train_log, LogLine, self.log)
        self.tracker.log(state.iteration, self.log[-1])
        trained = self.log[-1]["train_loss"]
        train_text = "" if trained is None else f"training loss {trained:.4f}, "
        found = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        progress.message(f"iteration {state.iteration}/{config.iterations}: {train_text}{found}")

    def _metadata(self) -> dict[str, Any]:
        return {"recipe_hash": self.recipe.content_hash(), "state": asdict(self.state)}

    def _save(self) -> None:
        """The last checkpoint, unless it is there already."""
        if self.saved_at == self.state.iteration:
            return
        optimiser = optimiser_tensors(self.adamw, self.model)
        prefixed = {f"{OPTIMISER_PREFIX}{name}": tensor for name, tensor in optimiser.items()}
        save_checkpoint(self.run.last_checkpoint, {**self.model.weights(), **prefixed}, self._metadata())
        self.saved_at = self.state.iteration

    def _resume(self) -> None:
        path = self.run.last_checkpoint
        tensors, metadata = read_checkpoint(path)
        if metadata.get("recipe_hash") != self.recipe.content_hash():
            raise RunDirectoryError(f"{path} belongs to another recipe than {self.run.recipe}; choose another folder")
        load_weights(self.model, tensors, path)
        optimiser = {
            name.removeprefix(OPTIMISER_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(OPTIMISER_PREFIX)
        }
        load_optimiser_tensors(self.adamw, self.model, optimiser, path)
        self.state = state_of(metadata, _State, path)
        if self.state.iteration and not optimiser:
            raise CheckpointError(f"{path}: weights without the optimiser's state; delete it and train again")
        if self.freeze_mapping_at is not None and self.state.iteration >= self.freeze_mapping_at:
            self._freeze_mappings()
        self.saved_at = self.state.iteration
        self.log = self._kept_log()

    def _kept_log(self) -> list[dict[str, Any]]:
        """Log lines up to the checkpoint: a later one was written just before a kill and comes again."""
        lines = read_lines(self.run.train_log, LogLine, "restore it or delete it")
        return [line for line in lines if line["iteration"] <= self.state.iteration]
