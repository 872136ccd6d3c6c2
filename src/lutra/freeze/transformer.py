"""A whole transformer, calibrated in integers, as one frozen program: from tokens or pixels to logits."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from lutra.freeze.block import freeze_block
from lutra.frozen.graph import Graph
from lutra.frozen.ops import (
    Attention,
    Embedding,
    IntegerLayerNorm,
    LayerNorm,
    MatMul,
    MeanRows,
    Operation,
    Patches,
    Positions,
    Requantise,
    Residual,
    Select,
    ShiftGelu,
    ShiftmaxAttention,
    Table,
)
from lutra.frozen.ops.attention import exponential_table
from lutra.frozen.shift import require_gelu_range
from lutra.frozen.types import IntArray, TensorType
from lutra.models.integer import FINAL_NORM, LOGITS, POOLED, STREAM, Feedforward, IntegerTransformer, Layer
from lutra.models.integer_ivit import IVitTransformer
from lutra.models.vit import VisionTransformer
from lutra.nn import integer
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.vision import CHANNELS

TOKENS, PIXELS = "tokens", "pixels"


def freeze_transformer(model: IntegerTransformer) -> Graph:
    """The program of a calibrated model: it computes the integers that `model` computes.

    Raises:
        InputError: a scale is missing, or constants do not fit their types.
        FrozenModelError: the model leaves the bounds of the frozen operations.
    """
    writer = _IVitWriter(model) if isinstance(model, IVitTransformer) else _Writer(model)
    vision = isinstance(model.model, VisionTransformer)
    x = writer.image() if vision else writer.embedding()
    for index, layer in enumerate(model.parts.layers):
        x = writer.layer(layer, x, only_class=model.ends_with_class(index))
    y = writer.norm(model.parts.norm, FINAL_NORM, x)
    if model.parts.pool == "mean":
        y = writer.mean(y)
    head = model.parts.head
    writer.linear(model.linear_constants(head.weight, head.bias, model.head_source, LOGITS), LOGITS, y, LOGITS)
    program = writer.program()
    program.check()
    return program


class _Writer:
    """Appends operations in execution order; every method returns the name of the value that it ends with."""

    def __init__(self, model: IntegerTransformer) -> None:
        self.model = model
        self.ops: list[Operation] = []
        self.stream = TensorType(True, 16, model.scale(STREAM))
        self.input: tuple[str, TensorType, int, int | None]

    def add(self, op: Operation) -> str:
        self.ops.append(op)
        return op.output

    def type_of(self, site: str) -> TensorType:
        if site == STREAM:
            return self.stream
        return TensorType(True, 16 if site == LOGITS else 8, self.model.scale(site))

    def embedding(self) -> str:
        tokens, positions = map(_array, self.model.embedding_rows())
        self.input = TOKENS, TensorType(False, max(1, (len(tokens) - 1).bit_length())), 1, None
        return self.add(Embedding((TOKENS,), "embedding", tokens, positions, self.stream))

    def image(self) -> str:
        model = self.model.model
        assert isinstance(model, VisionTransformer)
        side = model.config.image
        self.input = PIXELS, TensorType(False, 8), CHANNELS, side * side
        self.add(Patches((PIXELS,), "patches", side, side, model.config.patch))
        x = self.linear(self.model.patch_constants(), "projected", "patches", STREAM)
        leading, positions = map(_array, self.model.position_rows())
        return self.add(Positions((x,), "embedding", leading, positions, self.stream))

    def program(self) -> Graph:
        name, type_, width, rows = self.input
        return Graph("model", name, type_, width, tuple(self.ops), rows)

    def mean(self, y: str) -> str:
        model = self.model.model
        assert isinstance(model, VisionTransformer)
        multiplier, shift = self.model.mean_constants(model.config.patches)
        return self.add(MeanRows((y,), POOLED, multiplier, shift, self.type_of(POOLED)))

    def layer(self, layer: Layer, x: str, only_class: bool = False) -> str:
        """`only_class`: the values end with the class token's row."""
        name = layer.name
        y = self.norm(layer.norm_1, f"{name}.norm_1", x)
        if only_class:
            x = self.add(Select((x,), f"{name}.class", 0))
        x = self.add(Residual((x, self.attention(layer, y, only_class)), f"{name}.x", self.stream))
        if layer.norm_2 is None:
            return x
        y = self.norm(layer.norm_2, f"{name}.norm_2", x)
        if isinstance(layer.feedforward, Feedforward):
            branch = self.mlp(layer.feedforward, name, y)
        else:
            branch = self.block(layer, y)
        return self.add(Residual((x, branch), f"{name}.out", self.stream))

    def attention(self, layer: Layer, y: str, only_class: bool) -> str:
        model, name, norm = self.model, layer.name, y
        if only_class:
            y = self.add(Select((y,), f"{name}.class_norm", 0))
        parts = []
        for source, (part, (weight, bias)) in zip((y, norm, norm), layer.query_key_value().items(), strict=True):
            site = f"{name}.{part}"
            parts.append(self.linear(model.linear_constants(weight, bias, f"{name}.norm_1", site), site, source, site))
        context = self.add(self.attention_op(layer, tuple(parts), f"{name}.context"))
        return self.linear(model.projection_constants(layer), f"{name}.projection", context, STREAM)

    def attention_op(self, layer: Layer, parts: tuple[str, ...], output: str) -> Operation:
        c, model = self.model.attention_constants(layer), self.model
        type_ = TensorType(True, 8, model.context_scale(layer))
        heads, causal = model.parts.heads, model.parts.causal
        return Attention(parts, output, heads, causal, c.multiplier, c.shift, exponential_table(), c.gain, type_)

    def mlp(self, mlp: Feedforward, name: str, y: str) -> str:
        model, hidden, activated = self.model, f"{name}.hidden", f"{name}.gelu"
        first = model.linear_constants(mlp.first.weight, mlp.first.bias, f"{name}.norm_2", hidden)
        self.linear(first, hidden, y, hidden)
        self.activate(name, hidden, activated)
        second = model.linear_constants(mlp.second.weight, mlp.second.bias, activated, STREAM)
        return self.linear(second, f"{name}.mlp", activated, STREAM)

    def activate(self, name: str, hidden: str, activated: str) -> None:
        """GELU of one layer."""
        table = integer.gelu_table(self.model.scale(hidden), self.model.scale(activated))
        self.add(Table((hidden,), activated, _array(table), self.type_of(activated)))

    def block(self, layer: Layer, y: str) -> str:
        """A weightless block: its operations as they are alone, then to the scale of the stream."""
        name = f"{layer.name}.mlp"
        assert isinstance(layer.feedforward, WeightlessBlock)
        graph = freeze_block(name, layer.feedforward)
        for op in graph.ops:
            inputs = tuple(y if source == graph.input else f"{name}.{source}" for source in op.inputs)
            self.add(type(op)(**{**vars(op), "inputs": inputs, "output": f"{name}.{op.output}"}))
        multiplier, shift = self.model.branch_constants(graph.output_type.scale, layer.name)
        width = graph.output_width
        columns = np.full(width, int(multiplier)), np.full(width, shift)
        return self.add(Requantise((f"{name}.{graph.output}",), f"{name}.branch", *columns, self.stream))

    def norm(self, norm: nn.LayerNorm, site: str, x: str) -> str:
        c = self.model.norm_constants(norm, site)
        return self.add(LayerNorm((x,), site, _array(c.gain), _array(c.bias), c.epsilon, c.shift, self.type_of(site)))

    def linear(self, c: integer.Linear, name: str, source: str, target: str) -> str:
        """A product and its requantising into the type of a site."""
        self.add(MatMul((source,), f"{name}.sums", _array(c.weights).T, _array(c.bias)))
        shift = np.full(len(c.multiplier), c.shift)
        return self.add(Requantise((f"{name}.sums",), name, _array(c.multiplier), shift, self.type_of(target)))


class _IVitWriter(_Writer):
    """The same with I-ViT's functions."""

    model: IVitTransformer

    def attention_op(self, layer: Layer, parts: tuple[str, ...], output: str) -> Operation:
        c, model = self.model.shiftmax_constants(layer), self.model
        type_ = TensorType(True, 8, model.context_scale(layer))
        heads, causal = model.parts.heads, model.parts.causal
        constants = c.multiplier, c.shift, c.unit, c.context_multiplier, c.context_shift
        return ShiftmaxAttention(parts, output, heads, causal, *constants, type_)

    def activate(self, name: str, hidden: str, activated: str) -> None:
        c, source = self.model.gelu_constants(name), self.ops[-1]
        assert isinstance(source, Requantise)
        width = source.width
        require_gelu_range(self.model.scale(hidden), hidden)
        product = self.add(ShiftGelu((hidden,), f"{activated}.product", width, c.unit, c.shift))
        columns = np.full(width, c.multiplier), np.full(width, c.output_shift)
        self.add(Requantise((product,), activated, *columns, self.type_of(activated)))

    def norm(self, norm: nn.LayerNorm, site: str, x: str) -> str:
        c = self.model.i_norm_constants(norm, site)
        arrays = _array(c.bias), _array(c.multiplier), _array(c.shift)
        return self.add(IntegerLayerNorm((x,), site, *arrays, self.type_of(site)))


def _array(tensor: Tensor) -> IntArray:
    return tensor.detach().cpu().numpy().astype(np.int64)
