"""Which bits the inputs of a LUT layer read: drawn at random, chosen among candidates, or chosen among all (DWN)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lutra import kernels
from lutra.recipes.language import LutLayerConfig


class Mapping(nn.Module):
    """Connections of `slots` = tables * inputs slots to `inputs_width` bits.

    `scores` is the trainable part (None for a random mapping): (bits, slots) over all bits, or (C, slots) over the bits
    that `candidates` names. Inference needs only `connections`. `freeze_` ends the choice: what was learned until then
    stays, at the speed of a random mapping.
    """

    def __init__(self, inputs_width: int, luts: int, config: LutLayerConfig, generator: torch.Generator) -> None:
        super().__init__()
        slots = luts * config.inputs
        self.inputs, self.temperature = config.inputs, config.mapping_temperature
        self.fixed: Tensor | None
        self.candidates: Tensor | None
        self.scores: nn.Parameter | None = None
        self.frozen: Tensor | None
        self.register_buffer("frozen", None, persistent=False)
        random = config.mapping == "random"
        self.register_buffer("fixed", spread_evenly(inputs_width, slots, generator) if random else None)
        choices = min(config.candidates, inputs_width)
        among = config.mapping == "candidate"
        drawn = torch.stack([spread_evenly(inputs_width, slots, generator) for _ in range(choices)]) if among else None
        self.register_buffer("candidates", drawn)
        self._by_slot: _BySlot | None = None
        if not random:
            self.scores = nn.Parameter(torch.rand(choices if among else inputs_width, slots, generator=generator))

    def connections(self) -> Tensor:
        """(L, n) int64: the bit that each table input reads."""
        if self.frozen is not None:
            return self.frozen
        if self.scores is None:
            assert self.fixed is not None
            return self.fixed.view(-1, self.inputs)
        chosen = kernels.column_argmax(self.scores.detach())
        if self.candidates is not None:
            chosen = self.candidates.gather(0, chosen[None])[0]
        return chosen.view(-1, self.inputs)

    def freeze_(self) -> None:
        """Keep the present connections: scores no longer receive gradients, and inputs only from what is connected.

        The state dictionary stays as it is; a mapping that loads one afterwards must be frozen again.
        """
        self.frozen = None
        self.frozen = self.connections()

    @property
    def trained_scores(self) -> nn.Parameter | None:
        """The scores, as long as they are trained."""
        return None if self.frozen is not None else self.scores

    def by_slot(self) -> Tensor | None:
        """The candidates as the CPU kernels read them, (slots, C) int32; None where the operator had better do it.

        They are made again whenever the candidates are other ones or have changed in place. A buffer would be stale
        there, and one that no file holds is whatever memory holds where a model is built without values and then
        filled, as Hugging Face's `from_pretrained` does.
        """
        candidates = self.candidates
        if candidates is None or torch.compiler.is_compiling() or candidates.is_inference():
            return None
        if self._by_slot is None or not self._by_slot.is_of(candidates):
            turned = candidates.t().contiguous().int()
            self._by_slot = _BySlot(candidates, candidates._version, turned)
        return self._by_slot.turned


class _BySlot(NamedTuple):
    """Candidates, the version of their content, and what was made of it."""

    candidates: Tensor
    version: int
    turned: Tensor

    def is_of(self, candidates: Tensor) -> bool:
        return self.candidates is candidates and self.version == candidates._version

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()  # a copy of the module makes its own: versions of a copy count from 0


def spread_evenly(choices: int, slots: int, generator: torch.Generator) -> Tensor:
    """(slots,) random choices in which every one is used before any repeats: concatenated random permutations."""
    rounds = -(-slots // choices)
    return torch.cat([torch.randperm(choices, generator=generator) for _ in range(rounds)])[:slots]
