"""Losses over the whole validation set, and what they say about a block (DESIGN of honest results)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.data.text import validation_windows
from lutra.models.gpt import GPT


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
