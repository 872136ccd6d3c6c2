"""Healing: the whole converted model learns from the model it was converted from; resumable to the bit."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import CheckpointError, InputError, RunDirectoryError, TrainingError
from lutra.nn.calibrate import batch_arguments
from lutra.nn.weightless import weightless_blocks
from lutra.runs.schemas.training import HealingLine
from lutra.runs.typed import write_lines
from lutra.train.checkpoint import OPTIMISER_PREFIX, read_checkpoint, save_checkpoint
from lutra.train.optimiser import load_optimiser_tensors, optimiser_tensors
from lutra.train.parts import TrainingSchedule, parameter_groups
from lutra.train.tracker import Tracker, open_tracker

log = logging.getLogger("lutra")

Loss = Literal["hidden", "embedding", "logits"]
EMBEDDING_WEIGHT = 3.0


@dataclass(frozen=True)
class Healed:
    """What a call of `heal` has done."""

    steps: int
    """Done over all calls."""
    finished: bool
    loss: float
    """Mean of the last tenth of the steps of this call."""
    seconds: float
    """Of this call."""


def heal(
    model: nn.Module,
    teacher: nn.Module,
    batches: Sequence[Any],
    steps: int,
    *,
    lr: float = 1e-3,
    block_learning_rates: Mapping[str, float] | None = None,
    train_blocks: bool = True,
    losses: Sequence[Loss] | None = None,
    quantised: float = 0.15,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
    folder: str | Path | None = None,
    save_every: int = 200,
    max_minutes: float | None = None,
) -> Healed:
    """Train all of `model` towards `teacher` on `batches`, in place.

    `losses` are summed: "hidden", the squared error of the last hidden state relative to its variance; "embedding",
    three times one minus the cosine of the mean of its tokens; "logits", the divergence of the predicted
    distributions. By default logits where the model has them, else the first two. Attention, norms and embeddings
    learn with `lr`, blocks with the small rates of a fitted start (`train.parts.HEALING`). The last `quantised`
    fraction trains with integers. With a `folder`, `last.safetensors` there holds everything, the same call goes on
    where it was, and `log.jsonl` has a line for every 20 steps. Also heals a model without any block (the baseline).

    Raises:
        TrainingError: a loss is not a number. InputError: no batches, or outputs without what a loss needs.
        RunDirectoryError, CheckpointError: the folder is of another healing, or damaged.
    """
    if not batches:
        raise InputError("heal was given no batches")
    healing = _Healing(
        model, teacher, list(batches), steps, losses, clip, seed, None if folder is None else Path(folder)
    )
    for block in weightless_blocks(model).values():
        block.requires_grad_(train_blocks)
    groups = parameter_groups(
        model, lr, weight_decay=weight_decay, healing=True, block_learning_rates=block_learning_rates
    )
    optimiser = torch.optim.AdamW(groups)
    schedule = TrainingSchedule(model, optimiser, steps, quantised=quantised)
    settings = {"steps": steps, "lr": lr, "quantised": quantised, "seed": seed, "train_blocks": train_blocks}
    healing.settings = {**settings, "losses": list(losses or []), "batches": len(healing.batches)}
    with contextlib.closing(open_tracker(healing.folder)) as tracker:
        return healing.run(optimiser, schedule, save_every, max_minutes, tracker)


class _Healing:
    def __init__(
        self,
        model: nn.Module,
        teacher: nn.Module,
        batches: list[Any],
        steps: int,
        losses: Sequence[Loss] | None,
        clip: float,
        seed: int,
        folder: Path | None,
    ) -> None:
        self.model, self.teacher, self.batches, self.steps = model, teacher.eval(), batches, steps
        self.losses, self.clip, self.seed, self.folder = losses, clip, seed, folder
        self.settings: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []

    def run(
        self,
        optimiser: torch.optim.AdamW,
        schedule: TrainingSchedule,
        save_every: int,
        max_minutes: float | None,
        tracker: Tracker,
    ) -> Healed:
        self._resume(optimiser, schedule)
        began, recent = time.monotonic(), list[float]()
        self.model.train()
        while schedule.done < self.steps:
            torch.manual_seed(int(np.random.SeedSequence((self.seed, schedule.done)).generate_state(1, np.uint64)[0]))
            loss = self._loss(self.batches[self._batch(schedule.done)])
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(f"healing step {schedule.done}: the loss is {value}; try a smaller learning rate")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip or math.inf)
            optimiser.step()
            schedule.step()
            recent.append(value)
            done = schedule.done
            late = max_minutes is not None and time.monotonic() - began > 60 * max_minutes
            if done % 20 == 0 or done == self.steps:
                self.lines.append({"step": done, "loss": sum(recent[-20:]) / len(recent[-20:])})
                tracker.log(done, {"loss": self.lines[-1]["loss"]})
                log.info("healing step %d/%d: loss %.4f", done, self.steps, self.lines[-1]["loss"])
            if self.folder is not None and (done % save_every == 0 or done == self.steps or late):
                self._save(optimiser, done)
            if late:
                break
        self.model.eval()
        kept = recent[-max(1, len(recent) // 10) :]
        mean = sum(kept) / len(kept) if kept else math.nan
        return Healed(schedule.done, schedule.done == self.steps, mean, time.monotonic() - began)

    def _batch(self, step: int) -> int:
        """Every batch once before any repeats, in an order that depends on seed and epoch alone."""
        epoch, place = divmod(step, len(self.batches))
        return int(np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.batches))[place])

    def _loss(self, batch: Any) -> Tensor:
        args, kwargs = batch_arguments(batch)
        with torch.no_grad():
            taught = self.teacher(*args, **kwargs)
        learnt = self.model(*args, **kwargs)
        mask = kwargs.get("attention_mask")
        return distance(learnt, taught, mask if isinstance(mask, Tensor) else None, self.losses)

    def _resume(self, optimiser: torch.optim.AdamW, schedule: TrainingSchedule) -> None:
        if self.folder is None or not (self.folder / "last.safetensors").exists():
            return
        path = self.folder / "last.safetensors"
        tensors, metadata = read_checkpoint(path)
        if metadata.get("settings") != self.settings:
            raise RunDirectoryError(f"{path}: of another healing ({metadata.get('settings')}); choose another folder")
        weights = {name: t for name, t in tensors.items() if not name.startswith(OPTIMISER_PREFIX)}
        own = self.model.state_dict()
        shared = {t.data_ptr() for name, t in own.items() if name in weights}
        if weights.keys() - own.keys() or any(n not in weights and t.data_ptr() not in shared for n, t in own.items()):
            raise CheckpointError(f"{path}: made for another model; choose another folder")
        self.model.load_state_dict(weights, strict=False)
        states = {n.removeprefix(OPTIMISER_PREFIX): t for n, t in tensors.items() if n.startswith(OPTIMISER_PREFIX)}
        load_optimiser_tensors(optimiser, self.model, states, path)
        self.lines = list(metadata["lines"])
        schedule.load_state_dict({"done": metadata["step"]})

    def _save(self, optimiser: torch.optim.AdamW, step: int) -> None:
        assert self.folder is not None
        seen: set[tuple[int, torch.Size]] = set()
        tensors: dict[str, Tensor] = {}
        for name, tensor in self.model.state_dict().items():
            place = (tensor.data_ptr(), tensor.shape)
            if not tensor.numel() or place not in seen:
                tensors[name] = tensor
            seen.add(place)
        states = optimiser_tensors(optimiser, self.model)
        prefixed = {f"{OPTIMISER_PREFIX}{name}": tensor for name, tensor in states.items()}
        metadata = {"settings": self.settings, "step": step, "lines": self.lines}
        save_checkpoint(self.folder / "last.safetensors", {**tensors, **prefixed}, metadata)
        write_lines(self.folder / "log.jsonl", HealingLine, self.lines)


def distance(learnt: Any, taught: Any, mask: Tensor | None, losses: Sequence[Loss] | None = None) -> Tensor:
    """The sum of `losses` (see `heal`) between the outputs of two models for the same batch.

    Raises:
        InputError: the outputs lack what a loss needs, or there is no such loss.
    """
    chosen = losses or (("logits",) if _logits(taught) is not None else ("hidden", "embedding"))
    total: Tensor | None = None
    for name in chosen:
        if name == "logits":
            part = _divergence(_required(_logits(learnt), name), _required(_logits(taught), name), mask)
        elif name in ("hidden", "embedding"):
            ours, theirs = (_required(hidden_state(output), name) for output in (learnt, taught))
            part = _hidden(ours, theirs, mask)
            if name == "embedding":
                cosine = F.cosine_similarity(pooled(ours, mask), pooled(theirs, mask), dim=-1)
                part = EMBEDDING_WEIGHT * (1 - cosine).mean()
        else:
            raise InputError(f"losses: no loss {name!r}; there are hidden, embedding, logits")
        total = part if total is None else total + part
    assert total is not None
    return total


def hidden_state(output: Any) -> Tensor | None:
    """The last hidden state in what a model returned, (B, T, D)."""
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "last_hidden_state", None)
    if found is None and getattr(output, "hidden_states", None):
        found = output.hidden_states[-1]
    return found if isinstance(found, Tensor) else None


def pooled(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that count: (B, T, D), (B, T) -> (B, D)."""
    if mask is None or mask.shape != hidden.shape[:2]:
        return hidden.mean(dim=1)
    counted = mask[..., None].to(hidden.dtype)
    return (hidden * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)


def _hidden(ours: Tensor, theirs: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None and mask.shape == ours.shape[:-1]:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    return F.mse_loss(ours.float(), theirs.float()) / theirs.float().var().clamp_min(1e-6)


def _divergence(ours: Tensor, theirs: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None and mask.shape == ours.shape[:-1]:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    ours, theirs = ours.float().flatten(0, -2), theirs.float().flatten(0, -2)
    return F.kl_div(ours.log_softmax(-1), theirs.log_softmax(-1), log_target=True, reduction="batchmean")


def _logits(output: Any) -> Tensor | None:
    found = getattr(output, "logits", None)
    return found if isinstance(found, Tensor) else None


def _required(found: Tensor | None, name: str) -> Tensor:
    if found is None:
        raise InputError(f"losses: {name!r} needs an output that these models do not have; choose others")
    return found
