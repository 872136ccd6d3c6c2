"""Training of a language model: characters, and the loss of the next one (see `train.trainer`)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.data.text import load_dataset, training_batch
from lutra.models.zoo import create_model
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.train.evaluate import validation_loss
from lutra.train.trainer import Forward, train, train_all


class LanguageTask:
    """The recipe's model on the recipe's text."""

    keeps: Literal["best"] = "best"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.data = load_dataset(recipe.data.dataset)
        self.model = create_model(recipe, len(self.data.characters))

    def calibration_input(self) -> Tensor:
        return self._batch(0)[0]

    def loss(self, forward: Forward, iteration: int, device: torch.device) -> Tensor:
        inputs, targets = (part.to(device) for part in self._batch(iteration))
        logits = forward(inputs)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def evaluate(self) -> dict[str, float]:
        batch = self.recipe.train.evaluate_batch
        return {"validation_loss": validation_loss(self.model, self.data.validation, batch)}

    def _batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        batch, context = self.recipe.train.batch, self.recipe.model.context
        return training_batch(self.data.train, self.recipe.seed, iteration, batch, context)


def train_run(files: RunFiles, recipe: Recipe, max_minutes: float | None = None) -> dict[str, Any]:
    """Train the recipe's model into `files`; see `train.trainer.train`."""
    return train(files, recipe, lambda: LanguageTask(recipe), max_minutes)


def train_baselines(files: RunFiles, recipe: Recipe, max_minutes: float | None = None) -> dict[str, dict[str, Any]]:
    """Train the recipe's baselines, each into `run.baseline(ffn)`; see `train.trainer.train_all`."""

    def train_one(folder: RunFiles, ffn: Any, minutes: float | None) -> dict[str, Any]:
        return train_run(folder, recipe.with_ffn(ffn), minutes)

    return train_all(files, recipe.baselines, train_one, max_minutes)
