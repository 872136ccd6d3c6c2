"""Quantisers with straight-through gradients: weights in 1, 2 or more bits, activations with a learned step.

Weights: BWN (Rastegari et al. 2016), TWN (Li and Liu 2016), symmetric min-max (Q8BERT). Activations: LSQ (Esser et al.
2020), elastic quantisation (BiT, Liu et al. 2022; BMT Eq. 2). Rounding is half up, as everywhere in Lutra.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.kernels.quantise import autocast_dtype, few_bit_weight, learned_step
from lutra.kernels.reference import step_integers, straight_through

TERNARY_THRESHOLD = 0.7
"""TWN: weights within this fraction of the mean magnitude become 0."""
SMALLEST_STEP = 1e-5
"""A learned step is never used below this, whatever the optimiser makes of the parameter (BiT)."""

STEP_MULTIPLES = tuple(part / 20 for part in range(4, 81))
"""Of LSQ's first step, among which that of least error is looked for. In a ternary MiniLM with four-bit activations,
queries, keys and values want 0.5 to 0.7 of it, neurons behind a ReLU 1.4 to 2.8 times as much, and the attention
probabilities of the first layer 3.5 times."""


class WeightCodes(NamedTuple):
    """Quantised weights: `scale * integers`."""

    integers: Tensor  # (rows, columns), in the weights' float type
    scale: Tensor  # (rows, 1), or (1, 1) for one scale per tensor


def quantise_weight(weight: Tensor, bits: int, per_row: bool = False, centred: bool = False) -> WeightCodes:
    """Integers and scales of `weight` (rows, columns), with one scale per tensor or per row.

    1 bit is BWN: the sign (of 0: +1), scaled by the mean magnitude; `centred` takes the sign of weight minus mean, as
    BiT does. 2 bits are TWN: {-1, 0, +1}, scaled by the mean magnitude of what is not 0. More bits are symmetric around
    0 with the largest magnitude as the largest integer. A row of zeros has the scale 0.
    """
    groups = _groups(weight, per_row)
    if bits <= 2:
        integers, scale = few_bit_weight(groups, bits == 2, centred, TERNARY_THRESHOLD)
    else:
        scale = groups.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
        integers = torch.floor(groups / torch.where(scale > 0, scale, 1.0) + 0.5)
    return WeightCodes(integers.view(weight.shape), scale)


def fake_quantise_weight(
    weight: Tensor, bits: int, per_row: bool = False, centred: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """The real values of `quantise_weight`, in `dtype` if given; the gradient passes straight through, not clipped."""
    if bits <= 2:
        groups = _groups(weight, per_row)
        values, _ = few_bit_weight(groups, bits == 2, centred, TERNARY_THRESHOLD, scaled=True, dtype=dtype)
        return straight_through(values.view(weight.shape), weight)
    codes = quantise_weight(weight, bits, per_row, centred)
    return straight_through((codes.scale * codes.integers).to(dtype or weight.dtype), weight)


def _groups(weight: Tensor, per_row: bool) -> Tensor:
    """Each row of what is returned shares a scale."""
    return weight.detach() if per_row else weight.detach().reshape(1, -1)


class ActivationQuantiser(nn.Module):
    """One learned step for a tensor (..., features), and a learned bias per feature if `features` is given.

    `integers = round(clip((x + bias) / step, low, high))` and the output is `step * integers` (BMT Eq. 2), under
    autocast in its type, as only matrix products read it. Without bias this is LSQ. Signed: -2^(N-1) to 2^(N-1) - 1,
    with one bit -1 and +1 (the sign; of 0: +1). Unsigned: 0 to 2^N - 1.

    The first batch sets the step, as `start` says; until then it is not a number. "magnitude" is LSQ's rule as
    BinaryBERT and BiT have it: 2 (signed) or 4 (unsigned) times the mean magnitude, over the root of the largest
    integer. "error" takes the multiple of that step whose integers have the least squared error.

    Raises:
        InputError: the first batch is empty or not finite.
    """

    def __init__(self, bits: int, signed: bool, features: int | None = None) -> None:
        super().__init__()
        self.bits, self.signed = bits, signed
        self.start: Literal["magnitude", "error"] = "magnitude"
        self.step = nn.Parameter(torch.tensor(torch.nan))
        self.bias = None if features is None else nn.Parameter(torch.zeros(features))

    @property
    def low(self) -> int:
        if not self.signed:
            return 0
        return -1 if self.bits == 1 else -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        if not self.signed:
            return (1 << self.bits) - 1
        return max(1, (1 << (self.bits - 1)) - 1)

    @property
    def calibrated(self) -> bool:
        return bool(self.step.isfinite())

    @torch.no_grad()
    def calibrate_(self, x: Tensor) -> None:
        """Set the step from activations; the bias stays."""
        magnitude = x.detach().abs().mean()
        if not magnitude.isfinite():
            raise InputError(f"a quantiser needs finite activations to find its step, got a mean of {magnitude}")
        factor = 2 if self.signed else 4
        self.step.copy_((factor * magnitude / math.sqrt(self.high)).clamp_min(SMALLEST_STEP))
        if self.start == "error":
            steps = [(self.step * multiple).clamp_min(SMALLEST_STEP) for multiple in STEP_MULTIPLES]
            self.step.copy_(min(steps, key=lambda step: self._squared_error(x, step)))

    def _squared_error(self, x: Tensor, step: Tensor) -> float:
        shifted = x.detach().float() if self.bias is None else x.detach().float() + self.bias
        difference = step * step_integers(shifted, step, self.low, self.high) - shifted
        return float(difference.square().mean(dtype=torch.float64))

    def integers(self, x: Tensor) -> Tensor:
        """What the hardware computes, held in x's float type: one addition, one product with 1/step, round, clip."""
        shifted = x.detach() if self.bias is None else x.detach() + self.bias.detach()
        return step_integers(shifted, self._safe_step().detach(), self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        if not self.calibrated:
            self.calibrate_(x)
        gradient_scale = 1 / math.sqrt(x.numel() * self.high)
        return learned_step(x, self.bias, self._safe_step(), self.low, self.high, gradient_scale, autocast_dtype(x))

    def _safe_step(self) -> Tensor:
        """The step, positive; where it had to be raised the gradient still reaches it, so that it can come back."""
        return straight_through(self.step.detach().clamp_min(SMALLEST_STEP), self.step)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}, bias={self.bias is not None}"


def bits_per_code(bits: int) -> int:
    """Bits that a weight takes when packed: a divisor of 8."""
    return next(width for width in (1, 2, 4, 8) if width >= bits)


def pack_codes(integers: Tensor, bits: int) -> Tensor:
    """Integers (rows, columns) of `quantise_weight` -> uint8 (rows, bytes); the first code in the lowest bits.

    One bit is 1 for +1 and 0 for -1; more bits hold the integer plus 2^(bits - 1).
    """
    width = bits_per_code(bits)
    codes = (integers > 0).to(torch.uint8) if bits == 1 else (integers + 2 ** (bits - 1)).to(torch.uint8)
    per_byte = 8 // width
    padded = nn.functional.pad(codes, (0, -codes.shape[1] % per_byte)).view(len(codes), -1, per_byte)
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=codes.device)
    return (padded << shifts).sum(dim=2, dtype=torch.uint8)


def unpack_codes(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The inverse of `pack_codes`: uint8 (..., bytes) -> float32 integers (..., columns)."""
    width = bits_per_code(bits)
    shifts = torch.arange(0, 8, width, dtype=torch.uint8, device=packed.device)
    codes = ((packed[..., None] >> shifts) & ((1 << width) - 1)).flatten(-2)[..., :columns].float()
    return 2 * codes - 1 if bits == 1 else codes - (1 << (bits - 1))
