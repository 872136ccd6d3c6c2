"""I-ViT's functions in exact integers, for training and evaluation in PyTorch: Shiftmax, ShiftGELU and I-LayerNorm.

As in `nn.integer`: integers are carried as float64, every function computes what the frozen operation of the same name
computes, to the bit, and its gradient is that of the real function, in units of the integers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.kernels.reference import straight_through
from lutra.nn.integer import dyadic, floor_half, join_heads, requantised, split_heads, type_range

RECIPROCAL = (1 << 31) - 1
SHIFTMAX_SHIFT, GELU_SHIFT = 15, 23
"""Bits below the binary point of the exponentials in the published code."""
SHIFTMAX_BITS, SIGMOID_BITS = 16, 8
SIGMOID_SCALE = 1.702
LARGEST_GELU_INPUT = 7.5
"""Beyond it one element of a row can spoil the others; an input is clipped there."""
MULTIPLIER_BITS, LARGEST_SHIFT = 26, 62
NORM_MULTIPLIER_BITS = 30
ROOT_START, ROOT_STEPS = 1 << 16, 10


def shift_exp(x: Tensor, unit: int, shift: int) -> Tensor:
    """About `2^shift * unit * exp(x / unit)` of int64 x <= 0."""
    power = (x + (x >> 1) - (x >> 4)).clamp_min(-shift * unit)
    halvings = torch.div(-power, unit, rounding_mode="floor")
    rest = power + unit * halvings
    return ((rest + 2 * unit) << (shift - halvings)) >> 1


class Shiftmax(NamedTuple):
    """Constants of attention with Shiftmax."""

    multiplier: int
    shift: int
    unit: int
    context_multiplier: int
    context_shift: int
    ratio: float  # real scores of a sum of products
    gain: float  # context integers to a value's integer


@torch.no_grad()
def shiftmax_constants(
    query_scale: float, key_scale: float, value_scale: float, score_scale: float, context_scale: float,
    head_width: int, keys: int, where: str,
) -> Shiftmax:  # fmt: skip
    """Of int8 scores at `score_scale` and int8 contexts.

    Raises:
        InputError: scores so small that the sum of exponentials would leave 31 bits, or scales that lie too far apart.
    """
    unit = math.ceil(1 / score_scale)
    if unit > RECIPROCAL // (keys << SHIFTMAX_SHIFT):
        raise InputError(f"{where}: scores up to {127 * score_scale:.3g} are too small for Shiftmax over {keys} keys")
    ratio = query_scale * key_scale / math.sqrt(head_width)
    gain = value_scale / context_scale
    multiplier, shift = dyadic(_scalar(ratio / score_scale), where, MULTIPLIER_BITS, LARGEST_SHIFT)
    scaled = _scalar(gain * 2.0 ** -(SHIFTMAX_BITS - 1))
    context_multiplier, context_shift = dyadic(scaled, where, MULTIPLIER_BITS, LARGEST_SHIFT)
    return Shiftmax(int(multiplier), shift, unit, int(context_multiplier), context_shift, ratio, gain)


def _scalar(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def shiftmax_attention(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool, c: Shiftmax) -> Tensor:
    """int8 integers (B, T, D) each -> int8 (B, T, D); causal: a query sees the keys up to its own position."""
    query, key, value = (split_heads(rows, heads) for rows in (query, key, value))  # (B, H, T, W)
    visible = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
    visible = visible.tril() if causal else visible
    low, high = type_range(8)
    with torch.no_grad():
        scores = requantised(query @ key.transpose(-1, -2), torch.tensor(c.multiplier), c.shift, 8).long()
        largest = scores.masked_fill(~visible, low - 1).amax(dim=-1, keepdim=True)
        exponentials = shift_exp((scores - largest).clamp_max(0), c.unit, SHIFTMAX_SHIFT) * visible
        factor = torch.div(RECIPROCAL, exponentials.sum(dim=-1, keepdim=True), rounding_mode="floor")
        probabilities = (exponentials * factor) >> (31 - SHIFTMAX_BITS + 1)
        sums = probabilities.double() @ value
        exact = requantised(sums, torch.tensor(c.context_multiplier), c.context_shift, 8)
    if not torch.is_grad_enabled():
        return join_heads(exact)
    real_scores = (query @ key.transpose(-1, -2)) * c.ratio
    weights = real_scores.masked_fill(~visible, -math.inf).softmax(dim=-1)
    return join_heads(straight_through(exact, (weights @ value * c.gain).clamp(low, high)))


class Gelu(NamedTuple):
    """Constants of ShiftGELU and of its requantising."""

    unit: int
    shift: int
    multiplier: int
    output_shift: int


@torch.no_grad()
def gelu_constants(input_scale: float, output_scale: float, where: str) -> Gelu:
    """Raises InputError where the scales lie too far apart, or the input's is too small for 31 bits."""
    unit, shift = math.ceil(1 / (SIGMOID_SCALE * input_scale)), GELU_SHIFT
    while shift > 1 and unit > RECIPROCAL >> (shift + 1):
        shift -= 1
    ratio = _scalar(input_scale * 2.0 ** -(SIGMOID_BITS - 1) / output_scale)
    multiplier, output_shift = dyadic(ratio, where, MULTIPLIER_BITS, LARGEST_SHIFT)
    return Gelu(unit, shift, int(multiplier), output_shift)


def shift_gelu(x: Tensor, c: Gelu, input_scale: float, output_scale: float) -> Tensor:
    """int8 integers (..., D) -> int8; every element's sigmoid is relative to the largest element of its row."""
    with torch.no_grad():
        integers = x.long()
        largest = integers.amax(dim=-1, keepdim=True).clamp_min(0)
        numerator = shift_exp(integers - largest, c.unit, c.shift)
        factor = torch.div(RECIPROCAL, numerator + shift_exp(-largest, c.unit, c.shift), rounding_mode="floor")
        sigmoid = (numerator * factor) >> (31 - SIGMOID_BITS + 1)
        exact = requantised(integers * sigmoid, torch.tensor(c.multiplier), c.output_shift, 8)
    if not torch.is_grad_enabled():
        return exact
    return straight_through(exact, (F.gelu(x * input_scale) / output_scale).clamp(*type_range(8)))


class Norm(NamedTuple):
    """Constants of I-LayerNorm."""

    bias: Tensor  # (D,)
    multiplier: Tensor  # (D,), negative where the gain is
    shift: Tensor  # (D,)


@torch.no_grad()
def norm_constants(weight: Tensor, bias: Tensor | None, output_scale: float) -> Norm:
    """The bias in units of normalised values, and what brings the sum to the output's scale, for each column.

    A gain so small that the bias would leave 31 bits is taken as the smallest that does not.
    """
    gain = weight.double()
    unit = math.sqrt(len(gain)) / 2.0**30  # what a normalised integer stands for
    real_bias = torch.zeros_like(gain) if bias is None else bias.double()
    least = torch.maximum(real_bias.abs() / (unit * (2.0**31 - 2)), torch.full_like(gain, 1e-12))
    gain = torch.where(gain.abs() < least, torch.where(gain < 0, -least, least), gain)
    mantissa, exponent = torch.frexp(gain * unit / output_scale)
    shift = (NORM_MULTIPLIER_BITS - exponent.long()).clamp(1, LARGEST_SHIFT)
    multiplier = floor_half(torch.ldexp(mantissa, exponent.long() + shift))
    limit = 2.0**NORM_MULTIPLIER_BITS
    return Norm(torch.floor(real_bias / gain / unit), multiplier.clamp(-limit, limit), shift)


def normalised(x: Tensor) -> Tensor:
    """int64 rows (..., D) -> I-ViT's normalised integers; the real value is this times `sqrt(D) / 2^30`."""
    width, total = x.shape[-1], x.sum(dim=-1, keepdim=True)
    mean = torch.div(total, width, rounding_mode="floor")
    rest = total - mean * width
    mean = mean + ((2 * rest > width) | ((2 * rest == width) & (mean % 2 == 1))).long()
    centred = x - mean
    squares = (centred * centred).sum(dim=-1, keepdim=True)
    root = torch.full_like(squares, ROOT_START)
    for _ in range(ROOT_STEPS):
        root = (root + torch.div(squares, root, rounding_mode="floor")) >> 1
    return (centred * torch.div(RECIPROCAL, root, rounding_mode="floor")) >> 1


def i_layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, c: Norm, epsilon: float, input_scale: float, output_scale: float
) -> Tensor:
    """int16 integers (..., D) -> int8."""
    low, high = type_range(8)
    with torch.no_grad():
        sums = normalised(x.long()) + c.bias.long()
        half = torch.ones_like(c.shift) << (c.shift - 1)
        exact = ((sums * c.multiplier.long() + half) >> c.shift).clamp(low, high).double()
    if not torch.is_grad_enabled():
        return exact
    real_bias = None if bias is None else bias.double()
    real = F.layer_norm(x * input_scale, x.shape[-1:], weight.double(), real_bias, epsilon)
    return straight_through(exact, (real / output_scale).clamp(low, high))
