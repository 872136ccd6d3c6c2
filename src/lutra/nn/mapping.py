"""Which bits the inputs of a LUT layer read: drawn at random, chosen among candidates, or chosen among all (DWN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lutra import kernels
from lutra.recipes.language import LutLayerConfig


class Mapping(nn.Module):
    """Connections of `slots` = tables * inputs slots to `inputs_width` bits.

    `scores` is the trainable part (None for a random mapping): (bits, slots) over all bits, or (C, slots) over the bits
    that `candidates` names. Inference needs only `connections`.
    """

    def __init__(self, inputs_width: int, luts: int, config: LutLayerConfig, generator: torch.Generator) -> None:
        super().__init__()
        slots = luts * config.inputs
        self.inputs, self.temperature = config.inputs, config.mapping_temperature
        self.fixed: Tensor | None
        self.candidates: Tensor | None
        self.scores: nn.Parameter | None = None
        random = config.mapping == "random"
        self.register_buffer("fixed", spread_evenly(inputs_width, slots, generator) if random else None)
        choices = min(config.candidates, inputs_width)
        among = config.mapping == "candidate"
        drawn = torch.stack([spread_evenly(inputs_width, slots, generator) for _ in range(choices)]) if among else None
        self.register_buffer("candidates", drawn)
        if not random:
            self.scores = nn.Parameter(torch.rand(choices if among else inputs_width, slots, generator=generator))

    def connections(self) -> Tensor:
        """(L, n) int64: the bit that each table input reads."""
        if self.scores is None:
            assert self.fixed is not None
            return self.fixed.view(-1, self.inputs)
        chosen = kernels.column_argmax(self.scores.detach())
        if self.candidates is not None:
            chosen = self.candidates.gather(0, chosen[None])[0]
        return chosen.view(-1, self.inputs)


def spread_evenly(choices: int, slots: int, generator: torch.Generator) -> Tensor:
    """(slots,) random choices in which every one is used before any repeats: concatenated random permutations."""
    rounds = -(-slots // choices)
    return torch.cat([torch.randperm(choices, generator=generator) for _ in range(rounds)])[:slots]
