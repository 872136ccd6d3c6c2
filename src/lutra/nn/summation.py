"""The conditional summation (QuWeiT section 3.1): add a row of encoded values for every bit that is 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lutra.kernels import reference
from lutra.kernels.adamw import Region
from lutra.recipes.groups import group_bounds, group_mask
from lutra.recipes.language import BlockConfig


class IntegerSum(NamedTuple):
    """Integers, held as float32, of a conditional summation: the frozen model's encoded values, bias and shift."""

    encoded: Tensor  # (R, D)
    bias: Tensor  # (D,)
    shift: Tensor  # scalar
    output_bits: int
    output_scale: Tensor  # scalar


@dataclass(frozen=True)
class EncodedGrid:
    """The integers that encoded values may become, symmetric around 0 (`BlockConfig.encoded_values`)."""

    values: Literal["int", "power_of_two"]
    bits: int

    @property
    def largest(self) -> int:
        return 2 ** (self.bits - 2) if self.values == "power_of_two" else 2 ** (self.bits - 1) - 1

    def integers(self, encoded: Tensor, scale: Tensor) -> Tensor:
        """The nearest integers of the grid to `encoded / scale`, as floats."""
        units = encoded / scale
        if self.values == "int":
            return torch.floor(units + 0.5).clamp(-self.largest, self.largest)
        magnitude = units.abs()
        # A magnitude of 1.5 * 2^k lies in the middle of two neighbours; its quotient is 0.5 * 2^(k+1).
        exponent = torch.frexp(magnitude / 1.5).exponent.clamp(0, self.bits - 2)
        return units.sign() * torch.exp2(exponent.float()) * (magnitude >= 0.5)

    def scale(self, encoded: Tensor) -> Tensor:
        """The scale (scalar) with the smallest squared error of `encoded` (one row), among steps of a quarter octave.

        The widest puts the largest magnitude on the largest integer, which is best for 8 bits. Fewer bits had better
        clip what is large and rare: every bit less lets the scale be half as wide.
        """
        widest = encoded.abs().max() / self.largest
        ratios = torch.exp2(-torch.arange(4 * (8 - self.bits) + 1, device=encoded.device) / 4)
        candidates = (ratios * widest).clamp_min(1e-10)[:, None]  # (candidates, 1)
        error = (candidates * self.integers(encoded, candidates) - encoded).square().sum(dim=1)
        return candidates[:, 0].index_select(0, error.argmin()[None])[0]  # no index by value: torch.compile


class ConditionalSummation(nn.Module):
    """`y[d] = bias[d] + sum_r bit[r] E[r, d]`; with groups, each output sums only the bits of its own group."""

    def __init__(self, bits: int, width: int, config: BlockConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.centred, self.groups = config.centred, min(config.groups, bits, width)
        self.grid = EncodedGrid(config.encoded_values, config.encoded_bits)
        self.kept, self.output_bits = config.encoded_kept, config.output_bits
        self.encoded = nn.Parameter(torch.randn(bits, width, generator=generator) * config.encoded_std)
        self.bias = nn.Parameter(torch.zeros(width))
        self.mask: Tensor | None
        self.live: Tensor | None  # places in `encoded`, flattened, that the mask leaves
        mask = torch.from_numpy(group_mask(bits, width, self.groups)) if self.groups > 1 else None
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("live", None if mask is None else mask.flatten().nonzero()[:, 0], persistent=False)

    def forward(self, bits: Tensor, integers: IntegerSum | None = None) -> Tensor:
        """Bits (R, N) -> (N, D), in floating point; `integers` as for `trained_encoded`."""
        encoded = self.trained_encoded(integers)
        encoded = encoded if self.mask is None else encoded * self.mask
        return reference.conditional_sum(bits, encoded, self.bias, self.centred)

    def trained_encoded(self, integers: IntegerSum | None = None) -> Tensor:
        """The encoded values (R, D) that gradients see: real ones, or those of `integers` with a straight-through
        gradient, also where they were pruned, so that they may come back. Those between groups are of no interest."""
        if integers is None:
            return self.encoded
        scale = integers.output_scale * torch.exp2(-integers.shift)
        return reference.straight_through((scale * integers.encoded).to(self.encoded.dtype), self.encoded)

    def live_regions(self) -> list[Region]:
        """The parts of the encoded values that are summed, a rectangle for each group."""
        rows, columns = (group_bounds(width, self.groups) for width in self.encoded.shape)
        return [Region(*rows[g : g + 2], *columns[g : g + 2]) for g in range(self.groups)]

    @torch.no_grad()
    def integers(self) -> IntegerSum:
        """What the hardware adds: one scale per block, and a power of two to the output so that nothing multiplies.

        The shift is the smallest with which the worst case sum still fits the output, so nothing ever saturates.
        """
        encoded = self.pruned_encoded()
        # The second term keeps the integer bias within the 24 bits that float32 holds, even where all E are zero.
        scale = torch.maximum(self.grid.scale(encoded), self.bias.abs().max() / 2**22).clamp_min(1e-10)
        encoded_int = self.grid.integers(encoded, scale)
        if self.live is not None:
            encoded_int = torch.zeros_like(self.encoded).flatten().index_copy(0, self.live, encoded_int)
        encoded_int = encoded_int.view_as(self.encoded)
        constant = encoded_int.sum(dim=0) / 2 if self.centred else torch.zeros_like(self.bias)
        bias_int = torch.floor(self.bias.float() / scale - constant + 0.5)
        high = (bias_int + encoded_int.clamp_min(0).sum(dim=0)).max()
        low = (bias_int + encoded_int.clamp_max(0).sum(dim=0)).min()
        worst = torch.maximum(high + 1, -low)
        bit_length = torch.frexp(worst - 1).exponent
        shift = (bit_length + 1 - self.output_bits).clamp_min(0)
        return IntegerSum(encoded_int, bias_int, shift, self.output_bits, scale * 2.0**shift)

    def pruned_encoded(self) -> Tensor:
        """All encoded values that are summed, one row, with zeros in the place of those that are not kept."""
        encoded = self.encoded.float().flatten()
        if self.live is not None:
            encoded = encoded[self.live]
        if self.kept == 1:
            return encoded
        dropped = len(encoded) - math.ceil(self.kept * len(encoded))
        magnitude = encoded.abs()
        smallest = magnitude.kthvalue(dropped + 1).values
        return torch.where(magnitude >= smallest, encoded, 0)

    def integer_forward(self, bits: Tensor, integers: IntegerSum) -> Tensor:
        """Bits (R, N) -> (N, D): exactly `dequantise(requantise(conditional_sum))` of frozen/spec.md.

        float32 holds every intermediate exactly: sums of int8 values stay below 2^24.
        """
        with torch.no_grad(), torch.autocast(bits.device.type, enabled=False):
            total = torch.addmm(integers.bias, bits.float().t(), integers.encoded)
            step = 2.0**integers.shift
            half = torch.floor(step / 2)
            limit = 2.0 ** (self.output_bits - 1)
            y = torch.floor((total + half) / step).clamp(-limit, limit - 1)
            return y * integers.output_scale
