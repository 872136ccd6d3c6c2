"""A trained transformer whole in integers: the model around `nn.integer`, calibrated on real data.

Every tensor between two operations has one scale, from the largest magnitude that calibration met; scales are buffers,
so that a checkpoint reloads to the same integers. The residual stream is int16 with one scale for the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.kernels.reference import straight_through
from lutra.models.gpt import GPT, MLP
from lutra.models.vit import Mlp, VisionTransformer
from lutra.nn import integer
from lutra.nn.integer import INT8_LARGEST, INT16_LARGEST
from lutra.nn.weightless import WeightlessBlock

STREAM_MARGIN = 1.5
"""How far the residual stream and the logits may exceed what calibration met."""
STREAM, FINAL_NORM, POOLED, LOGITS = "stream", "norm", "pooled", "logits"
PIXEL_LEVELS, PIXEL_OFFSET = 255, 128
"""Pixels in [0, 255] enter as `pixel - 128`; what normalises them is part of the patch embedding's weights."""


@dataclass(frozen=True)
class Layer:
    """One pre-norm layer as its modules, whatever the model calls them."""

    name: str
    norm_1: nn.LayerNorm
    qkv: nn.Linear
    projection: nn.Linear
    norm_2: nn.LayerNorm | None
    feedforward: Feedforward | WeightlessBlock | None

    def query_key_value(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Weight (D, D) and bias (D) of the three parts of `qkv`."""
        weights = self.qkv.weight.chunk(3)
        biases = (None,) * 3 if self.qkv.bias is None else self.qkv.bias.chunk(3)
        return dict(zip(("query", "key", "value"), zip(weights, biases, strict=True), strict=True))


@dataclass(frozen=True)
class Feedforward:
    """A dense MLP: two linear layers with GELU between them."""

    first: nn.Linear
    second: nn.Linear


@dataclass(frozen=True)
class Parts:
    """What every transformer has."""

    layers: tuple[Layer, ...]
    norm: nn.LayerNorm
    head: nn.Linear
    heads: int
    causal: bool
    pool: Literal["class", "mean"] | None = None
    """How rows become one before the head; None: every row has logits."""


def parts_of(model: nn.Module) -> Parts:
    """The parts of a model that has an integer form.

    Raises:
        InputError: it has none.
    """
    if isinstance(model, VisionTransformer):
        return _parts_of_vit(model)
    if not isinstance(model, GPT):
        raise InputError(f"a {type(model).__name__} has no integer form; a GPT and a VisionTransformer have one")
    if model.config.binary_attention is not None:
        raise InputError("attention with 1-bit weights has no integer form yet; its weightless blocks alone have one")
    layers, transformer = [], cast("Any", model.transformer)
    for index, block in enumerate(transformer.h):
        mlp = Feedforward(block.mlp.c_fc, block.mlp.c_proj) if isinstance(block.mlp, MLP) else block.mlp
        norm_2 = None if block.mlp is None else block.ln_2
        layers.append(Layer(f"transformer.h.{index}", block.ln_1, block.attn.c_attn, block.attn.c_proj, norm_2, mlp))
    return Parts(tuple(layers), transformer.ln_f, model.lm_head, model.config.heads, causal=True)


def _parts_of_vit(model: VisionTransformer) -> Parts:
    layers = []
    for index, block in enumerate(cast("Any", model.blocks)):
        mlp = Feedforward(block.mlp.fc1, block.mlp.fc2) if isinstance(block.mlp, Mlp) else block.mlp
        norm_2 = None if block.mlp is None else block.norm2
        layers.append(Layer(f"blocks.{index}", block.norm1, block.attn.qkv, block.attn.proj, norm_2, mlp))
    config = model.config
    return Parts(tuple(layers), model.norm, model.head, config.heads, causal=False, pool=config.pool)


def sites(parts: Parts) -> tuple[str, ...]:
    """Every tensor that has a scale of its own, in execution order."""
    names = [STREAM]
    for layer in parts.layers:
        inner = ["norm_1", "query", "key", "value", "context"]
        if layer.norm_2 is not None:
            inner.append("norm_2")
        if isinstance(layer.feedforward, Feedforward):
            inner += ["hidden", "gelu"]
        names += [f"{layer.name}.{name}" for name in inner]
    return (*names, FINAL_NORM, *((POOLED,) if parts.pool == "mean" else ()), LOGITS)


class IntegerTransformer(nn.Module):
    """`model` in integers: tokens (B, T) or pixels (B, 3, side, side) uint8, logits as float32 of the model's shape.

    The parameters are the model's own, and gradients reach them straight through every rounding. Weightless blocks
    must be quantised. `calibrate_` comes before use.
    """

    largest: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.parts = parts_of(model)
        self.sites = self.site_names()
        self.register_buffer("largest", torch.zeros(len(self.sites), dtype=torch.float64))

    def site_names(self) -> tuple[str, ...]:
        """Every tensor that has a scale of its own."""
        return sites(self.parts)

    @torch.no_grad()
    def calibrate_(self, batches: Iterable[Tensor]) -> None:
        """Take the largest magnitude of every tensor over the real model's runs on `batches`.

        Raises:
            InputError: NaN or infinite activations, with the tensor's name; or no batch.
        """
        met = dict.fromkeys(self.sites, 0.0)
        training = self.model.training
        self.model.eval()
        hooks = list(self._hooks(met))
        try:
            for batch in batches:
                self._observe(met, LOGITS, self.real_logits(batch))
        finally:
            for hook in hooks:
                hook.remove()
            self.model.train(training)
        self.largest.copy_(torch.tensor([met[name] for name in self.sites], dtype=torch.float64))

    def real_logits(self, inputs: Tensor) -> Tensor:
        """What the model gives in floating point for the same inputs."""
        if isinstance(self.model, VisionTransformer):
            inputs = self.model.normalised(inputs)
        logits: Tensor = self.model(inputs)
        return logits

    @staticmethod
    def _observe(met: dict[str, float], name: str, values: Tensor) -> None:
        largest = float(values.detach().abs().max())
        if not math.isfinite(largest):
            raise InputError(f"{name}: NaN or infinite activations; train with a smaller learning rate")
        met[name] = max(met[name], largest)

    def observe_heads(self, met: dict[str, float], layer: str, parts: tuple[Tensor, ...]) -> None:
        """What calibration sees of a layer's queries, keys and values, (B, T, D) each."""
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            self._observe(met, f"{layer}.{name}", part)

    def _hooks(self, met: dict[str, float]) -> Iterator[Any]:
        def inputs(module: nn.Module, name: str) -> Any:
            return module.register_forward_pre_hook(lambda _, given: self._observe(met, name, given[0]))

        def outputs(module: nn.Module, name: str) -> Any:
            return module.register_forward_hook(lambda _, __, output: self._observe(met, name, output))

        def split(module: nn.Module, layer: str) -> Any:
            def observe(_: nn.Module, __: Any, output: Tensor) -> None:
                self.observe_heads(met, layer, output.chunk(3, dim=-1))

            return module.register_forward_hook(observe)

        for layer in self.parts.layers:
            yield inputs(layer.norm_1, STREAM)
            yield outputs(layer.norm_1, f"{layer.name}.norm_1")
            yield split(layer.qkv, layer.name)
            yield inputs(layer.projection, f"{layer.name}.context")
            yield outputs(layer.projection, STREAM)
            if layer.norm_2 is not None:
                yield inputs(layer.norm_2, STREAM)
                yield outputs(layer.norm_2, f"{layer.name}.norm_2")
            if isinstance(layer.feedforward, Feedforward):
                yield outputs(layer.feedforward.first, f"{layer.name}.hidden")
                yield inputs(layer.feedforward.second, f"{layer.name}.gelu")
                yield outputs(layer.feedforward.second, STREAM)
            elif layer.feedforward is not None:
                yield outputs(layer.feedforward, STREAM)
        if isinstance(self.model, VisionTransformer):
            yield outputs(self.model.patch_embed, STREAM)
        if self.parts.pool == "mean":
            yield inputs(self.parts.head, POOLED)
        yield inputs(self.parts.norm, STREAM)
        yield outputs(self.parts.norm, FINAL_NORM)

    def scale(self, site: str) -> float:
        """The scale of a tensor: of "stream" and "logits" as int16, of the others as int8.

        Raises:
            InputError: it was never calibrated, or is zero everywhere.
        """
        layer, _, name = site.rpartition(".")
        if name == "norm_2":
            block = next(part.feedforward for part in self.parts.layers if part.name == layer)
            if isinstance(block, WeightlessBlock):
                if not block.quantised:
                    raise InputError(f"{layer}: the block is not quantised; call quantise_blocks first")
                return float(block.input_scale)
        largest = float(self.largest[self.sites.index(site)])
        if not 0 < largest < math.inf:
            raise InputError(f"{site}: no scale yet, or a tensor of zeros; calibrate_ the integer model on real data")
        return STREAM_MARGIN * largest / INT16_LARGEST if site in (STREAM, LOGITS) else largest / INT8_LARGEST

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits as real numbers, float32."""
        return (self.integer_logits(inputs) * self.scale(LOGITS)).float()

    def integer_logits(self, inputs: Tensor) -> Tensor:
        """int16 logits (B, T, V) of tokens, or (B, classes) of pixels, as float64."""
        x = self.embed_pixels(inputs) if isinstance(self.model, VisionTransformer) else self.embed(inputs)
        for index, layer in enumerate(self.parts.layers):
            x = self._attention(layer, x, only_class=self.ends_with_class(index))
            if layer.norm_2 is not None:
                x = self._feedforward(layer, x)
        y = self._norm(self.parts.norm, FINAL_NORM, x)
        if self.parts.pool == "mean":
            y = integer.mean_rows(y, *self.mean_constants(y.shape[1]))
        y = self._linear(self.parts.head.weight, self.parts.head.bias, self.head_source, LOGITS, y, bits=16)
        return y if self.parts.pool is None else y[:, 0]

    def ends_with_class(self, index: int) -> bool:
        """Whether a layer computes the class token's row only: the last one, if nothing else is read afterwards."""
        return self.parts.pool == "class" and index == len(self.parts.layers) - 1

    @property
    def head_source(self) -> str:
        return POOLED if self.parts.pool == "mean" else FINAL_NORM

    def mean_constants(self, rows: int) -> tuple[int, int]:
        """Multiplier and shift of the mean over `rows` rows."""
        ratio = torch.tensor([self.scale(FINAL_NORM) / (rows * self.scale(POOLED))], dtype=torch.float64)
        multiplier, shift = integer.dyadic(ratio, POOLED)
        return int(multiplier), shift

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> the residual stream (B, T, D)."""
        assert isinstance(self.model, GPT)
        length = tokens.shape[1]
        if length > self.model.context:
            raise InputError(f"{length} tokens are more than the model's context of {self.model.context}")
        wte, wpe = self.embedding_rows()
        return integer.residual(wte[tokens], wpe[:length])

    def embedding_rows(self) -> tuple[Tensor, Tensor]:
        """Integer rows of the tokens (V, D) and positions (context, D) of a GPT, at the scale of the stream."""
        transformer, scale = cast("Any", self.model.transformer), self.scale(STREAM)
        return (
            integer.to_grid(transformer.wte.weight, scale, 16),
            integer.to_grid(transformer.wpe.weight, scale, 16),
        )

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, side, side) in [0, 255] -> the residual stream (B, T, D)."""
        model = self.model
        assert isinstance(model, VisionTransformer)
        model.require_images(pixels)
        if pixels.dtype != torch.uint8:
            raise InputError(f"pixels must be uint8 in [0, 255], got {pixels.dtype}")
        patches = F.unfold(pixels.double() - PIXEL_OFFSET, model.config.patch, stride=model.config.patch)
        weight, bias = self.patch_weights()
        x = integer.linear(patches.transpose(1, 2), weight, bias, self.patch_constants(), 1.0, bits=16)
        leading, positions = self.position_rows()
        x = integer.residual(x, positions)
        return torch.cat([leading.expand(len(x), -1, -1), x], dim=1)

    def patch_weights(self) -> tuple[Tensor, Tensor]:
        """Weights (D, 3 * patch^2) and bias (D) that take `pixel - 128` instead of normalised images."""
        model = self.model
        assert isinstance(model, VisionTransformer)
        projection = model.patch_embed.proj
        assert projection.bias is not None
        device = projection.weight.device
        mean, std = (torch.tensor(each, dtype=torch.float64, device=device) for each in model.statistics)
        weight = projection.weight.double() / (PIXEL_LEVELS * std)[:, None, None]
        offset = (PIXEL_OFFSET - PIXEL_LEVELS * mean)[:, None, None]
        return weight.flatten(1), projection.bias.double() + (weight * offset).flatten(1).sum(dim=1)

    def patch_constants(self) -> integer.Linear:
        weight, bias = self.patch_weights()
        return integer.linear_constants(weight, bias.detach(), 1.0, self.scale(STREAM), "patch_embed")

    def position_rows(self) -> tuple[Tensor, Tensor]:
        """Integer rows that come first (1 or 0, D), and the positions of the patches (N, D), at the stream's scale."""
        model, scale = self.model, self.scale(STREAM)
        assert isinstance(model, VisionTransformer)
        rows = model.pos_embed[0]
        if model.cls_token is None:
            return integer.to_grid(rows[:0], scale, 16), integer.to_grid(rows, scale, 16)
        return integer.to_grid(model.cls_token[0] + rows[:1], scale, 16), integer.to_grid(rows[1:], scale, 16)

    def _attention(self, layer: Layer, x: Tensor, only_class: bool = False) -> Tensor:
        y = self._norm(layer.norm_1, f"{layer.name}.norm_1", x)
        queries = y
        if only_class:
            x, queries = x[:, :1], y[:, :1]
        query, key, value = (
            self._linear(weight, bias, f"{layer.name}.norm_1", f"{layer.name}.{name}", rows)
            for rows, (name, (weight, bias)) in zip((queries, y, y), layer.query_key_value().items(), strict=True)
        )
        return integer.residual(x, self._projection(layer, self._context(layer, query, key, value)))

    def _context(self, layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """int8 (B, T, D) each -> int8 contexts at `context_scale`."""
        constants = self.attention_constants(layer)
        return integer.attention(query, key, value, self.parts.heads, self.parts.causal, constants)

    def _projection(self, layer: Layer, context: Tensor) -> Tensor:
        linear, scale = layer.projection, self.context_scale(layer)
        return integer.linear(context, linear.weight, linear.bias, self.projection_constants(layer), scale, bits=16)

    def context_scale(self, layer: Layer) -> float:
        """The scale of a layer's contexts."""
        return self.scale(f"{layer.name}.value") / float(2 ** self.attention_constants(layer).gain)

    def projection_constants(self, layer: Layer) -> integer.Linear:
        scales = self.context_scale(layer), self.scale(STREAM)
        linear = layer.projection
        return integer.linear_constants(linear.weight, linear.bias, *scales, f"{layer.name}.projection")

    def attention_constants(self, layer: Layer) -> integer.Attention:
        query, key, value, context = (
            self.scale(f"{layer.name}.{name}") for name in ("query", "key", "value", "context")
        )
        head_width = layer.projection.in_features // self.parts.heads
        return integer.attention_constants(query, key, value, context, head_width, f"{layer.name}.attention")

    def _feedforward(self, layer: Layer, x: Tensor) -> Tensor:
        assert layer.norm_2 is not None
        y = self._norm(layer.norm_2, f"{layer.name}.norm_2", x)
        if isinstance(layer.feedforward, Feedforward):
            return integer.residual(x, self._mlp(layer.feedforward, layer.name, y))
        assert layer.feedforward is not None
        block = layer.feedforward
        # float32 holds an int8 times the scale, and an int16 output, closely enough to find the integers again.
        real = block((y * self.scale(f"{layer.name}.norm_2")).float()).double()
        return integer.residual(x, self.block_branch(block, layer.name, real))

    def block_branch(self, block: WeightlessBlock, name: str, real: Tensor) -> Tensor:
        """The real outputs of a quantised block as integers at the stream's scale."""
        scale = float(block.summation.integers().output_scale)
        multiplier, shift = self.branch_constants(scale, name)
        exact = integer.requantised(integer.floor_half(real.detach() / scale), multiplier, shift, 16)
        return straight_through(exact, real / self.scale(STREAM)) if torch.is_grad_enabled() else exact

    def branch_constants(self, scale: float, name: str) -> tuple[Tensor, int]:
        """What brings a block's outputs of a scale to that of the stream."""
        ratio = torch.tensor([scale / self.scale(STREAM)], dtype=torch.float64)
        return integer.dyadic(ratio, f"{name}.mlp")

    def _mlp(self, mlp: Feedforward, name: str, y: Tensor) -> Tensor:
        hidden = self._linear(mlp.first.weight, mlp.first.bias, f"{name}.norm_2", f"{name}.hidden", y)
        activated = self._activated(hidden, name)
        return self._linear(mlp.second.weight, mlp.second.bias, f"{name}.gelu", STREAM, activated, bits=16)

    def _activated(self, hidden: Tensor, name: str) -> Tensor:
        """GELU of int8 integers, as int8."""
        scales = self.scale(f"{name}.hidden"), self.scale(f"{name}.gelu")
        return integer.gelu(hidden, integer.gelu_table(*scales), *scales)

    def _linear(
        self, weight: Tensor, bias: Tensor | None, source: str, target: str, x: Tensor, bits: int = 8
    ) -> Tensor:
        constants = self.linear_constants(weight, bias, source, target)
        return integer.linear(x, weight, bias, constants, self.scale(source), bits)

    def linear_constants(self, weight: Tensor, bias: Tensor | None, source: str, target: str) -> integer.Linear:
        """Of a product from one site to another."""
        return integer.linear_constants(weight, bias, self.scale(source), self.scale(target), target)

    def _norm(self, norm: nn.LayerNorm, site: str, x: Tensor) -> Tensor:
        scales = self.scale(STREAM), self.scale(site)
        return integer.layer_norm(x, norm.weight, norm.bias, self.norm_constants(norm, site), norm.eps, *scales)

    def norm_constants(self, norm: nn.LayerNorm, site: str) -> integer.Norm:
        scales = self.scale(STREAM), self.scale(site)
        return integer.norm_constants(norm.weight, norm.bias, norm.eps, *scales, site)
