"""The whole weightless block as one operation: forward and backward fused, 5 bits saved per feature.

The same mathematics as composing `reference.thermometer`, `reference.lut_layer` and `reference.conditional_sum`; all
sums are in float32 with a fixed order, so that results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec

import torch
from torch import Tensor

from lutra.kernels.cpu import operator as cpu
from lutra.kernels.cpu.library import library
from lutra.kernels.gpu import operator as gpu
from lutra.kernels.reference import EfdForm, InputGradient

P = ParamSpec("P")


class LayerParameters(NamedTuple):
    """One LUT layer, as `reference.lut_layer` takes it."""

    tables: Tensor  # (L, 2^n)
    connections: Tensor  # (L, n)
    scores: Tensor | None = None  # (planes or C, L * n)
    candidates: Tensor | None = None  # (C, L * n)
    temperature: float = 0.001
    by_slot: Tensor | None = None  # (L * n, C) int32: the candidates as CPU kernels read them; made here if not given


class IntegerParameters(NamedTuple):
    """Integers, held as float32, with which a fake-quantised block computes its value."""

    input_scale: Tensor  # scalar
    thresholds: Tensor  # (D, T)
    encoded: Tensor  # (R, D_out)
    bias: Tensor  # (D_out,)
    shift: Tensor  # scalar
    output_bits: int
    output_scale: Tensor  # scalar


class BlockParameters(NamedTuple):
    """Everything that a weightless block computes with."""

    thresholds: Tensor  # (D or 1, T)
    window: Tensor  # scalar
    gradient: InputGradient
    layers: list[LayerParameters]
    efd: EfdForm
    sum_sources: tuple[int, ...]  # 0: the thermometer, k: LUT layer k
    encoded: Tensor  # (R, D_out)
    bias: Tensor  # (D_out,)
    centred: bool
    integers: IntegerParameters | None = None
    groups: int = 1  # of bits and outputs (recipes/groups.py); what is outside is not read, and its gradient is zero
    mask: Tensor | None = None  # (R, D_out), where encoded values are read; needed with groups on a GPU


def fast_block_available(x: Tensor) -> bool:
    """Whether `weightless_block` can run on `x`.

    On a CPU, it takes float32 or bfloat16 and compiled kernels; on a GPU, float32, bfloat16 or float16 and Triton.
    """
    if _on_gpu(x.device.type):
        return x.dtype in gpu.DTYPES
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and _library_loads()


def _constant(function: Callable[P, bool]) -> Callable[P, bool]:
    """`torch.compiler.assume_constant_result`, which sets this mark, but imports the whole compiler to do so."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def _library_loads() -> bool:
    return library() is not None


@_constant
def _on_gpu(device: str) -> bool:
    return gpu.available(device)


def weightless_block(x: Tensor, block: BlockParameters) -> Tensor:
    """The weightless block: (N, D) -> (N, D_out).

    With `integers`, the value is the hardware's, bit for bit, and the gradient that of the real-valued block. Under
    autocast a real-valued block returns the autocast type. Needs `fast_block_available(x)`.
    """
    integers = [] if block.integers is None else _integer_arguments(block.integers)
    y = _on_a_gpu(x, block, integers) if _on_gpu(x.device.type) else cpu.weightless_block(x, block, integers)
    if block.integers is not None:
        return y
    device = x.device.type
    return y.to(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype)


def _on_a_gpu(x: Tensor, block: BlockParameters, integers: list[Tensor]) -> Tensor:
    y: Tensor
    y, _, _ = gpu.weightless_forward(
        x,
        block.thresholds,
        block.window,
        [layer.tables for layer in block.layers],
        [layer.connections for layer in block.layers],
        [_or_empty(layer.scores, x) for layer in block.layers],
        [_or_empty(layer.candidates, x).long() for layer in block.layers],
        block.encoded if block.mask is None else block.encoded * block.mask,
        block.bias,
        integers,
        [layer.temperature for layer in block.layers],
        list(block.sum_sources),
        block.gradient,
        block.efd,
        block.centred,
        block.groups,
    )
    return y


def column_argmax(scores: Tensor) -> Tensor:
    """Row of the highest entry of each column, the first if several: (rows, columns) -> (columns,) int64."""
    device = scores.device.type
    if scores.dtype == torch.float32 and device == "cpu" and not _on_gpu(device) and _library_loads():
        return cpu.column_argmax(scores) if torch.compiler.is_compiling() else cpu.eager_column_argmax(scores)
    return scores.argmax(dim=0)


def _or_empty(tensor: Tensor | None, like: Tensor) -> Tensor:
    return torch.empty(0, device=like.device) if tensor is None else tensor


def _integer_arguments(integers: IntegerParameters) -> list[Tensor]:
    step = torch.exp2(-integers.shift.float())
    rounding = torch.where(integers.shift > 0, 0.5 / step, 0)
    limit = torch.full_like(step, 2.0 ** (integers.output_bits - 1))
    requantise = torch.stack([rounding, step, limit, integers.output_scale])
    return [(1 / integers.input_scale).reshape(1), integers.thresholds, integers.encoded, integers.bias, requantise]
