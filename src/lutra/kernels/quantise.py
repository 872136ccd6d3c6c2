"""Quantisation in training: activations with a learned step, weights in one bit or two; on a CPU in one pass each.

PyTorch takes about fifteen passes over an activation and ten over a matrix of weights, which was half of the time in
which a binarized BERT trains. `lutra.nn.quantizers` says what is computed, `reference` defines it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lutra.kernels import reference
from lutra.kernels.attention import kernels_available, loaded_kernels
from lutra.kernels.cpu.library import pointer

_FLAT_COLUMNS = 1024
"""A tensor without a bias is cut into rows of its memory."""


class _Step(ctypes.Structure):
    """`lutra::LearnedStep` of cpu/quantise/learned_step.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "columns", "threads")),
        *((name, ctypes.c_int32) for name in ("x_bfloat16", "y_bfloat16", "sign")),
        *((name, ctypes.c_float) for name in ("step", "low", "high")),
        *((name, ctypes.c_void_p) for name in ("x", "bias", "y", "grad_y", "grad_x", "grad_bias", "grad_step")),
    )


class _Weight(ctypes.Structure):
    """`lutra::FewBitWeight` of cpu/quantise/weights.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("groups", "size", "threads")),
        *((name, ctypes.c_int32) for name in ("ternary", "centred", "scaled", "bfloat16")),
        ("threshold", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("latent", "values", "scales")),
    )


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The type in which autocast multiplies on the device of `x`; None where it is off."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def learned_step(
    x: Tensor,
    bias: Tensor | None,
    step: Tensor,
    low: int,
    high: int,
    gradient_scale: float,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """`reference.learned_step` of x (..., columns) and a bias (columns), in `dtype` or that of x.

    The gradient of the step (a number) is `gradient_scale` times that of `reference.learned_step_gradients`.
    """
    result: Tensor = _LearnedStep.apply(x, bias, step, low, high, gradient_scale, dtype or x.dtype)  # type: ignore[no-untyped-call]
    return result


def few_bit_weight(
    groups: Tensor,
    ternary: bool,
    centred: bool,
    threshold: float,
    *,
    scaled: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference.few_bit_weight`: integers (G, n), or with `scaled` their products with the scales, and scales (G, 1).

    Without gradients. `dtype` is that of the integers or products, if not of `groups`.
    """
    dtype = dtype or groups.dtype
    kernels = groups.numel() and groups.dtype == torch.float32 and dtype in (torch.float32, torch.bfloat16)
    if not (kernels and kernels_available(groups)):
        integers, scales = reference.few_bit_weight(groups, ternary, centred, threshold)
        return (integers * scales if scaled else integers).to(dtype), scales
    groups = groups.contiguous()
    values, scales = torch.empty_like(groups, dtype=dtype), groups.new_empty(len(groups), 1)
    call = _Weight(
        *groups.shape,
        torch.get_num_threads(),
        ternary,
        centred,
        scaled,
        dtype == torch.bfloat16,
        threshold,
        *map(pointer, (groups, values, scales)),
    )
    loaded_kernels().lutra_few_bit_weight(ctypes.byref(call))
    return values, scales


class _LearnedStep(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor | None,
        step: Tensor,
        low: int,
        high: int,
        gradient_scale: float,
        dtype: torch.dtype,
    ) -> Tensor:
        fits = bias is None or (bias.dtype == torch.float32 and bias.shape == x.shape[-1:] and bias.is_contiguous())
        ctx.by_kernels = fits and x.numel() > 0 and dtype in (torch.float32, torch.bfloat16) and kernels_available(x)
        ctx.options, ctx.gradient_scale, ctx.dtype = (low, high), gradient_scale, dtype
        if not ctx.by_kernels:
            ctx.save_for_backward(x, bias, step)
            return reference.learned_step(x, bias, step, low, high, dtype)
        x = x if bias is None and _is_dense(x) else x.contiguous()
        ctx.save_for_backward(x, bias, step)
        y = torch.empty_like(x, dtype=dtype)
        call = _step_call(x, bias, step, low, high, dtype)
        call.y = y.data_ptr()
        loaded_kernels().lutra_learned_step_forward(ctypes.byref(call))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, bias, step = ctx.saved_tensors
        low, high = ctx.options
        if not ctx.by_kernels:
            found = reference.learned_step_gradients(x, bias, step, low, high, grad_y)
            return found.x, found.bias, found.step * ctx.gradient_scale, None, None, None, None
        grad_x, grad_step = torch.empty_like(x), torch.empty((), dtype=torch.float64)
        grad_bias = None if bias is None else torch.empty_like(bias)
        if grad_y.stride() != x.stride() or grad_y.dtype != ctx.dtype:
            grad_y = torch.empty_like(x, dtype=ctx.dtype).copy_(grad_y)
        call = _step_call(x, bias, step, low, high, ctx.dtype)
        call.grad_y, call.grad_x = pointer(grad_y), pointer(grad_x)
        call.grad_bias, call.grad_step = pointer(grad_bias), pointer(grad_step)
        loaded_kernels().lutra_learned_step_backward(ctypes.byref(call))
        return grad_x, grad_bias, (grad_step * ctx.gradient_scale).to(step), None, None, None, None


def _is_dense(x: Tensor) -> bool:
    """Whether the elements of `x` fill its memory, in whatever order: a new tensor like it has the same strides."""
    return torch.empty_like(x).stride() == x.stride()


def _step_call(x: Tensor, bias: Tensor | None, step: Tensor, low: int, high: int, dtype: torch.dtype) -> _Step:
    return _Step(
        count=x.numel(),
        columns=_FLAT_COLUMNS if bias is None else len(bias),
        threads=torch.get_num_threads(),
        x_bfloat16=x.dtype == torch.bfloat16,
        y_bfloat16=dtype == torch.bfloat16,
        sign=reference.is_sign(low, high),
        step=step.item(),
        low=low,
        high=high,
        x=pointer(x),
        bias=pointer(bias),
    )
