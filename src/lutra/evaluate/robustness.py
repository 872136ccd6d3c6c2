"""Robustness of a model to noise on its embeddings (BMT section 5.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lutra.errors import InputError

NoiseReference = Literal["tensor", "element", "absolute"]


@dataclass(frozen=True)
class Robustness:
    """`clean` is the score without noise, `noisy` the score of every repeat, in the same unit."""

    clean: float
    noisy: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """R: the clean score over the root mean square of the noisy scores' deviations from it; larger is better.

        Infinite where no repeat deviates; 0 for a clean score of 0 where some do.
        """
        deviation = math.sqrt(sum((score - self.clean) ** 2 for score in self.noisy) / len(self.noisy))
        return self.clean / deviation if deviation > 0 else math.inf

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite ratio, which JSON has no number for, is the string "infinite"."""
        ratio = self.ratio if math.isfinite(self.ratio) else "infinite"
        return {"ratio": ratio, "clean": self.clean, "noisy": list(self.noisy)}


def measure_robustness(
    model: nn.Module,
    embeddings: nn.Module,
    evaluate: Callable[[], float],
    noise: float = 0.1,
    reference: NoiseReference = "tensor",
    repeats: int = 20,
    seed: int = 0,
) -> Robustness:
    """Score of `model` with Gaussian noise on the output of its part `embeddings`, against its score without.

    `evaluate` runs the whole evaluation set through `model` and returns the score; it is called `repeats` + 1 times, in
    evaluation mode. The paper gives a variance of 0.01 and a magnitude of 10 %, which agree if the noise is relative:
    `noise` is its standard deviation relative to the root mean square of the output tensor ("tensor"), to the magnitude
    of every element ("element"), or as it is ("absolute"). Repeat k draws from a generator of its own, of seed + k.

    Raises:
        InputError: a negative noise, no repeats, or embeddings that are not part of the model.
    """
    if not 0 <= noise < math.inf or repeats < 1:
        raise InputError(f"noise must be a number from 0 and repeats at least 1, got {noise} and {repeats}")
    if all(module is not embeddings for module in model.modules()):
        raise InputError(f"the {type(embeddings).__name__} given as embeddings is not part of the model")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            clean = evaluate()
            noisy = tuple(_noisy_score(embeddings, evaluate, noise, reference, seed + k) for k in range(repeats))
    finally:
        model.train(was_training)
    return Robustness(clean, noisy)


def _noisy_score(
    embeddings: nn.Module, evaluate: Callable[[], float], noise: float, reference: NoiseReference, seed: int
) -> float:
    generator = torch.Generator().manual_seed(seed)

    def add_noise(_module: nn.Module, _inputs: Any, x: Tensor) -> Tensor:
        # Drawn on the CPU, so that every device sees the same noise.
        drawn = torch.randn(x.shape, generator=generator).to(x)
        return x + noise * _magnitude(x, reference) * drawn

    hook = embeddings.register_forward_hook(add_noise)
    try:
        return evaluate()
    finally:
        hook.remove()


def _magnitude(x: Tensor, reference: NoiseReference) -> Tensor | float:
    match reference:
        case "tensor":
            return x.square().mean().sqrt()
        case "element":
            return x.abs()
        case "absolute":
            return 1.0
