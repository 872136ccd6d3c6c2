"""The whole weightless block as one operation: forward and backward fused, 5 bits saved per feature.

The same mathematics as composing `reference.thermometer`, `reference.lut_layer` and `reference.conditional_sum`; all
sums are in float32 with a fixed order, so that results do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import torch
from torch import Tensor

from lutra.kernels.cpu import library as cpu
from lutra.kernels.gpu import operator as gpu
from lutra.kernels.reference import EfdForm, InputGradient

P = ParamSpec("P")
GRADIENTS = ("identity", "mean", "window")


class LayerParameters(NamedTuple):
    """One LUT layer, as `reference.lut_layer` takes it."""

    tables: Tensor  # (L, 2^n)
    connections: Tensor  # (L, n)
    scores: Tensor | None = None  # (planes or C, L * n)
    candidates: Tensor | None = None  # (C, L * n)
    temperature: float = 0.001


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
    groups: int = 1  # of bits and outputs (groups.py); encoded values outside are zero, and so is their gradient


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
    return cpu.library() is not None


@_constant
def _on_gpu(device: str) -> bool:
    return gpu.available(device)


def weightless_block(x: Tensor, block: BlockParameters) -> Tensor:
    """The weightless block: (N, D) -> (N, D_out).

    With `integers`, the value is the hardware's, bit for bit, and the gradient that of the real-valued block. Under
    autocast a real-valued block returns the autocast type. Needs `fast_block_available(x)`.
    """
    integers = block.integers
    forward = gpu.weightless_forward if _on_gpu(x.device.type) else _forward
    y: Tensor
    y, _, _ = forward(
        x,
        block.thresholds,
        block.window,
        [layer.tables for layer in block.layers],
        [layer.connections for layer in block.layers],
        [_or_empty(layer.scores, x) for layer in block.layers],
        [_or_empty(layer.candidates, x).long() for layer in block.layers],
        block.encoded,
        block.bias,
        [] if integers is None else _integer_arguments(integers),
        [layer.temperature for layer in block.layers],
        list(block.sum_sources),
        block.gradient,
        block.efd,
        block.centred,
        block.groups,
    )
    if integers is not None:
        return y
    device = x.device.type
    return y.to(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype)


def column_argmax(scores: Tensor) -> Tensor:
    """Row of the highest entry of each column, the first if several: (rows, columns) -> (columns,) int64."""
    device = scores.device.type
    if scores.dtype == torch.float32 and device == "cpu" and not _on_gpu(device) and _library_loads():
        chosen: Tensor = _column_argmax(scores)
        return chosen
    return scores.argmax(dim=0)


def _or_empty(tensor: Tensor | None, like: Tensor) -> Tensor:
    return torch.empty(0, device=like.device) if tensor is None else tensor


def _integer_arguments(integers: IntegerParameters) -> list[Tensor]:
    step = torch.exp2(-integers.shift.float())
    half = torch.where(integers.shift > 0, 0.5 / step, 0)
    limit = torch.full_like(step, 2.0 ** (integers.output_bits - 1))
    requantise = torch.stack([half, step, limit, integers.output_scale])
    return [(1 / integers.input_scale).reshape(1), integers.thresholds, integers.encoded, integers.bias, requantise]


@torch.library.custom_op("lutra::column_argmax", mutates_args=())
def _column_argmax(scores: Tensor) -> Tensor:
    scores = scores.contiguous()
    rows, columns = scores.shape
    where = torch.empty(columns, dtype=torch.int64)
    _kernels().lutra_column_argmax(cpu.pointer(scores), rows, columns, cpu.pointer(where), torch.get_num_threads())
    return where


@_column_argmax.register_fake
def _(scores: Tensor) -> Tensor:
    return scores.new_empty(scores.shape[1], dtype=torch.int64)


@torch.library.custom_op("lutra::weightless_forward", mutates_args=())
def _forward(
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
    """Output (N, D_out); codes (ceil(N / 64), D * code bits) and their ranks (D, edges), as in codes.h."""
    structure = _Structure(x.shape[1], thresholds, window, tables, connections, scores, candidates, temperatures)
    structure.common(sum_sources, gradient, efd, centred, groups)
    y, codes, ranks = _empty_outputs(x, thresholds, encoded, gradient)
    structure.tensors(x=x, y=y, encoded=encoded, bias=bias)
    structure.codes(codes, ranks)
    if integers:
        inverse_scale, integer_thresholds, integer_encoded, integer_bias, requantise = integers
        structure.tensors(inverse_scale=inverse_scale, integer_thresholds=integer_thresholds, requantise=requantise)
        structure.tensors(encoded=integer_encoded, bias=integer_bias)
        structure.block.centre = 0  # the integer bias already holds the constant
    structure.block.rows, structure.block.outputs = y.shape
    if len(x):
        _kernels().lutra_forward(structure.block)
    return y, codes, ranks


@_forward.register_fake
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
    edges = thresholds.shape[1] * (3 if gradient == "window" else 1)  # thresholds, and the ends of their windows
    y = x.new_empty(rows, encoded.shape[1], dtype=torch.float32)
    codes = x.new_empty((rows + 63) // 64, features * edges.bit_length(), dtype=torch.int64)
    ranks = x.new_empty(features, edges, dtype=torch.int16)
    return y, codes, ranks


@torch.library.custom_op("lutra::weightless_backward", mutates_args=())
def _backward(
    grad_y: Tensor,
    codes: Tensor,
    ranks: Tensor,
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
    want_grad_x: bool,
    want_grad_thresholds: bool,
) -> list[Tensor]:
    """Gradients of x, thresholds, encoded values, bias, then of each layer's tables, then of each layer's scores."""
    structure = _Structure(len(ranks), thresholds, window, tables, connections, scores, candidates, temperatures)
    structure.common(sum_sources, gradient, efd, centred, groups)
    structure.codes(codes, ranks)
    grads = _empty_gradients(grad_y, len(ranks), thresholds, encoded, tables, scores, want_grad_x, want_grad_thresholds)
    grad_x, grad_thresholds, grad_encoded, grad_bias = grads[:4]
    structure.tensors(grad_y=grad_y, encoded=encoded, grad_encoded=grad_encoded, grad_bias=grad_bias)
    structure.tensors(grad_x=grad_x, grad_thresholds=grad_thresholds)
    for k in range(len(tables)):
        structure.layer_gradients(k, grads[4 + k], grads[4 + len(tables) + k])
    structure.block.rows, structure.block.outputs = grad_y.shape
    structure.block.want_grad_x, structure.block.want_grad_thresholds = want_grad_x, want_grad_thresholds
    if len(grad_y):
        _kernels().lutra_backward(structure.block)
    else:
        for grad in grads:
            grad.zero_()
    if want_grad_thresholds:
        grads[1] = grad_thresholds.sum(dim=0, keepdim=True) if len(thresholds) == 1 else grad_thresholds
    return grads


@_backward.register_fake
def _(
    grad_y: Tensor,
    codes: Tensor,
    ranks: Tensor,
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
    want_grad_x: bool,
    want_grad_thresholds: bool,
) -> list[Tensor]:
    grads = _empty_gradients(grad_y, len(ranks), thresholds, encoded, tables, scores, want_grad_x, want_grad_thresholds)
    if want_grad_thresholds:
        grads[1] = torch.empty_like(thresholds)
    return grads


def _empty_gradients(
    grad_y: Tensor,
    features: int,
    thresholds: Tensor,
    encoded: Tensor,
    tables: list[Tensor],
    scores: list[Tensor],
    want_grad_x: bool,
    want_grad_thresholds: bool,
) -> list[Tensor]:
    new = grad_y.new_empty
    T = thresholds.shape[1]
    shapes: list[Any] = [
        (len(grad_y) if want_grad_x else 0, features),
        (features if want_grad_thresholds else 0, T),
        encoded.shape,
        (encoded.shape[1],),
        *(table.shape for table in tables),
        *(score.shape for score in scores),
    ]
    return [new(shape, dtype=torch.float32) for shape in shapes]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, thresholds, window, tables, connections, scores, candidates, encoded, _, integers, *options = inputs
    _, codes, ranks = output
    ctx.mark_non_differentiable(codes, ranks)
    ctx.save_for_backward(codes, ranks, thresholds, window, encoded, *tables, *connections, *scores, *candidates)
    ctx.options, ctx.x_dtype, ctx.integer_count = options, x.dtype, len(integers)


def _autograd_backward(ctx: Any, grad_y: Tensor, *_: Any) -> tuple[Any, ...]:
    codes, ranks, thresholds, window, encoded, *rest = ctx.saved_tensors
    layers = len(rest) // 4
    tables, connections, scores, candidates = (rest[i * layers : (i + 1) * layers] for i in range(4))
    want_x, want_thresholds = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
    grads = _backward(
        grad_y, codes, ranks, thresholds, window, tables, connections, scores, candidates, encoded,
        *ctx.options, want_x, want_thresholds,
    )  # fmt: skip
    grad_x, grad_thresholds, grad_encoded, grad_bias = grads[:4]
    grad_tables, grad_scores = grads[4 : 4 + layers], grads[4 + layers :]
    return (
        grad_x.to(ctx.x_dtype) if want_x else None,
        grad_thresholds if want_thresholds else None,
        None,
        grad_tables,
        [None] * layers,
        [grad if score.numel() else None for grad, score in zip(grad_scores, scores, strict=True)],
        [None] * layers,
        grad_encoded,
        grad_bias,
        [None] * ctx.integer_count,
        *([None] * len(ctx.options)),
    )


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)


def _kernels() -> ctypes.CDLL:
    loaded = cpu.library()
    assert loaded is not None, "callers ask fast_block_available first"
    return loaded


class _Structure:
    """A filled `cpu.Block`, and the tensors it points to (kept alive, contiguous, in the types of block.h)."""

    def __init__(
        self,
        features: int,
        thresholds: Tensor,
        window: Tensor,
        tables: list[Tensor],
        connections: list[Tensor],
        scores: list[Tensor],
        candidates: list[Tensor],
        temperatures: list[float],
    ) -> None:
        self._alive: list[Tensor] = []
        self.layers = (cpu.Layer * len(tables))()
        self.block = cpu.Block(features=features, layer_count=len(tables), layers=self.layers)
        self.block.threshold_rows, self.block.thermometer_bits = thresholds.shape
        self.block.threads = torch.get_num_threads()
        self.tensors(thresholds=thresholds, window=window)
        below = features * thresholds.shape[1]
        for k, layer in enumerate(self.layers):
            layer.luts, layer.inputs = connections[k].shape
            layer.below, below = below, layer.luts
            layer.tables = self._keep(tables[k], torch.float32)
            layer.connections = self._keep(connections[k], torch.int32)
            if scores[k].numel():
                layer.choices, layer.temperature = len(scores[k]), temperatures[k]
                layer.scores = self._keep(scores[k], torch.float32)
            if candidates[k].numel():
                layer.candidates = self._keep(candidates[k], torch.int32)

    def common(self, sum_sources: list[int], gradient: str, efd: str, centred: bool, groups: int) -> None:
        self.block.sources = sum(1 << source for source in sum_sources)
        self.block.gradient = GRADIENTS.index(gradient)
        self.block.normalised = efd == "normalised"
        self.block.centre = 0.5 if centred else 0.0
        self.block.groups = groups

    def tensors(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            setattr(self.block, name, self._keep(tensor, torch.float32))

    def codes(self, codes: Tensor, ranks: Tensor) -> None:
        self.block.codes = self._keep(codes, torch.int64)
        self.block.ranks = self._keep(ranks, torch.int16)

    def layer_gradients(self, k: int, grad_tables: Tensor, grad_scores: Tensor) -> None:
        self.layers[k].grad_tables = self._keep(grad_tables, torch.float32)
        if grad_scores.numel():
            self.layers[k].grad_scores = self._keep(grad_scores, torch.float32)

    def _keep(self, tensor: Tensor, dtype: torch.dtype) -> int:
        self._alive.append(tensor.detach().to(dtype).contiguous())
        return self._alive[-1].data_ptr()
