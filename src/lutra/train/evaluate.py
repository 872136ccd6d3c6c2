"""Losses over the whole validation set, and what they say about a block (DESIGN of honest results)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.data.text import validation_windows


@torch.no_grad()
def validation_loss(model: nn.Module, tokens: Tensor, batch: int) -> float:
    """Mean cross-entropy in nats over every prediction that `tokens` (N,) offers: the windows do not overlap.

    `model` turns tokens (B, T) into logits (B, T, V), T up to its `context`. `batch` is the number of windows at a
    time; it changes speed and memory only. The model keeps its mode and device.
    """
    parameter = next(model.parameters(), None)
    training, device = model.training, torch.device("cpu") if parameter is None else parameter.device
    model.eval()
    total = 0.0
    for inputs, targets in validation_windows(tokens, batch, cast("int", model.context)):
        logits = model(inputs.to(device)).float()  # (B, T, V)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten(), reduction="none")
        total += float(losses.double().sum())
    model.train(training)
    return total / (len(tokens) - 1)
