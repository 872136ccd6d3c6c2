"""A whole frozen model in the place of the trained one: tokens or pixels to logits, and text with a cache."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.types import IntArray
from lutra.models.gpt import check_sampling, sample


class Session(Protocol):
    """Sequences that grow: every call takes the next tokens of each and gives their logits."""

    def __call__(self, rows: IntArray) -> IntArray:
        """Rows (B, T, width) of the program's input -> of its output."""


class WholeEngine(Protocol):
    """What computes a whole program."""

    def run(self, rows: IntArray) -> IntArray:
        """Whole sequences (B, T, width) of the program's input -> of its output."""

    def session(self) -> Session:
        """Sequences without any token yet."""


class FrozenGpt(nn.Module):
    """A language model whole in integers; logits are real numbers again only at the end."""

    def __init__(self, program: Graph, engine: WholeEngine) -> None:
        super().__init__()
        self.program, self.engine = program, engine
        context = program.context
        assert context is not None, "a language model begins with an embedding"
        self.context = context

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V), float32."""
        return self._real(self.engine.run(tokens.cpu().numpy()[:, :, None])).to(tokens.device)

    def _real(self, logits: IntArray) -> Tensor:
        return _real(self.program, logits)

    def generate(
        self,
        tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `GPT.generate`, with keys and values of earlier tokens kept.

        Positions are learned, so that what is kept does not move: when the context is full, the last half of it is
        computed again from its beginning, and text goes on from there.
        """
        check_sampling(tokens, temperature, top_k)
        session, kept = self.engine.session(), 0
        unseen = min(tokens.shape[1], self.context)
        for _ in range(max_new_tokens):
            if kept + unseen > self.context:
                session, kept = self.engine.session(), 0
                unseen = max(1, self.context // 2)
            logits = self._real(session(tokens[:, -unseen:, None].cpu().numpy())[:, -1])
            kept, unseen = kept + unseen, 1
            tokens = torch.cat([tokens, sample(logits, temperature, top_k, generator)], dim=1)
        return tokens


class FrozenVit(nn.Module):
    """A vision transformer whole in integers; logits are real numbers again only at the end."""

    def __init__(self, program: Graph, engine: WholeEngine) -> None:
        super().__init__()
        self.program, self.engine = program, engine

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, side, side) uint8 -> logits (B, classes), float32."""
        return _real(self.program, self.engine.run(rows_of_pixels(pixels))[:, 0])


def rows_of_pixels(pixels: Tensor) -> np.ndarray:
    """Images (B, 3, height, width) -> a row of channels for each pixel, (B, height * width, 3)."""
    rows: np.ndarray = pixels.permute(0, 2, 3, 1).flatten(1, 2).cpu().numpy()
    return rows


def _real(program: Graph, logits: IntArray) -> Tensor:
    return torch.from_numpy(golden.dequantise(logits, program.output_type))
