"""Multi-head attention, with dropout, and dropout: on a CPU by kernels where PyTorch has no fast ones.

PyTorch draws a mask of dropout element by element and keeps it, which took half of a training of nanoGPT's baby model,
and the gradient of its attention in bfloat16 takes five times as long as in float32. Here a hash says what is dropped,
in both passes alike, and whatever the type, sums are in float32. With AMX, which multiplies bfloat16, probabilities and
the gradients of scores enter products with 16 bits of precision.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lutra.kernels.cpu.library import library, uses_amx
from lutra.kernels.reference import dropout_threshold


class _Call(ctypes.Structure):
    """`lutra::Attention` of cpu/attention/attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "heads", "length", "width", "threads")),
        ("bfloat16", ctypes.c_int32),
        ("causal", ctypes.c_int32),
        ("amx", ctypes.c_int32),
        ("threshold", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("keep_scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("qkv", "y", "logsums", "grad_y", "grad_qkv")),
    )


def attention(qkv: Tensor, heads: int, p: float = 0.0, *, causal: bool) -> Tensor:
    """Queries, keys and values of `heads` to what they attend to: (B, T, 3 D) -> (B, T, D), after dropout by `p`.

    The kernel runs where PyTorch is slow on a CPU: with dropout, and in bfloat16.
    """
    if (p > 0 or qkv.dtype == torch.bfloat16) and kernels_available(qkv):
        return fused_attention(qkv, heads, p, causal=causal)
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2))  # (B, H, T, D/H)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=causal).transpose(1, 2).flatten(2)


def kernels_available(x: Tensor) -> bool:
    """Whether the kernels can run on `x`: float32 or bfloat16 on a CPU, and not under `torch.compile`."""
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    return plain and not torch.compiler.is_compiling() and library() is not None


def fused_attention(qkv: Tensor, heads: int, p: float = 0.0, key: int | None = None, *, causal: bool) -> Tensor:
    """`reference.attention`: (B, T, 3 D) -> (B, T, D), computed in float32 whatever the type (see above for AMX).

    Without a `key`, PyTorch's generator draws one if there is dropout. Needs `kernels_available(qkv)`.
    """
    if key is None:
        key = _draw_key() if p > 0 else 0
    result: Tensor = _Attention.apply(qkv, heads, p, key, causal)  # type: ignore[no-untyped-call]
    return result


def dropout(x: Tensor, p: float, key: int | None = None) -> Tensor:
    """Elements of `x` (..., columns) that are dropped become 0, the others 1 / (1 - p) times as large.

    A hash of `key`, row and column decides (`reference.dropout_factors`); PyTorch's generator draws a key if none is
    given. Where no kernel runs this is PyTorch's dropout.
    """
    if p == 0 or not kernels_available(x):
        return F.dropout(x, p)
    result: Tensor = _Dropout.apply(x, p, _draw_key() if key is None else key)  # type: ignore[no-untyped-call]
    return result


def _draw_key() -> int:
    return int(torch.randint(2**62, (), dtype=torch.int64))


class _Attention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, p: float, key: int, causal: bool) -> Tensor:
        qkv = qkv.contiguous()
        batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        y, logsums = qkv.new_empty(batch, length, width), qkv.new_empty(batch, heads, length, dtype=torch.float32)
        call = _call(qkv, logsums, heads, p, key, causal)
        call.y = y.data_ptr()
        if y.numel():
            loaded_kernels().lutra_attention_forward(ctypes.byref(call))
        ctx.save_for_backward(qkv, logsums)
        ctx.options = heads, p, key, causal
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, None, None, None, None]:
        qkv, logsums = ctx.saved_tensors
        grad_y, grad_qkv = grad_y.to(qkv.dtype).contiguous(), torch.empty_like(qkv)
        call = _call(qkv, logsums, *ctx.options)
        call.grad_y, call.grad_qkv = grad_y.data_ptr(), grad_qkv.data_ptr()
        if qkv.numel():
            loaded_kernels().lutra_attention_backward(ctypes.byref(call))
        return grad_qkv, None, None, None, None


def _call(qkv: Tensor, logsums: Tensor, heads: int, p: float, key: int, causal: bool) -> _Call:
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    return _Call(
        batch=batch,
        heads=heads,
        length=length,
        width=width // heads,
        threads=torch.get_num_threads(),
        bfloat16=qkv.dtype == torch.bfloat16,
        causal=causal,
        amx=qkv.dtype == torch.bfloat16 and uses_amx(),
        threshold=dropout_threshold(p),
        key=key,
        keep_scale=1 / (1 - p),
        qkv=qkv.data_ptr(),
        logsums=logsums.data_ptr(),
    )


class _Dropout(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, key: int) -> Tensor:
        ctx.options = p, key
        return _dropped(x, p, key)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, None, None]:
        return _dropped(grad_y, *ctx.options), None, None


def _dropped(x: Tensor, p: float, key: int) -> Tensor:
    x = x.contiguous()
    y = torch.empty_like(x)
    columns = x.shape[-1] if x.dim() else 1
    if x.numel():
        loaded_kernels().lutra_dropout(
            x.data_ptr(),
            y.data_ptr(),
            x.numel() // columns,
            columns,
            x.dtype == torch.bfloat16,
            key,
            dropout_threshold(p),
            1 / (1 - p),
            torch.get_num_threads(),
        )
    return y


def loaded_kernels() -> ctypes.CDLL:
    """The library, where `kernels_available` said so."""
    loaded = library()
    assert loaded is not None, "callers ask kernels_available first"
    return loaded
