"""The weightless block on a GPU as one PyTorch operator; arguments as on a CPU (`kernels/block.py`)."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from lutra import settings
from lutra.errors import InputError
from lutra.kernels.reference import EfdForm

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WORD = 32


def available(device: str) -> bool:
    """Whether the Triton kernels run on this type of device: "cuda", where Triton is installed.

    `LUTRA_ISA=triton` with `TRITON_INTERPRET=1` runs them on "cpu", in Triton's interpreter, as the tests do;
    `LUTRA_ISA=reference` turns them off.

    Raises:
        InputError: `LUTRA_ISA=triton` without Triton, or on a CPU without its interpreter.
    """
    forced = settings.ISA.text
    if forced == "triton" and not _installed():
        raise InputError("LUTRA_ISA=triton: Triton is not installed; pip install triton")
    if forced == "triton" and device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError("LUTRA_ISA=triton: on a CPU, Triton needs TRITON_INTERPRET=1")
    return (forced == "triton" and device == "cpu") or (forced != "reference" and device == "cuda" and _installed())


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@contextlib.contextmanager
def _on_device_of(x: Tensor) -> Iterator[None]:
    """Launch on the tensor's GPU, and compute in float32 whatever autocast says."""
    with torch.cuda.device_of(x), torch.autocast(x.device.type, enabled=False):
        yield


@torch.library.custom_op("lutra::weightless_forward_gpu", mutates_args=())
def weightless_forward(
    x: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    scores: list[Tensor],
    candidates: list[Tensor],
    encoded: Tensor,
    bias: Tensor,
    integers: list[Tensor],
    temperatures: list[float],
    sum_sources: list[int],
    gradient: str,
    efd: str,
    centred: bool,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output (N, D_out) float32, thermometer bits and window bits (ceil(N / 32), D * T) in words of 32 rows.

    `groups` is for the CPU's operator: here the sum is a dense product, and what lies outside of a group is 0.
    """
    if not len(x):
        return _empty_outputs(x, thresholds, encoded, gradient)
    from lutra.kernels.gpu.forward import forward  # needs Triton

    with _on_device_of(x):
        return forward(
            x, thresholds, window, tables, connections, encoded, bias, integers, sum_sources, gradient, centred
        )  # fmt: skip


@weightless_forward.register_fake
def _(
    x: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    scores: list[Tensor],
    candidates: list[Tensor],
    encoded: Tensor,
    bias: Tensor,
    integers: list[Tensor],
    temperatures: list[float],
    sum_sources: list[int],
    gradient: str,
    efd: str,
    centred: bool,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_outputs(x, thresholds, encoded, gradient)


def _empty_outputs(x: Tensor, thresholds: Tensor, encoded: Tensor, gradient: str) -> tuple[Tensor, Tensor, Tensor]:
    rows, features = x.shape
    words, planes = (rows + WORD - 1) // WORD, features * thresholds.shape[1]
    y = x.new_empty(rows, encoded.shape[1], dtype=torch.float32)
    bits = x.new_empty(words, planes, dtype=torch.int32)
    inside = x.new_empty(words if gradient == "window" else 0, planes, dtype=torch.int32)
    return y, bits, inside


@torch.library.custom_op("lutra::weightless_backward_gpu", mutates_args=())
def _backward(
    grad_y: Tensor,
    bits: Tensor,
    inside: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    scores: list[Tensor],
    candidates: list[Tensor],
    encoded: Tensor,
    temperatures: list[float],
    sum_sources: list[int],
    gradient: str,
    efd: str,
    centred: bool,
    groups: int,
    want_input: bool,
) -> list[Tensor]:
    """Gradients of x, thresholds, encoded values, bias, then of each layer's tables, then of each layer's scores."""
    if not len(grad_y):
        empty = _empty_gradients(grad_y, bits, thresholds, encoded, tables, scores, want_input)
        return [grad.zero_() for grad in empty]
    from lutra.kernels.gpu.backward import backward  # needs Triton

    with _on_device_of(grad_y):
        return backward(
            grad_y, bits, inside, thresholds, window, tables, connections, scores, candidates, encoded,
            temperatures, sum_sources, gradient, cast(EfdForm, efd), centred, want_input,
        )  # fmt: skip


@_backward.register_fake
def _(
    grad_y: Tensor,
    bits: Tensor,
    inside: Tensor,
    thresholds: Tensor,
    window: Tensor,
    tables: list[Tensor],
    connections: list[Tensor],
    scores: list[Tensor],
    candidates: list[Tensor],
    encoded: Tensor,
    temperatures: list[float],
    sum_sources: list[int],
    gradient: str,
    efd: str,
    centred: bool,
    groups: int,
    want_input: bool,
) -> list[Tensor]:
    return _empty_gradients(grad_y, bits, thresholds, encoded, tables, scores, want_input)


def _empty_gradients(
    grad_y: Tensor,
    bits: Tensor,
    thresholds: Tensor,
    encoded: Tensor,
    tables: list[Tensor],
    scores: list[Tensor],
    want_input: bool,
) -> list[Tensor]:
    features = bits.shape[1] // thresholds.shape[1]
    shapes: list[Any] = [
        (len(grad_y), features) if want_input else (0,),
        thresholds.shape if want_input else (0,),
        encoded.shape,
        (encoded.shape[1],),
        *(table.shape for table in tables),
        *(score.shape for score in scores),
    ]
    return [grad_y.new_empty(shape, dtype=torch.float32) for shape in shapes]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, thresholds, window, tables, connections, scores, candidates, encoded, _, integers, *options = inputs
    _, bits, inside = output
    ctx.mark_non_differentiable(bits, inside)
    ctx.save_for_backward(bits, inside, thresholds, window, encoded, *tables, *connections, *scores, *candidates)
    ctx.options, ctx.x_dtype, ctx.integer_count = options, x.dtype, len(integers)


def _autograd_backward(ctx: Any, grad_y: Tensor, *_: Any) -> tuple[Any, ...]:
    bits, inside, thresholds, window, encoded, *rest = ctx.saved_tensors
    layers = len(rest) // 4
    tables, connections, scores, candidates = (rest[i * layers : (i + 1) * layers] for i in range(4))
    want_x, want_thresholds = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
    grad_x, grad_thresholds, grad_encoded, grad_bias, *grads = _backward(
        grad_y, bits, inside, thresholds, window, tables, connections, scores, candidates, encoded,
        *ctx.options, want_x or want_thresholds,
    )  # fmt: skip
    grad_scores = [grad if score.numel() else None for grad, score in zip(grads[layers:], scores, strict=True)]
    return (
        grad_x.to(ctx.x_dtype) if want_x else None,
        grad_thresholds if want_thresholds else None,
        None,
        grads[:layers],
        [None] * layers,
        grad_scores,
        [None] * layers,
        grad_encoded,
        grad_bias,
        [None] * ctx.integer_count,
        *([None] * len(ctx.options)),
    )


weightless_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
