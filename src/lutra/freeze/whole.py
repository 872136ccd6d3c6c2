"""A whole frozen language model in the place of the trained one: tokens to logits, and text with a cache."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from lutra.frozen import golden
from lutra.frozen.graph import Graph
from lutra.frozen.ops import Past
from lutra.frozen.types import IntArray
from lutra.models.gpt import check_sampling, sample


class Session(Protocol):
    """Sequences that grow: every call takes the next tokens of each and gives their logits."""

    def __call__(self, tokens: IntArray) -> IntArray:
        """Token numbers (B, T) -> integer logits (B, T, V)."""


class WholeEngine(Protocol):
    """What computes a whole program."""

    def run(self, tokens: IntArray) -> IntArray:
        """Token numbers (B, T) of whole sequences -> integer logits (B, T, V)."""

    def session(self) -> Session:
        """Sequences without any token yet."""


class GoldenEngine:
    """The NumPy definition as an engine."""

    def __init__(self, program: Graph) -> None:
        self.program = program

    def run(self, tokens: IntArray) -> IntArray:
        return golden.run(self.program, tokens[:, :, None])

    def session(self) -> Session:
        past = Past()
        return lambda tokens: golden.run(self.program, tokens[:, :, None], past=past)


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
        return self._real(self.engine.run(tokens.cpu().numpy())).to(tokens.device)

    def _real(self, logits: IntArray) -> Tensor:
        return torch.from_numpy(golden.dequantise(logits, self.program.output_type))

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
            logits = self._real(session(tokens[:, -unseen:].cpu().numpy())[:, -1])
            kept, unseen = kept + unseen, 1
            tokens = torch.cat([tokens, sample(logits, temperature, top_k, generator)], dim=1)
        return tokens
