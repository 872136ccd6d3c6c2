"""Which bits the inputs of a LUT layer read: drawn at random, chosen among candidates, or chosen among all (DWN)."""

from __future__ import annotations

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
        self.frozen: Tensor | None = None
        random = config.mapping == "random"
        self.register_buffer("fixed", spread_evenly(inputs_width, slots, generator) if random else None)
        choices = min(config.candidates, inputs_width)
        among = config.mapping == "candidate"
        drawn = torch.stack([spread_evenly(inputs_width, slots, generator) for _ in range(choices)]) if among else None
        self.register_buffer("candidates", drawn)
        self.by_slot: Tensor | None
        self.register_buffer("by_slot", None if drawn is None else _by_slot(drawn), persistent=False)
        self.register_load_state_dict_post_hook(_refresh_by_slot)  # type: ignore[no-untyped-call]
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


def _by_slot(candidates: Tensor) -> Tensor:
    """(C, slots) -> (slots, C) int32, as the CPU kernels read them."""
    return candidates.t().contiguous().int()


def _refresh_by_slot(mapping: Mapping, _: object) -> None:
    if mapping.candidates is not None:
        mapping.by_slot = _by_slot(mapping.candidates)


def spread_evenly(choices: int, slots: int, generator: torch.Generator) -> Tensor:
    """(slots,) random choices in which every one is used before any repeats: concatenated random permutations."""
    rounds = -(-slots // choices)
    return torch.cat([torch.randperm(choices, generator=generator) for _ in range(rounds)])[:slots]
