"""The weightless block on a CPU: the C++ kernels as a PyTorch operator, and without one where nothing compiles.

PyTorch spends about a millisecond on a custom operator with as many arguments and its gradient, more than a small block
takes. Outside of `torch.compile` an autograd function calls the kernels directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lutra.errors import InputError
from lutra.kernels.cpu.library import Block, Layer, library, pointer

if TYPE_CHECKING:
    from lutra.kernels.block import BlockParameters, LayerParameters

GRADIENTS = ("identity", "mean", "window")


def weightless_block(x: Tensor, block: BlockParameters, integers: list[Tensor]) -> Tensor:
    """The block's output (N, D_out) in float32; `integers` as `_forward` takes them."""
    layers = block.layers
    empty = x.new_empty(0)
    tables = [layer.tables for layer in layers]
    scores = [empty if layer.scores is None else layer.scores for layer in layers]
    inputs = (
        x,
        block.thresholds,
        block.window,
        tables,
        [layer.connections for layer in layers],
        scores,
        [_candidates_by_slot(layer, empty) for layer in layers],
        block.encoded,
        block.bias,
        integers,
    )
    options = (
        [layer.temperature for layer in layers],
        list(block.sum_sources),
        block.gradient,
        block.efd,
        block.centred,
        block.groups,
    )
    if torch.compiler.is_compiling():
        y: Tensor
        y, _, _ = _forward_operator(*inputs, *options)
        return y
    # An autograd function sees tensors only where they are arguments of their own.
    trained = (x, block.thresholds, block.encoded, block.bias, *tables, *scores)
    result: Tensor = _Eager.apply(inputs, options, *trained)  # type: ignore[no-untyped-call]
    return result


def _candidates_by_slot(layer: LayerParameters, empty: Tensor) -> Tensor:
    if layer.candidates is None:
        return empty
    return layer.candidates.t().contiguous().int() if layer.by_slot is None else layer.by_slot


@torch.library.custom_op("lutra::column_argmax", mutates_args=())
def column_argmax(scores: Tensor) -> Tensor:
    """Row of the highest entry of each column, the first if several: (rows, columns) -> (columns,) int64."""
    return eager_column_argmax(scores)


@column_argmax.register_fake
def _(scores: Tensor) -> Tensor:
    return scores.new_empty(scores.shape[1], dtype=torch.int64)


def eager_column_argmax(scores: Tensor) -> Tensor:
    """`column_argmax` without the operator around it."""
    scores = scores.contiguous()
    rows, columns = scores.shape
    where = torch.empty(columns, dtype=torch.int64)
    _kernels().lutra_column_argmax(pointer(scores), rows, columns, pointer(where), torch.get_num_threads())
    return where


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
    """Output (N, D_out); codes (ceil(N / 64), D * code bits) and their ranks (D, edges), as in codes.h.

    `candidates` are by slot, (L * n, C) int32, or empty. Forward, connections say all about a mapping.
    """
    none = [x.new_empty(0)] * len(tables)
    structure = _Structure(x.shape[1], thresholds, window, tables, connections, none, none, temperatures)
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
        structure.run(_kernels().lutra_forward)
    return y, codes, ranks


def _empty_outputs(x: Tensor, thresholds: Tensor, encoded: Tensor, gradient: str) -> tuple[Tensor, Tensor, Tensor]:
    rows, features = x.shape
    edges = thresholds.shape[1] * (3 if gradient == "window" else 1)  # thresholds, and the ends of their windows
    y = x.new_empty(rows, encoded.shape[1], dtype=torch.float32)
    codes = x.new_empty((rows + 63) // 64, features * edges.bit_length(), dtype=torch.int64)
    ranks = x.new_empty(features, edges, dtype=torch.int16)
    return y, codes, ranks


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
        structure.run(_kernels().lutra_backward)
    else:
        for grad in grads:
            grad.zero_()
    if want_grad_thresholds:
        grads[1] = grad_thresholds.sum(dim=0, keepdim=True) if len(thresholds) == 1 else grad_thresholds
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


class _Eager(Function):
    """The kernels, called without an operator around them."""

    @staticmethod
    def forward(ctx: Any, inputs: tuple[Any, ...], options: tuple[Any, ...], *trained: Tensor) -> Tensor:
        y, codes, ranks = _forward(*inputs, *options)
        _save(ctx, inputs, options, codes, ranks)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
        want_x, want_thresholds = ctx.needs_input_grad[2:4]
        (grad_x, grad_thresholds, grad_encoded, grad_bias), grad_tables, grad_scores = _saved_backward(
            ctx, grad_y, _backward, want_x, want_thresholds
        )
        return None, None, grad_x, grad_thresholds, grad_encoded, grad_bias, *grad_tables, *grad_scores


_forward_operator = torch.library.custom_op("lutra::weightless_forward", _forward, mutates_args=())
_backward_operator = torch.library.custom_op("lutra::weightless_backward", _backward, mutates_args=())


@_forward_operator.register_fake
def _(x: Tensor, thresholds: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    encoded, gradient = rest[5], rest[10]
    return _empty_outputs(x, thresholds, encoded, gradient)


@_backward_operator.register_fake
def _(grad_y: Tensor, codes: Tensor, ranks: Tensor, thresholds: Tensor, window: Tensor, *rest: Any) -> list[Tensor]:
    tables, _, scores, _, encoded, *_, want_grad_x, want_grad_thresholds = rest
    grads = _empty_gradients(grad_y, len(ranks), thresholds, encoded, tables, scores, want_grad_x, want_grad_thresholds)
    if want_grad_thresholds:
        grads[1] = torch.empty_like(thresholds)
    return grads


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, codes, ranks = output
    ctx.mark_non_differentiable(codes, ranks)
    _save(ctx, inputs[:10], inputs[10:], codes, ranks)


def _operator_backward(ctx: Any, grad_y: Tensor, *_: Any) -> tuple[Any, ...]:
    want_x, want_thresholds = ctx.needs_input_grad[:2]
    (grad_x, grad_thresholds, grad_encoded, grad_bias), grad_tables, grad_scores = _saved_backward(
        ctx, grad_y, _backward_operator, want_x, want_thresholds
    )
    layers, options = len(grad_tables), len(ctx.options)
    return (
        grad_x,
        grad_thresholds,
        None,
        grad_tables,
        [None] * layers,
        grad_scores,
        [None] * layers,
        grad_encoded,
        grad_bias,
        [None] * ctx.integer_count,
        *([None] * options),
    )


_forward_operator.register_autograd(_operator_backward, setup_context=_setup_context)


def _save(ctx: Any, inputs: tuple[Any, ...], options: tuple[Any, ...], codes: Tensor, ranks: Tensor) -> None:
    x, thresholds, window, tables, connections, scores, candidates, encoded, _, integers = inputs
    ctx.save_for_backward(codes, ranks, thresholds, window, encoded, *tables, *connections, *scores, *candidates)
    ctx.options, ctx.x_dtype, ctx.integer_count = options, x.dtype, len(integers)


def _saved_backward(
    ctx: Any, grad_y: Tensor, backward: Any, want_x: bool, want_thresholds: bool
) -> tuple[tuple[Tensor | None, ...], list[Tensor], list[Tensor | None]]:
    """Gradients of x, thresholds, encoded values and bias; of the tables; of the scores."""
    codes, ranks, thresholds, window, encoded, *rest = ctx.saved_tensors
    layers = len(rest) // 4
    tables, connections, scores, candidates = (rest[i * layers : (i + 1) * layers] for i in range(4))
    grads = backward(
        grad_y, codes, ranks, thresholds, window, tables, connections, scores, candidates, encoded,
        *ctx.options, want_x, want_thresholds,
    )  # fmt: skip
    grad_x, grad_thresholds, grad_encoded, grad_bias = grads[:4]
    grad_tables, grad_scores = grads[4 : 4 + layers], grads[4 + layers :]
    return (
        (
            grad_x.to(ctx.x_dtype) if want_x else None,
            grad_thresholds if want_thresholds else None,
            grad_encoded,
            grad_bias,
        ),
        grad_tables,
        [grad if score.numel() else None for grad, score in zip(grad_scores, scores, strict=True)],
    )


def _kernels() -> ctypes.CDLL:
    loaded = library()
    assert loaded is not None, "callers ask fast_block_available first"
    return loaded


class _Structure:
    """A filled `Block`, and the tensors it points to (kept alive, contiguous, in the types of block.h)."""

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
        self.layers = (Layer * len(tables))()
        self.block = Block(features=features, layer_count=len(tables), layers=self.layers)
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
                assert candidates[k].numel() == scores[k].numel()
                layer.candidates = self._keep(candidates[k], torch.int32)

    def run(self, kernel: Callable[[Block], int]) -> None:
        """Call a kernel.

        Raises:
            InputError: a layer reads bits that are not there.
        """
        unreadable = kernel(self.block)
        if unreadable:
            below = self.layers[unreadable - 1].below
            raise InputError(
                f"LUT layer {unreadable - 1} reads a bit that is not among the {below} below it; its connections or "
                "candidates are damaged: load the model again"
            )

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
        if tensor.dtype != dtype or not tensor.is_contiguous():
            tensor = tensor.detach().to(dtype).contiguous()
        self._alive.append(tensor)
        return tensor.data_ptr()
