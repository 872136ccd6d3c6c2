"""The parts of our training for other people's loops: parameter groups, constraints, schedule, integers at the end."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lutra.errors import InputError
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import TrainConfig

_DEFAULTS = TrainConfig()
FROM_SCRATCH: Mapping[str, float] = {
    "tables": _DEFAULTS.table_learning_rate,
    "mapping": _DEFAULTS.mapping_learning_rate,
    "thresholds": _DEFAULTS.threshold_learning_rate,
    "encoded": _DEFAULTS.encoded_learning_rate,
}
"""Learning rates of blocks that start from random tables."""
HEALING: Mapping[str, float] = {"tables": 1e-3, "mapping": 1e-3, "thresholds": 1e-4, "encoded": 2e-4}
"""Learning rates of blocks that were fitted to what they replace: larger ones destroy the start."""


def parameter_groups(
    model: nn.Module,
    lr: float = 1e-3,
    *,
    weight_decay: float = 0.1,
    healing: bool = False,
    block_learning_rates: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Groups for `torch.optim.AdamW` as weightless blocks need them; frozen parameters are left out.

    `lr` and `weight_decay` are for everything outside of blocks (matrices and embeddings decay, vectors do not, as in
    nanoGPT). A block's parameters do not decay, since decay would pull table entries to their threshold 0, remember
    squared gradients for longer, and have learning rates of their own by kind: "tables", "mapping", "thresholds" and
    "encoded" (of the sum). They are `FROM_SCRATCH`, or `HEALING` for blocks that were fitted, or those that
    `block_learning_rates` gives. Use with `TrainingSchedule`, or call `constrain_` after every step.

    Raises:
        InputError: an unknown kind, or a rate that is not positive and finite.
    """
    peaks = {**(HEALING if healing else FROM_SCRATCH), **(block_learning_rates or {})}
    for kind, peak in {**peaks, "lr": lr}.items():
        if kind not in (*FROM_SCRATCH, "lr"):
            raise InputError(f"block_learning_rates: no kind {kind!r}; there are {', '.join(FROM_SCRATCH)}")
        if not (math.isfinite(peak) and peak > 0):
            raise InputError(f"learning rate of {kind}: must be positive and finite, got {peak}")
    special: dict[str, list[nn.Parameter]] = {kind: [] for kind in peaks}
    for block in weightless_blocks(model).values():
        for kind, parameters in block.parameter_groups().items():
            special[kind] += [parameter for parameter in parameters if parameter.requires_grad]
    grouped = {id(parameter) for parameters in special.values() for parameter in parameters}
    ordinary = [p for p in model.parameters() if id(p) not in grouped and p.requires_grad]
    floor = _DEFAULTS.min_learning_rate / _DEFAULTS.learning_rate
    outside = {"lr": lr, "floor": floor, "betas": (_DEFAULTS.beta1, _DEFAULTS.beta2)}
    groups: list[dict[str, Any]] = [
        {"name": "decayed", "params": [p for p in ordinary if p.dim() >= 2], "weight_decay": weight_decay, **outside},
        {"name": "undecayed", "params": [p for p in ordinary if p.dim() < 2], "weight_decay": 0.0, **outside},
    ]
    block_betas = (_DEFAULTS.beta1, _DEFAULTS.block_beta2)
    groups += [
        {"name": kind, "params": special[kind], "lr": peak, "floor": 0.0, "betas": block_betas, "weight_decay": 0.0}
        for kind, peak in peaks.items()
    ]
    return [group for group in groups if group["params"]]


def constrain_(model: nn.Module) -> None:
    """After every optimiser step: tables within reach of their gradient, learned thresholds ascending."""
    for block in weightless_blocks(model).values():
        block.constrain_()


def quantise_(model: nn.Module) -> None:
    """Switch all blocks to integers, as the hardware computes; blocks that are so already keep their input scale.

    Raises:
        InputError: a block has not been calibrated.
    """
    for block in weightless_blocks(model).values():
        if not block.quantised:
            block.quantise_()


class TrainingSchedule:
    """What our loop does around an optimiser step: `schedule.step()` after every `optimiser.step()`.

    Learning rates warm up linearly and go down a cosine, those of blocks to 0 so that bits stop flipping; tables are
    kept in range; the last `quantised` fraction of `steps` trains with integers, so that what is frozen afterwards has
    been trained. `state_dict` is for checkpoints.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        steps: int,
        *,
        warmup: int | None = None,
        quantised: float = _DEFAULTS.quantise_fraction,
    ) -> None:
        if steps < 1 or not 0 <= quantised <= 1:
            raise InputError(f"a schedule needs at least one step and a fraction from 0 to 1, got {steps}, {quantised}")
        self.model, self.optimiser, self.steps = model, optimiser, steps
        self.warmup = _warmup(steps) if warmup is None else warmup
        self.quantise_at = quantised_from(steps, quantised)
        self.done = 0
        for group in optimiser.param_groups:
            group.setdefault("peak", group["lr"])
        self._prepare()

    def step(self) -> None:
        """An optimiser step has been made."""
        constrain_(self.model)
        self.done += 1
        self._prepare()

    def _prepare(self) -> None:
        if self.done >= self.quantise_at:
            quantise_(self.model)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * _shape(self.done, self.steps, self.warmup, group.get("floor", 0.0))

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.done = int(state["done"])
        self._prepare()


def learning_rates(
    optimiser: torch.optim.Optimizer, steps: int, warmup: int | None = None
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rates of `TrainingSchedule` as a scheduler of PyTorch, for loops of others that step one.

    For Hugging Face: `Trainer(..., optimizers=(optimiser, lutra.learning_rates(optimiser, steps)))`.
    """
    first = _warmup(steps) if warmup is None else warmup
    floors = [group.get("floor", 0.0) for group in optimiser.param_groups]
    shapes: list[Callable[[int], float]] = [
        functools.partial(_shape, steps=steps, warmup=first, floor=floor) for floor in floors
    ]
    return torch.optim.lr_scheduler.LambdaLR(optimiser, shapes)


def _warmup(steps: int) -> int:
    return min(_DEFAULTS.warmup_iterations, steps // 10)


def _shape(done: int, steps: int, warmup: int, floor: float) -> float:
    """Learning rate of the coming step relative to its peak."""
    if done < warmup:
        return (done + 1) / (warmup + 1)
    progress = min(1.0, (done - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def quantised_from(steps: int, fraction: float) -> int:
    """The first of `steps` that trains with integers."""
    return round(steps * (1 - fraction))
