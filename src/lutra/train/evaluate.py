"""Losses over the whole validation set, and what they say about a block (DESIGN of honest results)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.data.text import load_shakespeare, validation_windows
from lutra.files import RunFiles
from lutra.models.gpt import GPT
from lutra.recipe import load_recipe
from lutra.train.checkpoint import load_model


@torch.no_grad()
def validation_loss(model: GPT, tokens: Tensor, batch: int) -> float:
    """Mean cross-entropy in nats over every prediction that `tokens` (N,) offers: the windows do not overlap.

    `batch` is the number of windows at a time; it changes speed and memory only. The model keeps its mode and device.
    """
    training, device = model.training, model.lm_head.weight.device
    model.eval()
    total = 0.0
    for inputs, targets in validation_windows(tokens, batch, model.config.context):
        logits = model(inputs.to(device)).float()  # (B, T, V)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten(), reduction="none")
        total += float(losses.double().sum())
    model.train(training)
    return total / (len(tokens) - 1)


def recovery(none_loss: float, ours: float, mlp_loss: float) -> float | None:
    """How much of the MLP's benefit the block brings: 0 = as good as no MLP at all, 1 = as good as the MLP.

    None where the MLP is no better than nothing, so that there is no benefit to compare with.
    """
    return (none_loss - ours) / (none_loss - mlp_loss) if mlp_loss < none_loss else None


def evaluate_run(run: RunFiles) -> dict[str, Any]:
    """Validation losses of the best checkpoints of a run and of its baselines, in PyTorch, and the recovery.

    Returns:
        `validation_loss`, `baselines` (ffn -> loss, those of the recipe), and `recovery` (None unless both baselines
        are there).

    Raises:
        RecipeError, CheckpointError: something is missing or does not fit; see `load_model`.
    """
    recipe = load_recipe(run.recipe)
    tokens = load_shakespeare().validation
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def loss(files: RunFiles) -> float:
        return validation_loss(load_model(files).to(device), tokens, recipe.train.evaluate_batch)

    ours = loss(run)
    baselines = {ffn: loss(run.baseline(ffn)) for ffn in recipe.baselines}
    both = {"mlp", "none"} <= baselines.keys()
    return {
        "validation_loss": ours,
        "baselines": baselines,
        "recovery": recovery(baselines["none"], ours, baselines["mlp"]) if both else None,
    }
