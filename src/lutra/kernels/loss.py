"""The squared error of distillation; on a CPU in one pass forward and one backward."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lutra.kernels import reference
from lutra.kernels.attention import kernels_available, loaded_kernels


class _Call(ctypes.Structure):
    """`lutra::SquaredError` of cpu/squared_error.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "threads")),
        *((name, ctypes.c_int32) for name in ("x_bfloat16", "target_bfloat16")),
        ("below", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("x", "target")),
        ("factor", ctypes.c_float),
        ("grad_x", ctypes.c_void_p),
    )


def squared_error(x: Tensor, target: Tensor, below: float = -math.inf) -> Tensor:
    """`reference.squared_error`: the mean squared difference of tensors of one shape; its gradient is to x alone."""
    if x.numel() and x.shape == target.shape and kernels_available(x) and kernels_available(target):
        result: Tensor = _SquaredError.apply(x, target.detach(), below)  # type: ignore[no-untyped-call]
        return result
    return reference.squared_error(x, target.detach(), below)


class _SquaredError(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, below: float) -> Tensor:
        x, target = x.contiguous(), target.contiguous()
        ctx.save_for_backward(x, target)
        ctx.below = below
        return torch.tensor(loaded_kernels().lutra_squared_error(ctypes.byref(_call(x, target, below))))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, target = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        call = _call(x, target, ctx.below)
        call.factor, call.grad_x = 2 * grad.item() / x.numel(), grad_x.data_ptr()
        loaded_kernels().lutra_squared_error_backward(ctypes.byref(call))
        return grad_x, None, None


def _call(x: Tensor, target: Tensor, below: float) -> _Call:
    return _Call(
        count=x.numel(),
        threads=torch.get_num_threads(),
        x_bfloat16=x.dtype == torch.bfloat16,
        target_bfloat16=target.dtype == torch.bfloat16,
        below=below,
        x=x.data_ptr(),
        target=target.data_ptr(),
    )
