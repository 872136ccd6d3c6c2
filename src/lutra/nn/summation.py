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
    """Integers, held as float32, of a conditional summation: the frozen model's encoded values, bias and shift.

    The shift is one for the block, or one for each output (D,), which then has its own power of two of one scale; those
    may be negative: sums that are multiplied by a power of two.
    """

    encoded: Tensor  # (R, D)
    bias: Tensor  # (D,)
    shift: Tensor  # scalar or (D,)
    output_bits: int
    output_scale: Tensor  # scalar


@dataclass(frozen=True)
class EncodedGrid:
    """The integers that encoded values may become, symmetric around 0 (`BlockConfig.encoded_values`)."""

    values: Literal["int", "power_of_two"]
    bits: int

    @property
    def largest(self) -> int:
        return 1 << (self.bits - 2) if self.values == "power_of_two" else (1 << (self.bits - 1)) - 1

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
        self.per_output = config.encoded_scale == "output"
        self.encoded = nn.Parameter(torch.randn(bits, width, generator=generator) * config.encoded_std)
        self.bias = nn.Parameter(torch.zeros(width))
        self.mask: Tensor | None
        self.live: Tensor | None  # places in `encoded`, flattened, that the mask leaves
        self.register_buffer("mask", None, persistent=False)
        self.register_buffer("live", None, persistent=False)
        self.refresh_()

    def refresh_(self) -> None:
        """Make again what no file holds: which encoded values the groups leave."""
        bits, width = self.encoded.shape
        mask = torch.from_numpy(group_mask(bits, width, self.groups)) if self.groups > 1 else None
        device = self.encoded.device
        self.mask = None if mask is None else mask.to(device)
        self.live = None if mask is None else mask.flatten().nonzero()[:, 0].to(device)

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

        The shift is the smallest with which the worst case sum still fits the output, so nothing ever saturates. With a
        scale per output, its encoded values are on a grid of their own that is a power of two finer than the block's;
        the output's shift brings it back to the scale that all outputs have.
        """
        if self.per_output:
            return self._integers_per_output()
        encoded = self.pruned_encoded()
        # The second term keeps the integer bias within the 24 bits that float32 holds, even where all E are zero.
        scale = torch.maximum(self.grid.scale(encoded), self.bias.abs().max() / 2**22).clamp_min(1e-10)
        encoded_int = self._placed(self.grid.integers(encoded, scale))
        bias_int, bit_length = self._bias_and_bits(encoded_int, scale)
        shift = (bit_length.max() + 1 - self.output_bits).clamp_min(0)
        return IntegerSum(encoded_int, bias_int, shift, self.output_bits, scale * 2.0**shift)

    def _integers_per_output(self) -> IntegerSum:
        encoded = self._placed(self.pruned_encoded())
        base = self.grid.scale(encoded.flatten()).clamp_min(1e-10)
        exponent = torch.ceil(torch.log2(encoded.abs().amax(dim=0) / (self.grid.largest * base)).clamp(-40, 40))
        if self.grid.bits < 8:  # finer grids that clip what is rare, as `EncodedGrid.scale` does for a block
            tried = torch.stack([exponent - step for step in range(8 - self.grid.bits + 1)])  # (candidates, D)
            errors = [
                (base * 2.0**e * self.grid.integers(encoded, base * 2.0**e) - encoded).square().sum(dim=0)
                for e in tried
            ]
            exponent = tried.gather(0, torch.stack(errors).argmin(dim=0)[None])[0]
        # The bias must stay within the 24 bits that float32 holds.
        exponent = torch.maximum(exponent, torch.ceil(torch.log2(self.bias.abs() / (base * 2**22)).clamp_min(-40)))
        encoded_int = self.grid.integers(encoded, base * 2.0**exponent)
        bias_int, bit_length = self._bias_and_bits(encoded_int, base * 2.0**exponent)
        # The outputs' own scale: as fine as the widest output allows, but no finer than the finest grid.
        highest = torch.maximum((exponent + bit_length + 1 - self.output_bits).max(), exponent.min())
        return IntegerSum(encoded_int, bias_int, highest - exponent, self.output_bits, base * 2.0**highest)

    def _bias_and_bits(self, encoded_int: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """The integer bias (D,), and for each output the bits of the largest magnitude that its sum can take."""
        constant = encoded_int.sum(dim=0) / 2 if self.centred else torch.zeros_like(self.bias)
        bias_int = torch.floor(self.bias.float() / scale - constant + 0.5)
        high = bias_int + encoded_int.clamp_min(0).sum(dim=0)
        low = bias_int + encoded_int.clamp_max(0).sum(dim=0)
        return bias_int, torch.frexp(torch.maximum(high + 1, -low) - 1).exponent

    def _placed(self, live: Tensor) -> Tensor:
        """(R, D) of the values that the groups leave, one row, with zeros elsewhere."""
        if self.live is not None:
            live = torch.zeros_like(self.encoded, dtype=live.dtype).flatten().index_copy(0, self.live, live)
        return live.view_as(self.encoded)

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
            return self.requantise(torch.addmm(integers.bias, bits.float().t(), integers.encoded), integers)

    def requantise(self, total: Tensor, integers: IntegerSum) -> Tensor:
        """Integer sums (N, D) -> the values of the requantised outputs (N, D)."""
        step = 2.0**integers.shift
        rounding = torch.floor(step / 2)
        limit = 2.0 ** (self.output_bits - 1)
        return torch.floor((total + rounding) / step).clamp(-limit, limit - 1) * integers.output_scale
