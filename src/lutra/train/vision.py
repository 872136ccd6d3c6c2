"""Training of a vision transformer: augmented images and soft labels (see `train.trainer`)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.data.augment import augment
from lutra.data.images import Images, evaluation_batches, load_images, resized, training_images
from lutra.models.vit import VisionTransformer
from lutra.models.zoo import create_vision_model
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.train.trainer import Forward, train, train_all

_AUGMENT_STREAM = 4
"""Keeps the draws of augmentation apart from other draws of the same recipe seed and iteration."""
_CALIBRATION_IMAGES = 256


class VisionTask:
    """The recipe's model on the recipe's images; the last evaluated model counts, since no images are held out."""

    keeps: Literal["last"] = "last"

    def __init__(self, recipe: VisionRecipe) -> None:
        self.recipe = recipe
        data = load_images(recipe.data.dataset, recipe.data.folder)
        self.train, self.test = data.train.first(recipe.data.train_images), data.test
        self.model = create_vision_model(recipe)

    def calibration_input(self) -> Tensor:
        return calibration_pixels(self.recipe, self.train, self.model)

    def loss(self, forward: Forward, iteration: int, device: torch.device) -> Tensor:
        recipe = self.recipe
        pixels, labels = training_images(self.train, recipe.seed, iteration, recipe.train.batch)
        seeds = np.random.SeedSequence((recipe.seed, _AUGMENT_STREAM, iteration))
        generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        x, targets = augment(pixels, labels, recipe.classes, recipe.model.image, recipe.augment, generator)
        return F.cross_entropy(forward(self.model.normalised(x.to(device))), targets.to(device))

    def evaluate(self) -> dict[str, float]:
        loss, accuracy = classification_figures(self.model, self.test, self.recipe.train.evaluate_batch)
        return {"validation_loss": loss, "accuracy": accuracy}


def calibration_pixels(recipe: VisionRecipe, images: Images, model: VisionTransformer) -> Tensor:
    """The first training images without augmentation, as the model takes them."""
    pixels, _ = training_images(images, recipe.seed, 0, min(_CALIBRATION_IMAGES, len(images)))
    return model.normalised(resized(pixels, recipe.model.image))


@torch.no_grad()
def classification_figures(model: VisionTransformer, images: Images, batch: int) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy over all `images`; the model keeps its mode and device."""
    training, device = model.training, model.pos_embed.device
    model.eval()
    total, right = 0.0, 0
    for pixels, labels in evaluation_batches(images, batch, model.config.image):
        logits = model(model.normalised(pixels.to(device))).float()  # (B, classes)
        labels = labels.to(device)
        total += float(F.cross_entropy(logits, labels, reduction="none").double().sum())
        right += int((logits.argmax(dim=1) == labels).sum())
    model.train(training)
    return total / len(images), right / len(images)


def train_vision(files: RunFiles, recipe: VisionRecipe, max_minutes: float | None = None) -> dict[str, Any]:
    """Train the recipe's model into `files`; see `train.trainer.train`."""
    return train(files, recipe, lambda: VisionTask(recipe), max_minutes)


def train_vision_baselines(
    files: RunFiles, recipe: VisionRecipe, max_minutes: float | None = None
) -> dict[str, dict[str, Any]]:
    """Train the recipe's baselines, each into `run.baseline(ffn)`; see `train.trainer.train_all`."""

    def train_one(folder: RunFiles, ffn: Any, minutes: float | None) -> dict[str, Any]:
        return train_vision(folder, recipe.with_ffn(ffn), minutes)

    return train_all(files, recipe.baselines, train_one, max_minutes)
