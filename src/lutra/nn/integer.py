"""A transformer's arithmetic in exact integers, for training and evaluation in PyTorch (frozen/spec.md is the meaning).

Integers are carried as float64. Every function computes what the frozen operation of the same name computes, to the
bit, from constants that freezing writes into the file; its gradient is that of the real function (straight-through), in
units of the integers.

Shapes in comments: B sequences, T tokens, D width, H heads, W width of a head, K inputs, P outputs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.kernels.reference import straight_through

INT8_LARGEST, INT16_LARGEST = 127, 32767
MULTIPLIER_BITS = 16
LARGEST_SHIFT = 40
SCALE_SPREAD = 8
"""The smallest scale of an output's weights is the largest divided by 2^SCALE_SPREAD."""
NORM_BITS = 10
"""Bits below the binary point of a normalised value."""
LARGEST_NORM_SHIFT = 24
SCORE_STEPS = 32
"""Of scores, to an octave."""
TABLE_ENTRIES = 256
LARGEST_EXPONENTIAL = 127
LARGEST_CONTEXT_GAIN = 8


def type_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer of a signed type."""
    return -(1 << bits - 1), (1 << bits - 1) - 1


def floor_half(x: Tensor) -> Tensor:
    """The nearest integers, half up."""
    return torch.floor(x + 0.5)


def dyadic(
    ratio: Tensor, where: str, bits: int = MULTIPLIER_BITS, largest_shift: int = LARGEST_SHIFT
) -> tuple[Tensor, int]:
    """Multipliers (float64, as `ratio`) and one shift with `multiplier / 2^shift` nearest to `ratio`.

    The shift is the largest with which no multiplier has more than `bits` bits.

    Raises:
        InputError: `where`: a ratio is too large for that, or is no number.
    """
    largest = float(ratio.max())
    mantissa, exponent = math.frexp(largest if math.isfinite(largest) else 2.0**bits)
    shift = min(bits - exponent - (math.floor(mantissa * 2**bits + 0.5) == 2**bits), largest_shift)
    if not largest > 0 or shift < 1:
        raise InputError(
            f"{where}: no {bits}-bit multiplier for a ratio of {largest:.3g}; the scales lie too far apart"
        )
    return floor_half(ratio.double() * 2.0**shift), shift


def requantised(sums: Tensor, multiplier: Tensor, shift: Tensor | int, bits: int) -> Tensor:
    """`clamp((sums * multiplier + 2^(shift - 1)) >> shift)`, exact; `shift` is at least 1."""
    amount = torch.as_tensor(shift, device=sums.device).long()
    low, high = type_range(bits)
    scaled = (sums.long() * multiplier.long() + (torch.ones_like(amount) << amount - 1)) >> amount
    return scaled.clamp(low, high).double()


class Linear(NamedTuple):
    """Constants of a product with weights, requantised."""

    weights: Tensor  # (P, K) integers
    bias: Tensor  # (P,)
    multiplier: Tensor  # (P,)
    shift: int
    scales: Tensor  # (P,) of the weights
    ratio: Tensor  # (P,) scale of a sum by scale of an output


@torch.no_grad()
def linear_constants(
    weight: Tensor,
    bias: Tensor | None,
    input_scale: float,
    output_scale: float,
    where: str,
    bits: int = MULTIPLIER_BITS,
) -> Linear:
    """int8 weights with a scale for each output, of `weight` (P, K) and `bias` (P,)."""
    weight = weight.detach().double()
    real_bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device) if bias is None else bias.double()
    scales = weight.abs().amax(dim=1) / INT8_LARGEST
    # A bias must fit 32 bits, and the multiplier of an output with small weights keep some bits.
    scales = torch.maximum(scales, real_bias.abs() / (input_scale * 2.0**30))
    largest = float(scales.max())
    if not 0 < largest < math.inf:
        raise InputError(f"{where}: weights that are all zero, or no numbers, have no scale")
    scales = scales.clamp_min(largest * 2.0**-SCALE_SPREAD)
    ratio = scales * (input_scale / output_scale)
    multiplier, shift = dyadic(ratio, where, bits)
    integers = floor_half(weight / scales[:, None]).clamp(-INT8_LARGEST, INT8_LARGEST)
    return Linear(integers, floor_half(real_bias / (scales * input_scale)), multiplier, shift, scales, ratio)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, c: Linear, input_scale: float, bits: int = 8) -> Tensor:
    """int8 integers (..., K) -> integers (..., P) of `bits` bits."""
    with torch.no_grad():
        exact = requantised(x @ c.weights.t() + c.bias, c.multiplier, c.shift, bits)
    if not torch.is_grad_enabled():
        return exact
    real = x @ straight_through(c.weights, weight.double() / c.scales[:, None]).t()
    if bias is not None:
        real = real + straight_through(c.bias, bias.double() / (c.scales * input_scale))
    return straight_through(exact, (real * c.ratio).clamp(*type_range(bits)))


def residual(x: Tensor, branch: Tensor) -> Tensor:
    """The int16 residual stream after a branch."""
    return (x + branch).clamp(*type_range(16))


class Norm(NamedTuple):
    """Constants of an exact layer norm."""

    gain: Tensor  # (D,)
    bias: Tensor  # (D,)
    epsilon: int
    shift: int


@torch.no_grad()
def norm_constants(
    weight: Tensor, bias: Tensor | None, epsilon: float, input_scale: float, output_scale: float, where: str
) -> Norm:
    """The largest shift with which `gain` fits 16 bits and `bias` 32."""
    gain = weight.double() / output_scale
    real_bias = torch.zeros_like(gain) if bias is None else bias.double() / output_scale
    for shift in range(LARGEST_NORM_SHIFT, 0, -1):
        integers, bias_integers = floor_half(gain * 2.0 ** (shift - NORM_BITS)), floor_half(real_bias * 2.0**shift)
        if integers.abs().max() <= INT16_LARGEST and bias_integers.abs().max() < 2**31:
            width = len(gain)
            units = math.floor(width**2 * epsilon / input_scale**2 + 0.5)
            return Norm(integers, bias_integers, min(units, 2**50 - 1), shift)
    raise InputError(f"{where}: a norm's gain of {float(weight.abs().max()):.3g} does not fit 16 bits")


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, c: Norm, epsilon: float, input_scale: float, output_scale: float
) -> Tensor:
    """int16 integers (..., D) -> int8."""
    with torch.no_grad():
        n = normalised(x.long(), c.epsilon)
        low, high = type_range(8)
        sums = n * c.gain.long() + c.bias.long()
        exact = ((sums + (1 << c.shift - 1)) >> c.shift).clamp(low, high).double()
    if not torch.is_grad_enabled():
        return exact
    real_bias = None if bias is None else bias.double()
    real = F.layer_norm(x * input_scale, x.shape[-1:], weight.double(), real_bias, epsilon)
    return straight_through(exact, (real / output_scale).clamp(low, high))


def normalised(x: Tensor, epsilon: int) -> Tensor:
    """int64 rows (..., D) -> (x - mean) / standard deviation with `NORM_BITS` below the binary point."""
    width = x.shape[-1]
    total = x.sum(dim=-1, keepdim=True)
    variance = width * (x * x).sum(dim=-1, keepdim=True) - total * total + epsilon
    root = torch.floor(torch.sqrt(variance.double())).long()
    root = root - (root * root > variance).long()
    root = root + ((root + 1) * (root + 1) <= variance).long()
    factor, exponent = reciprocal(root.clamp_min(1))
    return ((width * x - total) * factor) >> (exponent + 16 - NORM_BITS)


def reciprocal(v: Tensor) -> tuple[Tensor, Tensor]:
    """(F, e) of positive int64: `e = bit_length(v) - 1`, `F = floor(2^(16 + e) / v)`."""
    exponent = torch.frexp(v.double()).exponent.long() - 1
    return torch.div(torch.ones_like(v) << (16 + exponent), v, rounding_mode="floor"), exponent


class Attention(NamedTuple):
    """Constants of attention."""

    multiplier: int
    shift: int
    gain: int  # the scale of the context is that of the values divided by 2^gain
    ratio: float


@torch.no_grad()
def attention_constants(
    query_scale: float, key_scale: float, value_scale: float, context_scale: float, head_width: int, where: str
) -> Attention:
    """`context_scale` is what the largest context would want; the gain is as large as that allows."""
    ratio = query_scale * key_scale / math.sqrt(head_width) * SCORE_STEPS / math.log(2)
    multiplier, shift = dyadic(torch.tensor([ratio], dtype=torch.float64), where)
    gain = math.floor(math.log2(max(value_scale / context_scale, 1)))
    return Attention(int(multiplier), shift, min(gain, LARGEST_CONTEXT_GAIN), ratio)


def exponential_table(device: torch.device | None = None) -> Tensor:
    """`floor(127 * 2^(-d / 32) + 1/2)` of d in [0, 256), int64."""
    distance = torch.arange(TABLE_ENTRIES, dtype=torch.float64, device=device)
    return floor_half(LARGEST_EXPONENTIAL * 2.0 ** (-distance / SCORE_STEPS)).long()


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool, c: Attention) -> Tensor:
    """int8 integers (B, T, D) each -> int8 (B, T, D); causal: a query sees the keys up to its own position."""
    query, key, value = (split_heads(rows, heads) for rows in (query, key, value))  # (B, H, T, W)
    visible = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
    visible = visible.tril() if causal else visible
    low, high = type_range(8)
    with torch.no_grad():
        multiplier = torch.tensor(c.multiplier, device=query.device)
        scores = requantised(query @ key.transpose(-1, -2), multiplier, c.shift, 16).long()
        largest = scores.masked_fill(~visible, type_range(16)[0] - 1).amax(dim=-1, keepdim=True)
        distance = largest - scores
        near = visible & (distance < TABLE_ENTRIES)
        exponentials = exponential_table(query.device)[distance.clamp(0, TABLE_ENTRIES - 1)] * near
        factor, exponent = reciprocal(exponentials.sum(dim=-1, keepdim=True))
        products = (exponentials.double() @ value).long()
        shift = exponent + 16 - c.gain
        exact = ((products * factor + (torch.ones_like(shift) << shift - 1)) >> shift).clamp(low, high).double()
    if not torch.is_grad_enabled():
        return join_heads(exact)
    real_scores = (query @ key.transpose(-1, -2)) * (c.ratio * math.log(2) / SCORE_STEPS)
    weights = real_scores.masked_fill(~visible, -math.inf).softmax(dim=-1)
    return join_heads(straight_through(exact, (weights @ value * 2.0**c.gain).clamp(low, high)))


def split_heads(rows: Tensor, heads: int) -> Tensor:
    """(B, T, H * W) -> (B, H, T, W)."""
    return rows.view(*rows.shape[:2], heads, -1).transpose(1, 2)


def join_heads(rows: Tensor) -> Tensor:
    """(B, H, T, W) -> (B, T, H * W)."""
    return rows.transpose(1, 2).flatten(2)


@torch.no_grad()
def gelu_table(input_scale: float, output_scale: float) -> Tensor:
    """GELU of every int8 value, (256,) integers."""
    values = torch.arange(-128, 128, dtype=torch.float64) * input_scale
    return floor_half(F.gelu(values) / output_scale).clamp(-128, 127)


def gelu(x: Tensor, table: Tensor, input_scale: float, output_scale: float) -> Tensor:
    """int8 integers -> int8, by the table."""
    exact = table[x.detach().long() + 128]
    if not torch.is_grad_enabled():
        return exact
    return straight_through(exact, (F.gelu(x * input_scale) / output_scale).clamp(*type_range(8)))


def to_grid(real: Tensor, scale: float, bits: int) -> Tensor:
    """Real numbers as integers of a type, half up, with a straight-through gradient."""
    scaled = real.double() / scale
    exact = floor_half(scaled.detach()).clamp(*type_range(bits))
    return straight_through(exact, scaled) if torch.is_grad_enabled() else exact


def mean_rows(x: Tensor, multiplier: int, shift: int) -> Tensor:
    """int8 integers (B, T, D) -> int8 (B, 1, D): the sum over the rows, requantised."""
    sums = x.sum(dim=1, keepdim=True)
    exact = requantised(sums.detach(), torch.tensor(multiplier, device=x.device), shift, 8)
    real = sums * (multiplier / 2.0**shift)
    return straight_through(exact, real.clamp(*type_range(8))) if torch.is_grad_enabled() else exact
