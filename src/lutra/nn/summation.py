"""The conditional summation (QuWeiT section 3.1): add a row of encoded values for every bit that is 1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lutra.groups import group_mask
from lutra.kernels import reference
from lutra.recipe import BlockConfig


class IntegerSum(NamedTuple):
    """Integers, held as float32, of a conditional summation: the frozen model's encoded values, bias and shift."""

    encoded: Tensor  # (R, D)
    bias: Tensor  # (D,)
    shift: Tensor  # scalar
    output_bits: int
    output_scale: Tensor  # scalar


class ConditionalSummation(nn.Module):
    """`y[d] = bias[d] + sum_r bit[r] E[r, d]`; with groups, each output sums only the bits of its own group."""

    def __init__(self, bits: int, width: int, config: BlockConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.centred, self.groups = config.centred, min(config.groups, bits, width)
        self.encoded_bits, self.output_bits = config.encoded_bits, config.output_bits
        self.encoded = nn.Parameter(torch.randn(bits, width, generator=generator) * config.encoded_std)
        self.bias = nn.Parameter(torch.zeros(width))
        self.mask: Tensor | None
        mask = torch.from_numpy(group_mask(bits, width, self.groups)) if self.groups > 1 else None
        self.register_buffer("mask", mask, persistent=False)

    def masked_encoded(self) -> Tensor:
        return self.encoded if self.mask is None else self.encoded * self.mask

    def forward(self, bits: Tensor) -> Tensor:
        """Bits (R, N) -> (N, D), in floating point."""
        return reference.conditional_sum(bits, self.masked_encoded(), self.bias, self.centred)

    @torch.no_grad()
    def integers(self) -> IntegerSum:
        """What the hardware adds: one scale per block, and a power of two to the output so that nothing multiplies.

        The shift is the smallest with which the worst case sum still fits the output, so nothing ever saturates.
        """
        largest = 2 ** (self.encoded_bits - 1) - 1
        encoded = self.masked_encoded().float()
        # The second term keeps the integer bias within the 24 bits that float32 holds, even where all E are zero.
        scale = torch.maximum(encoded.abs().max() / largest, self.bias.abs().max() / 2**22).clamp_min(1e-10)
        encoded_int = torch.floor(encoded / scale + 0.5).clamp(-largest, largest)
        constant = encoded_int.sum(dim=0) / 2 if self.centred else torch.zeros_like(self.bias)
        bias_int = torch.floor(self.bias.float() / scale - constant + 0.5)
        high = (bias_int + encoded_int.clamp_min(0).sum(dim=0)).max()
        low = (bias_int + encoded_int.clamp_max(0).sum(dim=0)).min()
        worst = torch.maximum(high + 1, -low)
        bit_length = torch.frexp(worst - 1).exponent
        shift = (bit_length + 1 - self.output_bits).clamp_min(0)
        return IntegerSum(encoded_int, bias_int, shift, self.output_bits, scale * 2.0**shift)

    def integer_forward(self, bits: Tensor) -> Tensor:
        """Bits (R, N) -> (N, D): exactly `dequantise(requantise(conditional_sum))` of frozen/spec.md.

        float32 holds every intermediate exactly: sums of int8 values stay below 2^24.
        """
        with torch.no_grad(), torch.autocast(bits.device.type, enabled=False):
            integers = self.integers()
            total = torch.addmm(integers.bias, bits.float().t(), integers.encoded)
            step = 2.0**integers.shift
            half = torch.floor(step / 2)
            limit = 2.0 ** (self.output_bits - 1)
            y = torch.floor((total + half) / step).clamp(-limit, limit - 1)
            return y * integers.output_scale
