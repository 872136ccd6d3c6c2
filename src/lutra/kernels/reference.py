"""The definition of the training kernels, in plain PyTorch; every fast kernel is tested against it.

Activations are feature-major: bits are (F, N) for F features and N rows (tokens), values 0 and 1. The input gradient of
a lookup table depends on a row only through its address, so one small *gradient table* per LUT input replaces the loop
over the table for every row (extended finite difference: Bacellar et al., "Differentiable Weightless Neural Networks",
2024).
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_WORD = 2**32 - 1
EfdForm = Literal["exponential", "normalised"]
InputGradient = Literal["identity", "mean", "window"]


@functools.cache
def efd_weights(inputs: int, form: EfdForm) -> Tensor:
    """Signed weights K of the extended finite difference, (n, 2^n, 2^n) float64: `G[i, a] = sum_k K[i, a, k] U[k]`.

    With H the Hamming distance of k and a, bit i ignored, the weight is `alpha * beta^H` (alpha = 0.5 * 0.75^(n-1),
    beta = 1/3; "exponential") or `1 / (H + 1)` scaled to the same sum of 0.5 over each half cube ("normalised"); its
    sign is that of bit i of k.
    """
    entries = torch.arange(2**inputs)
    differing = (entries[:, None] ^ entries[None, :])[None] & ~(1 << torch.arange(inputs))[:, None, None]
    distance = sum(((differing >> bit) & 1) for bit in range(inputs))  # (n, 2^n, 2^n)
    assert isinstance(distance, Tensor)
    weights = (1 / 3) ** distance.double() if form == "exponential" else 1 / (distance.double() + 1)
    sign = 2.0 * ((entries[None, :] >> torch.arange(inputs)[:, None]) & 1) - 1  # (n, 2^n)
    half_cube_sum = weights[:, 0].sum(dim=1)[0] / 2
    return weights * (0.5 / half_cube_sum) * sign[:, None, :]


def gradient_tables(tables: Tensor, form: EfdForm) -> Tensor:
    """The gradient of every table to each of its inputs, at every address: (L, 2^n) -> (L, n, 2^n)."""
    inputs = tables.shape[1].bit_length() - 1
    weights = efd_weights(inputs, form).to(tables)
    return torch.einsum("lk,iak->lia", tables, weights)


class _Thermometer(Function):
    """Comparison forward; straight-through backward (reference: weightless block, thermometer gradients)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, thresholds: Tensor, compare: tuple[Tensor, Tensor], gradient: InputGradient, window: Tensor
    ) -> Tensor:
        x_compared, thresholds_compared = compare
        ctx.save_for_backward(x, thresholds, window)
        ctx.gradient = gradient
        bits = x_compared.t()[:, None, :] >= thresholds_compared[:, :, None]  # (D, T, N)
        return bits.flatten(0, 1).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_bits: Tensor) -> tuple[Tensor | None, ...]:
        x, thresholds, window = ctx.saved_tensors
        features, bits = x.shape[1], thresholds.shape[1]
        grad = grad_bits.view(features, bits, -1).float()
        if ctx.gradient == "window":
            inside = (x.t()[:, None, :] - thresholds[:, :, None]).abs() < window
            grad = grad * inside / (2 * window)
        elif ctx.gradient == "mean":
            grad = grad / bits
        grad_thresholds = -grad.sum(dim=2).sum_to_size(thresholds.shape) if ctx.needs_input_grad[1] else None
        return grad.sum(dim=1).t().to(x.dtype), grad_thresholds, None, None, None


def thermometer(
    x: Tensor,
    thresholds: Tensor,
    gradient: InputGradient,
    window: Tensor,
    compare: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Thermometer bits `x[n, f] >= thresholds[f, t]`: (N, D), (D or 1, T) -> (D * T, N), threshold index fastest.

    `window` (a scalar tensor) is the half width in the units of `x`; the window gradient is that of the step smoothed
    by a box of this half width. `compare` replaces what is compared (integers, in quantised blocks), not the gradient.
    """
    return _Thermometer.apply(x, thresholds, compare or (x, thresholds), gradient, window)  # type: ignore[no-untyped-call,no-any-return]


def lut_addresses(bits: Tensor, connections: Tensor) -> Tensor:
    """Address of every table for every row, (F, N), (L, n) -> (L, N) uint8: first input least significant."""
    bits = bits.to(torch.uint8)
    address = bits[connections[:, 0]]
    for position in range(1, connections.shape[1]):
        address = address + (bits[connections[:, position]] << position)
    return address


class _LutLayer(Function):
    """Lookup forward; extended finite difference to the inputs, addressed-entry gradient to the tables.

    With `scores`, slot q (input i of table l, q = l * n + i) reads the input with the highest score; the gradient to
    the scores is (2x - 1) times the slot's gradient; the inputs receive it weighted by softmax(scores / temperature).
    """

    @staticmethod
    def forward(
        ctx: Any,
        bits: Tensor,
        tables: Tensor,
        connections: Tensor,
        scores: Tensor | None,
        candidates: Tensor | None,
        form: EfdForm,
        temperature: float,
    ) -> Tensor:
        address = lut_addresses(bits, connections)
        ctx.save_for_backward(bits if scores is not None else None, tables, connections, scores, candidates, address)
        ctx.form, ctx.temperature, ctx.features = form, temperature, bits.shape[0]
        output = (tables > 0).gather(1, address.long())
        return output.to(bits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        bits, tables, connections, scores, candidates, address = ctx.saved_tensors
        grad = grad_output.to(tables.dtype)
        address = address.long()
        grad_tables = torch.zeros_like(tables).scatter_add_(1, address, grad)
        slopes = gradient_tables(tables, ctx.form)
        per_input = [grad * slopes[:, i].gather(1, address) for i in range(connections.shape[1])]
        if scores is None:
            grad_bits = grad.new_zeros(ctx.features, grad.shape[1])
            for i, grad_input in enumerate(per_input):
                grad_bits.index_add_(0, connections[:, i], grad_input)
            return grad_bits.to(grad_output.dtype), grad_tables, None, None, None, None, None
        grad_slots = torch.stack(per_input, dim=1).flatten(0, 1)  # (L * n, N)
        share = torch.softmax(scores / ctx.temperature, dim=0)  # (F or C, L * n)
        share = share * (share > 1e-7)  # entries below are lost in rounding, and as denormals they cost 40x the time
        signs = 2 * bits.to(grad.dtype) - 1
        if candidates is None:
            grad_bits = share @ grad_slots
            grad_scores = signs @ grad_slots.t()
        else:
            grad_bits = grad.new_zeros(ctx.features, grad.shape[1])
            grad_scores = torch.empty_like(scores)
            for c, rows in enumerate(candidates):
                grad_bits.index_add_(0, rows, share[c, :, None] * grad_slots)
                grad_scores[c] = (signs[rows] * grad_slots).sum(dim=1)
        return grad_bits.to(grad_output.dtype), grad_tables, None, grad_scores, None, None, None


def lut_layer(
    bits: Tensor,
    tables: Tensor,
    connections: Tensor,
    form: EfdForm = "exponential",
    scores: Tensor | None = None,
    candidates: Tensor | None = None,
    temperature: float = 0.001,
) -> Tensor:
    """One layer of lookup tables: bits (F, N), tables (L, 2^n), connections (L, n) -> bits (L, N), 1 where U > 0.

    For a learnable mapping, `connections` must be the arg max of `scores` ((F, L * n), or (C, L * n) over the bits that
    `candidates` (C, L * n) names); `scores` then receive the gradient of DWN's learnable mapping.
    """
    return _LutLayer.apply(bits, tables, connections, scores, candidates, form, temperature)  # type: ignore[no-untyped-call,no-any-return]


def conditional_sum(bits: Tensor, encoded: Tensor, bias: Tensor, centred: bool) -> Tensor:
    """`y[n, d] = bias[d] + sum_r (bits[r, n] - c) encoded[r, d]`, (R, N), (R, D) -> (N, D); c = centred / 2."""
    return torch.addmm(bias, (bits - 0.5 if centred else bits).t(), encoded)


class _StraightThrough(Function):
    @staticmethod
    def forward(ctx: Any, exact: Tensor, surrogate: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


def straight_through(exact: Tensor, surrogate: Tensor) -> Tensor:
    """The value of `exact`, bit for bit, with the gradient of `surrogate`."""
    return _StraightThrough.apply(exact, surrogate)  # type: ignore[no-untyped-call,no-any-return]


class StepGradients(NamedTuple):
    """Of `learned_step`, to x, to the bias (None without one) and to the step."""

    x: Tensor
    bias: Tensor | None
    step: Tensor


def learned_step(
    x: Tensor, bias: Tensor | None, step: Tensor, low: int, high: int, dtype: torch.dtype | None = None
) -> Tensor:
    """`step * integers` with `integers = round(clip((x + bias) / step, low, high))`, half up; in `dtype`, or that of x.

    From -1 to 1 it is the sign instead (of 0: +1). Computed in float32 where x is in fewer bits.
    """
    shifted = _shifted(x, bias)
    return (step_integers(shifted, step, low, high) * step).to(dtype or x.dtype)


def learned_step_gradients(
    x: Tensor, bias: Tensor | None, step: Tensor, low: int, high: int, grad_y: Tensor
) -> StepGradients:
    """To x and bias 1 within the range; to the step what LSQ (Esser et al. 2020) and, for the sign, BiT publish."""
    shifted = _shifted(x, bias)
    ratio = shifted * (1 / step)
    inside = ((ratio >= low) & (ratio <= high)).to(ratio.dtype)
    integers = step_integers(shifted, step, low, high)
    grad_y = grad_y.to(ratio.dtype)
    # The sign has no rounding error to learn from: its step is only an amplitude (BiT).
    to_step = (grad_y * (integers if is_sign(low, high) else integers - ratio * inside)).sum()
    passed = grad_y * inside
    to_bias = None if bias is None else passed.reshape(-1, passed.shape[-1]).sum(dim=0)
    return StepGradients(passed.to(x.dtype), to_bias, to_step)


def step_integers(shifted: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """The integers of `learned_step` from x + bias: one product with 1 / step, clip, round."""
    if is_sign(low, high):
        return signs(shifted >= 0, shifted)
    return torch.floor((shifted * (1 / step)).clamp(low, high) + 0.5)


def is_sign(low: int, high: int) -> bool:
    """One bit: -1 and +1, no 0 between them."""
    return low == -1 and high == 1


def signs(positive: Tensor, like: Tensor) -> Tensor:
    """+1 and -1 in the type of `like`; several times faster than torch.where with two numbers."""
    return positive.to(like.dtype).mul_(2).sub_(1)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    wide = x.float() if x.dtype == torch.bfloat16 else x
    return wide if bias is None else wide + bias


def few_bit_weight(groups: Tensor, ternary: bool, centred: bool, threshold: float) -> tuple[Tensor, Tensor]:
    """Integers (G, n) and scales (G, 1) of groups of weights: BWN's sign, or TWN's -1, 0 and +1.

    One bit is the sign (of 0: +1), scaled by the mean magnitude; `centred` takes the sign of weight minus mean, as BiT
    does. Ternary weights within `threshold` of the mean magnitude become 0; the scale is the mean of the others'. Means
    are sums in float64, rounded once.
    """
    magnitude, size = groups.abs(), groups.shape[1]
    mean = (magnitude.double().sum(dim=1, keepdim=True) / size).to(groups.dtype)
    if not ternary:
        offset = (groups.double().sum(dim=1, keepdim=True) / size).to(groups.dtype) if centred else 0.0
        return signs(groups >= offset, groups), mean
    kept = magnitude > threshold * mean
    total, count = (magnitude * kept).double().sum(dim=1, keepdim=True), kept.sum(dim=1, keepdim=True).clamp_min(1)
    return groups.sign() * kept, (total / count).to(groups.dtype)


def squared_error(x: Tensor, target: Tensor, below: float) -> Tensor:
    """The mean of (x - target)^2 where elements below `below` count as 0, in float32 or more."""
    wide = [part.float() if part.dtype == torch.bfloat16 else part for part in (x, target)]
    mine, other = (part.masked_fill(part < below, 0.0) for part in wide)
    return ((mine - other) ** 2).mean()


def dropout_factors(key: int, rows: Tensor, columns: int, p: float) -> Tensor:
    """What dropout multiplies with, 0 or 1 / (1 - p), in `columns` of the numbered `rows`: (R,) int64 -> (R, columns).

    A hash of key, row and column decides, so that no mask has to be kept for the backward pass.
    """
    row = _mix(_mix(torch.full_like(rows, key)) ^ (key >> 32 & _WORD))
    row = _mix(row ^ _mix(rows) ^ ((rows >> 32 & _WORD) * 0x9E3779B9 & _WORD))
    column = torch.arange(columns, device=rows.device) * 0x9E3779B9 & _WORD
    random = _mix(column + row[:, None])
    return (random >= dropout_threshold(p)).float() * torch.tensor(1 / (1 - p), dtype=torch.float32)


def dropout_threshold(p: float) -> int:
    """An element is dropped if its 32 random bits are below this."""
    return min(_WORD, round(p * 2**32))


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits, held in int64 (Wellons' "lowbias32"); higher bits of `x` are ignored."""
    x = x & _WORD
    x = (x ^ x >> 16) * 0x7FEB352D & _WORD
    x = (x ^ x >> 15) * 0x846CA68B & _WORD
    return x ^ x >> 16


def attention(qkv: Tensor, heads: int, p: float, key: int, causal: bool) -> Tensor:
    """Multi-head attention to all or to what is not later, (B, T, 3 D) -> (B, T, D), with dropout of probabilities.

    Row `(b * heads + h) * T + t` of `dropout_factors` belongs to query t of head h of sequence b.
    """
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv.split(width, dim=2))  # (B, H, T, D/H)
    scores = q @ k.transpose(2, 3) / math.sqrt(width // heads)
    if causal:
        future = torch.ones(length, length, dtype=torch.bool, device=qkv.device).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    probabilities = scores.softmax(dim=3)
    factors = dropout_factors(key, torch.arange(batch * heads * length, device=qkv.device), length, p)
    kept = probabilities * factors.view(batch, heads, length, length).to(probabilities.dtype)
    context: Tensor = (kept @ v).transpose(1, 2).flatten(2)
    return context


class AdamWNumbers(NamedTuple):
    """What one step of AdamW does to all elements alike, as float32 holds it; `limit` bounds the parameters."""

    decay: float
    keep_square: float
    take_mean: float
    take_square: float
    root_correction: float
    epsilon: float
    step_size: float
    limit: float


def adamw_numbers(
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, limit: float
) -> AdamWNumbers:
    """The numbers of step number `step`, from 1 (Loshchilov and Hutter, "Decoupled Weight Decay Regularization")."""
    beta1, beta2 = betas
    correction = math.sqrt(1 - beta2**step)
    return AdamWNumbers(
        1 - lr * weight_decay, beta2, 1 - beta1, 1 - beta2, correction, eps, lr / (1 - beta1**step), limit
    )


def adamw(
    parameter: Tensor, grad: Tensor, mean: Tensor, square: Tensor, scale: float, numbers: AdamWNumbers
) -> tuple[Tensor, Tensor, Tensor]:
    """Parameter and both moments after one step on `scale * grad`; float32, every operation rounded once."""
    n = [torch.tensor(number, dtype=torch.float32) for number in numbers]
    decay, keep_square, take_mean, take_square, root_correction, epsilon, step_size, limit = n
    g = grad * torch.tensor(scale, dtype=torch.float32)
    mean = mean + take_mean * (g - mean)
    square = keep_square * square + take_square * (g * g)
    root = square.double().sqrt().float()  # PyTorch's root of float32 is not always rounded to the nearest
    parameter = decay * parameter - step_size * (mean / (root / root_correction + epsilon))
    return parameter.clamp(-limit, limit), mean, square
