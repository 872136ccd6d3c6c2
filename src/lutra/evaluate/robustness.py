"""Robustness of a model to noise on its embeddings (BMT section 5.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lutra.data.glue import EncodedSplit, metrics
from lutra.errors import InputError
from lutra.frozen.bert_golden import embed
from lutra.runtime.bert.engine import BertRuntime, GoldenBert
from lutra.train.distill import sorted_logits

NoiseReference = Literal["tensor", "element", "absolute"]
NOISE, REPEATS = 0.1, 20


@dataclass(frozen=True)
class Robustness:
    """`clean` is the score without noise, `noisy` the score of every repeat, in the same unit."""

    clean: float
    noisy: tuple[float, ...]
    engine: Literal["torch", "runtime"] = "torch"
    """What the model ran on: the float model, or the kernels of its frozen form."""

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
        return {"ratio": ratio, "clean": self.clean, "noisy": list(self.noisy), "engine": self.engine}


def measure_robustness(
    model: nn.Module,
    embeddings: nn.Module,
    evaluate: Callable[[], float],
    noise: float = NOISE,
    reference: NoiseReference = "tensor",
    repeats: int = REPEATS,
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


def measure_frozen_robustness(
    runtime: BertRuntime | GoldenBert, dev: EncodedSplit, noise: float = NOISE, repeats: int = REPEATS, seed: int = 0
) -> Robustness:
    """The same of a frozen BERT, on a development set: the noise is relative to the root mean square of the frozen
    embeddings of a batch's tokens, without padding, and rounded to binary16.
    """
    magnitudes: list[float] = []  # of the batches in their order

    def clean_logits(tokens: np.ndarray, token_types: np.ndarray, mask: np.ndarray) -> np.ndarray:
        embedded = embed(runtime.model, tokens, token_types, mask)[0].astype(np.float64)
        magnitudes.append(float(np.sqrt(np.square(embedded).mean())))
        return runtime.logits(tokens, token_types, mask)

    def score(logits_of: Callable[..., np.ndarray]) -> float:
        logits = sorted_logits(dev, lambda batch: torch.from_numpy(logits_of(*(each.numpy() for each in batch))))
        return metrics(dev.task, logits, dev.labels)[dev.task.metric]

    def noisy_score(own_seed: int) -> float:
        rng, left = np.random.default_rng(own_seed), iter(magnitudes)

        def noisy_logits(tokens: np.ndarray, token_types: np.ndarray, mask: np.ndarray) -> np.ndarray:
            drawn = rng.standard_normal((int((mask != 0).sum()), runtime.model.config.width))
            return runtime.logits(tokens, token_types, mask, (noise * next(left) * drawn).astype(np.float16))

        return score(noisy_logits)

    clean = score(clean_logits)
    return Robustness(clean, tuple(noisy_score(seed + k) for k in range(repeats)), "runtime")


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
