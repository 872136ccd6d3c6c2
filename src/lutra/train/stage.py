"""Training of one stage of a chain: a BERT, one or more lessons, resumable to the bit.

What an iteration draws at random (batch, dropout) is a function of seed, lesson and iteration alone;
`last.safetensors` holds everything else, as in lutra.train.loop. A lesson starts from the best weights on the
development set of the lesson before, or from its last ones; the best of the last lesson are the stage's result
(BinaryBERT).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import nn

from lutra.data.glue import EncodedSplit
from lutra.errors import CheckpointError, RunDirectoryError, TrainingError
from lutra.escape import brief
from lutra.models.bert import Bert
from lutra.nn.binary_linear import PackedWeight, pack_, prepare_packed_
from lutra.nn.quantizers import ActivationQuantiser
from lutra.recipes.bert import Lesson, OptimiserConfig, TwoLessons
from lutra.recipes.bert_config import BertConfig
from lutra.runs.environment import environment
from lutra.runs.files import StageFiles, clear_leftovers
from lutra.runs.schemas.training import StageLogLine, StageResult
from lutra.runs.schemas.values import Amount, Count, Real
from lutra.runs.typed import read_lines, write_lines, write_record
from lutra.train.checkpoint import OPTIMISER_PREFIX, STATE, read_checkpoint, save_checkpoint, state_of
from lutra.train.distill import evaluate, lesson_loss, to_device_of
from lutra.train.optimiser import load_optimiser_tensors, optimiser_tensors
from lutra.train.session import ProgressLine, StopRequest
from lutra.train.tracker import Tracker, open_tracker

_DROPOUT_STREAM = 3
"""Keeps the draws of dropout apart from other draws of the same seed."""


@dataclass(frozen=True)
class Lessons:
    """What a stage learns, from what, and how."""

    lessons: tuple[Lesson, ...]
    optimiser: OptimiserConfig
    data: EncodedSplit
    dev: EncodedSplit
    seed: int
    teacher: Bert | None = None
    teacher_mode: Literal["eval", "train"] = "eval"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def from_best(self) -> bool:
        """Whether a second lesson starts from the best weights of the first, not from its last."""
        return not isinstance(self.optimiser, TwoLessons) or self.optimiser.hand_over == "best"

    def iterations(self, lesson: int) -> int:
        """Of lesson number `lesson`."""
        return max(1, round(self.lessons[lesson].epochs * self.data.batches_per_epoch(self.optimiser.batch)))

    @property
    def all_iterations(self) -> int:
        return sum(self.iterations(lesson) for lesson in range(len(self.lessons)))


@checked_dataclass(config=STATE)
class _State:
    """What `last.safetensors` remembers beside tensors; scores in points, `loss_sum` since the latest evaluation."""

    lesson: Count = 0
    iteration: Count = 0
    start_score: Real = 0.0
    score: Real | None = None
    best_score: Real | None = None
    best_iteration: Count | None = None
    loss_sum: Real = 0.0
    loss_count: Count = 0
    seconds: Amount = 0.0
    ended: list[dict[str, Any]] = field(default_factory=list)
    """Scores of the lessons that are over."""


@checked_dataclass(config=STATE, kw_only=True)
class _SavedState(_State):
    log_lines: Count
    """Of the log, when it was saved."""


def train_stage(
    files: StageFiles,
    plan: Lessons,
    start: Callable[[], Bert],
    stop: StopRequest,
    *,
    title: str,
    recipe_hash: str,
    keep_latent: bool,
) -> str | None:
    """Train a stage to its end (None), or until asked to stop (the reason); it goes on where an earlier call stopped.

    `start` makes the model for a fresh stage. At the end `best.safetensors` holds the best model, packed unless
    `keep_latent`, and `result.json` its scores; then `last.safetensors` is deleted.

    Raises:
        RunDirectoryError: the stage belongs to another recipe.
        CheckpointError: the last checkpoint is corrupted.
        TrainingError: a loss or a gradient is not a number; no file is overwritten then.
        InputError: LUTRA_TRACKER names no tracker that is installed.
    """
    clear_leftovers(files.root)
    with contextlib.closing(open_tracker(files.root)) as tracker:
        training = _StageTraining(files, plan, start, title, recipe_hash, tracker)
        with ProgressLine(title, training.iterations_done, plan.all_iterations) as progress:
            stopped = training.go_on(stop, progress)
    if stopped is None:
        training.finish(keep_latent)
    return stopped


def load_stage(files: StageFiles) -> Bert:
    """The best model of a stage in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the checkpoint is missing, corrupted, or made by another version.
    """
    tensors, metadata = read_checkpoint(files.best_checkpoint)
    return _restored(tensors, metadata, str(files.best_checkpoint)).eval()


class _StageTraining:
    """Model, optimiser and state of one stage, in memory."""

    def __init__(
        self,
        files: StageFiles,
        plan: Lessons,
        start: Callable[[], Bert],
        title: str,
        recipe_hash: str,
        tracker: Tracker,
    ) -> None:
        self.files, self.plan, self.title, self.recipe_hash, self.tracker = files, plan, title, recipe_hash, tracker
        self.state = _State()
        self.log: list[dict[str, Any]] = []
        self.saved_at: tuple[int, int] | None = None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if plan.teacher is not None:
            plan.teacher.to(self.device)
        if files.last_checkpoint.exists():
            self._resume()
        else:
            self.model = start().to(self.device).train()
            self._calibrate()
            self._prepare_lesson()

    @property
    def iterations_done(self) -> int:
        """Over all lessons."""
        return self.state.iteration + sum(self.plan.iterations(lesson) for lesson in range(self.state.lesson))

    def go_on(self, stop: StopRequest, progress: ProgressLine) -> str | None:
        """Train to the end (None), or until asked to stop (the reason)."""
        if self.saved_at is None:
            self.state.start_score = evaluate(self.model, self.plan.dev)[self.plan.dev.task.metric]
            progress.message(f"starts at dev {self.state.start_score:.2f}")
            self._save()
        while True:
            while self.state.iteration < self.plan.iterations(self.state.lesson):
                if reason := stop.reason:
                    self._save()
                    done = f"stopped by {reason} at iteration {self.iterations_done} of {self.plan.all_iterations}"
                    progress.message(f"{done}; the same command goes on from there")
                    return reason
                begin = time.perf_counter()
                loss = self._step()
                seconds = time.perf_counter() - begin
                self.state.seconds += seconds
                progress.iteration(self.iterations_done, loss, seconds)
                self._arrive(progress)
            if self.state.lesson + 1 == len(self.plan.lessons):
                return None
            self._next_lesson()

    def finish(self, keep_latent: bool) -> None:
        """Leave the best model and the result; what is needed to train on goes."""
        tensors, metadata = read_checkpoint(self.files.best_checkpoint)
        model = _restored(tensors, metadata, str(self.files.best_checkpoint))
        if not keep_latent:
            pack_(model)
            save_checkpoint(self.files.best_checkpoint, model.state_dict(), {**metadata, **_description(model)})
        state = self.state
        result = {
            "recipe_hash": self.recipe_hash,
            "metric": self.plan.dev.task.metric,
            "start_score": state.start_score,
            "best_score": state.best_score,
            "last_score": state.score,
            "lessons": [*state.ended, self._scores()],
            "iterations": self.plan.all_iterations,
            "seconds": round(state.seconds, 3),
            **_description(model),
            "environment": environment(),
        }
        write_record(self.files.result, StageResult, result)
        self.files.last_checkpoint.unlink(missing_ok=True)

    def _prepare_lesson(self) -> None:
        lesson, plan = self.plan.lessons[self.state.lesson], self.plan
        self.loss_of = lesson_loss(self.model, lesson.kind, plan.teacher, plan.teacher_mode)
        self.adamw = _optimiser(self.model, lesson, plan.optimiser)

    def _next_lesson(self) -> None:
        """From the weights that the lesson that is over hands over, with a fresh optimiser."""
        if self.plan.from_best:
            tensors, metadata = read_checkpoint(self.files.best_checkpoint)
            self.model = _restored(tensors, metadata, str(self.files.best_checkpoint)).to(self.device).train()
        state = self.state
        state.ended.append(self._scores())
        state.lesson, state.iteration = state.lesson + 1, 0
        state.score = state.best_score = state.best_iteration = None
        self._prepare_lesson()
        self._save()

    def _calibrate(self) -> None:
        """Quantisers take their steps from the first batch, before the optimiser sees them and without dropout."""
        self.model.eval()
        for module in self.model.modules():
            if isinstance(module, ActivationQuantiser):
                module.start = self.plan.optimiser.step_start
        with torch.no_grad():
            self.model(*self._batch(0)[:3])
        self.model.train()

    def _batch(self, iteration: int) -> Any:
        batch = self.plan.data.training_batch(self.plan.seed, iteration, self.plan.optimiser.batch)
        return to_device_of(self.model, batch)

    def _step(self) -> float:
        """One update of the weights; returns the training loss before it."""
        state, iteration = self.state, self.state.iteration
        factor = self._learning_rate_factor(iteration)
        for group in self.adamw.param_groups:
            group["lr"] = group["peak"] * factor
        draws = np.random.SeedSequence((self.plan.seed, _DROPOUT_STREAM, state.lesson, iteration))
        torch.manual_seed(int(draws.generate_state(1, np.uint64)[0]))
        mixed = self.plan.precision == "bf16-mixed"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            loss = self.loss_of(self._batch(iteration), self.plan.data.task)
        value = self._require_finite(loss.item(), "training loss")
        self.adamw.zero_grad()
        loss.backward()
        norms = [
            nn.utils.clip_grad_norm_(parameter, self.plan.optimiser.clip)
            for parameter in self.model.parameters()
            if parameter.grad is not None
        ]
        self._require_finite(torch.stack(norms).sum().item(), "norm of the gradient")
        self.adamw.step()
        state.iteration += 1
        state.loss_sum += value
        state.loss_count += 1
        return value

    def _learning_rate_factor(self, iteration: int) -> float:
        """Linear warm-up, then linear decay to 0 just after the last iteration."""
        iterations = self.plan.iterations(self.state.lesson)
        warmup = max(1, round(self.plan.optimiser.warmup_fraction * iterations))
        return min((iteration + 1) / warmup, (iterations - iteration) / max(1, iterations - warmup + 1))

    def _require_finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            kept = "nothing was saved yet"
            if self.saved_at is not None:
                kept = f"the checkpoint of lesson {self.saved_at[0] + 1}, iteration {self.saved_at[1]} is kept"
            kind = self.plan.lessons[self.state.lesson].kind
            raise TrainingError(
                f"{self.title}, {kind}: the {what} is {value} at iteration {self.state.iteration} ({kept}); "
                "try a smaller learning rate in a new folder"
            )
        return value

    def _arrive(self, progress: ProgressLine) -> None:
        """Whatever is due at the iteration just reached; when it has been saved, all of it has been done."""
        iteration, iterations = self.state.iteration, self.plan.iterations(self.state.lesson)
        if iteration % self.plan.optimiser.evaluate_every == 0 or iteration == iterations:
            self._evaluate(progress)
            self._save()

    def _evaluate(self, progress: ProgressLine) -> None:
        """Metrics of the development set, a new best checkpoint if it is one, and a line in the log."""
        state, lesson = self.state, self.plan.lessons[self.state.lesson]
        begin = time.perf_counter()
        scores = evaluate(self.model, self.plan.dev)
        state.seconds += time.perf_counter() - begin
        state.score = scores[self.plan.dev.task.metric]
        if state.best_score is None or state.score > state.best_score:
            state.best_score, state.best_iteration = state.score, state.iteration
            save_checkpoint(self.files.best_checkpoint, self.model.state_dict(), self._metadata())
        mean_loss = state.loss_sum / max(1, state.loss_count)
        self.log.append(
            {
                "lesson": lesson.kind,
                "iteration": state.iteration,
                "train_loss": mean_loss,
                "dev": scores,
                "learning_rate": lesson.learning_rate * self._learning_rate_factor(state.iteration - 1),
                "seconds": round(state.seconds, 3),
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0
        write_lines(self.files.log, StageLogLine, self.log)
        self.tracker.log(self.iterations_done, self.log[-1])
        iterations = self.plan.iterations(state.lesson)
        best = f"best {state.best_score:.2f} at {state.best_iteration}"
        progress.message(
            f"{lesson.kind} {state.iteration}/{iterations}: loss {mean_loss:.4f}, dev {state.score:.2f} ({best})"
        )

    def _scores(self) -> dict[str, Any]:
        state = self.state
        return {
            "lesson": self.plan.lessons[state.lesson].kind,
            "iterations": state.iteration,
            "best_score": state.best_score,
            "best_iteration": state.best_iteration,
            "last_score": state.score,
        }

    def _metadata(self) -> dict[str, Any]:
        state = {**asdict(self.state), "log_lines": len(self.log)}
        return {"recipe_hash": self.recipe_hash, "state": state, **_description(self.model)}

    def _save(self) -> None:
        """The last checkpoint, unless it is there already."""
        here = (self.state.lesson, self.state.iteration)
        if self.saved_at == here:
            return
        optimiser = optimiser_tensors(self.adamw, self.model)
        prefixed = {f"{OPTIMISER_PREFIX}{name}": tensor for name, tensor in optimiser.items()}
        save_checkpoint(self.files.last_checkpoint, {**self.model.state_dict(), **prefixed}, self._metadata())
        self.saved_at = here

    def _resume(self) -> None:
        path = self.files.last_checkpoint
        tensors, metadata = read_checkpoint(path)
        if metadata.get("recipe_hash") != self.recipe_hash:
            raise RunDirectoryError(f"{path} belongs to another recipe than its run; choose another folder")
        weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(OPTIMISER_PREFIX)}
        self.model = _restored(weights, metadata, str(path)).to(self.device).train()
        self.state = saved = state_of(metadata, _SavedState, path)
        if saved.lesson >= len(self.plan.lessons):
            at = f"lesson {saved.lesson + 1} of {len(self.plan.lessons)}"
            raise CheckpointError(f"{path}: in {at}; delete it and train again")
        self._prepare_lesson()
        optimiser = {
            name.removeprefix(OPTIMISER_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(OPTIMISER_PREFIX)
        }
        load_optimiser_tensors(self.adamw, self.model, optimiser, path)
        self.saved_at = (self.state.lesson, self.state.iteration)
        self.log = self._kept_log(saved.log_lines)

    def _kept_log(self, lines: int) -> list[dict[str, Any]]:
        """Log lines up to the checkpoint: a later one was written just before a kill and comes again."""
        return read_lines(self.files.log, StageLogLine, "restore it or delete it")[:lines]


def _optimiser(model: Bert, lesson: Lesson, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW whose groups carry the `peak` of their learning rate: matrices decay, biases and norms do not."""
    learned = [parameter for group in model.parameter_groups().values() for parameter in group]
    apart = {id(parameter) for parameter in learned}
    ordinary = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in ordinary if p.dim() > 1], "peak": lesson.learning_rate, "decay": config.weight_decay},
        {"params": [p for p in ordinary if p.dim() == 1], "peak": lesson.learning_rate, "decay": 0.0},
        {"params": learned, "peak": config.step_learning_rate, "decay": 0.0},
    ]
    groups = [{**group, "weight_decay": group.pop("decay")} for group in groups if group["params"]]
    # The scripts of BinaryBERT leave Adam's bias correction out; the warm-up makes the difference a small one.
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-6, fused=True)


def _description(model: Bert) -> dict[str, Any]:
    """What `_restored` needs besides the tensors."""
    packed = any(isinstance(module, PackedWeight) for module in model.modules())
    return {"bert": model.config.model_dump(mode="json"), "packed": packed}


def _restored(tensors: dict[str, Any], metadata: dict[str, Any], source: str) -> Bert:
    try:
        model = Bert(BertConfig.model_validate(metadata["bert"]))
        if metadata["packed"]:
            prepare_packed_(model)
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = brief(" ".join(str(error).split()), 300)
        raise CheckpointError(f"{source}: not a model of this version ({reason}); delete it and train again") from None
    return model
