"""A table addressed by the token's id, beside a block: what a feed-forward part returns for it wherever it stands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import ConversionError

ENTRY_BITS = 8


class TokenIds:
    """The ids of the pass that is running, as the model's embedding has read them."""

    def __init__(self) -> None:
        self.ids: Tensor | None = None

    def watch(self, model: nn.Module) -> list[Any]:
        """Follow the passes of `model`; the handles that are returned end it.

        Raises:
            ConversionError: see `embedding_of`.
        """
        embedding, path = embedding_of(model)
        parts = path.split(".")
        above = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]
        # forgotten at the start of every pass: one that is given embeddings instead of ids must not find older ones
        forgetting = [module.register_forward_pre_hook(self.forget) for module in above]
        return [*forgetting, embedding.register_forward_pre_hook(self.see, with_kwargs=True)]

    def forget(self, *_: Any) -> None:
        self.ids = None

    def see(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.ids = args[0] if args else kwargs.get("input")


class TokenTable(nn.Module):
    """A block, and a row for every id of the vocabulary: `y = block(x) + entries[id] * 2**exponents`.

    Costs one addition per output, no multiplication, and a ROM of `rom_bits`. It is no function of `x`: the accelerator
    around the block must bring the ids.

    Raises:
        ConversionError: a pass without ids, or with others than one for each row of `x`.
    """

    def __init__(self, block: nn.Module, outputs: int, vocabulary: int, ids: TokenIds) -> None:
        super().__init__()
        self.block = block
        self._ids = ids
        self.entries: Tensor
        self.exponents: Tensor
        self.register_buffer("entries", torch.zeros(vocabulary, outputs, dtype=torch.int8))
        self.register_buffer("exponents", torch.zeros(outputs, dtype=torch.int8))

    @property
    def rom_bits(self) -> int:
        return self.entries.numel() * ENTRY_BITS

    @torch.no_grad()
    def fill_(self, rows: Tensor) -> None:
        """Set the entries to the integers nearest to `rows`, (vocabulary, outputs), with a power of two per output."""
        largest = rows.abs().amax(dim=0).clamp_min(2.0**-100)
        exponents = (largest / 127).log2().ceil()
        self.exponents.copy_(exponents)
        self.entries.copy_((rows / exponents.exp2()).round().clamp(-127, 127))

    def rows(self, ids: Tensor) -> Tensor:
        """Of ids (...): (..., outputs) in float32."""
        return self.entries[ids].float() * self.exponents.float().exp2()

    def forward(self, x: Tensor) -> Tensor:
        ids = self._ids.ids
        if ids is None:
            raise ConversionError("a token table needs ids: call the model with input_ids, not with embeddings")
        if ids.shape != x.shape[:-1]:
            raise ConversionError(
                f"a token table needs one id for each row: ids {tuple(ids.shape)}, rows {tuple(x.shape[:-1])}"
            )
        y: Tensor = self.block(x)
        return y + self.rows(ids).to(y.dtype)


def embedding_of(model: Any) -> tuple[nn.Embedding, str]:
    """The embedding of a model's token ids and its path.

    Raises:
        ConversionError: it has none, or several kinds of ids (encoder and decoder).
    """
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        embedding = None
    path = next((name for name, module in model.named_modules() if module is embedding and name), None)
    if not isinstance(embedding, nn.Embedding) or path is None:
        raise ConversionError(f"token tables need a model with an embedding of token ids, not a {type(model).__name__}")
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ConversionError(f"token tables: a {type(model).__name__} reads two kinds of ids, encoder's and decoder's")
    return embedding, path
