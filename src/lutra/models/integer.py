"""A trained transformer whole in integers: the model around `nn.integer`, calibrated on real data.

Every tensor between two operations has one scale, from the largest magnitude that calibration met; scales are buffers,
so that a checkpoint reloads to the same integers. The residual stream is int16 with one scale for the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.kernels.reference import straight_through
from lutra.models.gpt import GPT, MLP, CausalSelfAttention
from lutra.nn import integer
from lutra.nn.integer import INT8_LARGEST, INT16_LARGEST
from lutra.nn.weightless import WeightlessBlock

STREAM_MARGIN = 1.5
"""How far the residual stream and the logits may exceed what calibration met."""
STREAM, FINAL_NORM, LOGITS = "stream", "norm", "logits"


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


def parts_of(model: nn.Module) -> Parts:
    """The parts of a model that has an integer form.

    Raises:
        InputError: it has none.
    """
    if not isinstance(model, GPT):
        raise InputError(f"a {type(model).__name__} has no integer form; a GPT and a VisionTransformer have one")
    layers, transformer = [], cast("Any", model.transformer)
    for index, block in enumerate(transformer.h):
        attention: CausalSelfAttention = block.attn
        mlp = Feedforward(block.mlp.c_fc, block.mlp.c_proj) if isinstance(block.mlp, MLP) else block.mlp
        norm_2 = None if block.mlp is None else block.ln_2
        layers.append(Layer(f"transformer.h.{index}", block.ln_1, attention.c_attn, attention.c_proj, norm_2, mlp))
    return Parts(tuple(layers), transformer.ln_f, model.lm_head, model.config.heads, causal=True)


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
    return (*names, FINAL_NORM, LOGITS)


class IntegerTransformer(nn.Module):
    """`model` in integers: the same inputs, logits as float32 of the same shape.

    The parameters are the model's own, and gradients reach them straight through every rounding. Weightless blocks
    must be quantised. `calibrate_` comes before use.
    """

    largest: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.parts = parts_of(model)
        self.sites = sites(self.parts)
        self.register_buffer("largest", torch.zeros(len(self.sites), dtype=torch.float64))

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
                self._observe(met, LOGITS, self.model(batch))
        finally:
            for hook in hooks:
                hook.remove()
            self.model.train(training)
        self.largest.copy_(torch.tensor([met[name] for name in self.sites], dtype=torch.float64))

    @staticmethod
    def _observe(met: dict[str, float], name: str, values: Tensor) -> None:
        largest = float(values.detach().abs().max())
        if not math.isfinite(largest):
            raise InputError(f"{name}: NaN or infinite activations; train with a smaller learning rate")
        met[name] = max(met[name], largest)

    def _hooks(self, met: dict[str, float]) -> Iterator[Any]:
        def inputs(module: nn.Module, name: str) -> Any:
            return module.register_forward_pre_hook(lambda _, given: self._observe(met, name, given[0]))

        def outputs(module: nn.Module, name: str) -> Any:
            return module.register_forward_hook(lambda _, __, output: self._observe(met, name, output))

        def split(module: nn.Module, layer: str) -> Any:
            def observe(_: nn.Module, __: Any, output: Tensor) -> None:
                for name, part in zip(("query", "key", "value"), output.chunk(3, dim=-1), strict=True):
                    self._observe(met, f"{layer}.{name}", part)

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
        """Tokens (B, T) -> int16 logits (B, T, V), as float64."""
        x = self.embed(inputs)
        for layer in self.parts.layers:
            x = self._attention(layer, x)
            if layer.norm_2 is not None:
                x = self._feedforward(layer, x)
        y = self._norm(self.parts.norm, FINAL_NORM, x)
        return self._linear(self.parts.head.weight, self.parts.head.bias, FINAL_NORM, LOGITS, y, bits=16)

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> the residual stream (B, T, D)."""
        assert isinstance(self.model, GPT)
        length = tokens.shape[1]
        if length > self.model.config.context:
            raise InputError(f"{length} tokens are more than the model's context of {self.model.config.context}")
        wte, wpe = self.embedding_rows()
        return integer.residual(wte[tokens], wpe[:length])

    def embedding_rows(self) -> tuple[Tensor, Tensor]:
        """Integer rows of the tokens (V, D) and positions (context, D) of a GPT, at the scale of the stream."""
        transformer, scale = cast("Any", self.model.transformer), self.scale(STREAM)
        return (
            integer.to_grid(transformer.wte.weight, scale, 16),
            integer.to_grid(transformer.wpe.weight, scale, 16),
        )

    def _attention(self, layer: Layer, x: Tensor) -> Tensor:
        y = self._norm(layer.norm_1, f"{layer.name}.norm_1", x)
        query, key, value = (
            self._linear(weight, bias, f"{layer.name}.norm_1", f"{layer.name}.{name}", y)
            for name, (weight, bias) in layer.query_key_value().items()
        )
        constants = self.attention_constants(layer)
        context = integer.attention(query, key, value, self.parts.heads, self.parts.causal, constants)
        return integer.residual(x, self._projection(layer, context, constants))

    def _projection(self, layer: Layer, context: Tensor, constants: integer.Attention) -> Tensor:
        linear, scale = layer.projection, self.context_scale(layer, constants)
        c = self.projection_constants(layer, constants)
        return integer.linear(context, linear.weight, linear.bias, c, scale, bits=16)

    def context_scale(self, layer: Layer, constants: integer.Attention) -> float:
        return self.scale(f"{layer.name}.value") / float(2**constants.gain)

    def projection_constants(self, layer: Layer, constants: integer.Attention) -> integer.Linear:
        scales = self.context_scale(layer, constants), self.scale(STREAM)
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
        hidden_scale, scale = self.scale(f"{name}.hidden"), self.scale(f"{name}.gelu")
        hidden = self._linear(mlp.first.weight, mlp.first.bias, f"{name}.norm_2", f"{name}.hidden", y)
        activated = integer.gelu(hidden, integer.gelu_table(hidden_scale, scale), hidden_scale, scale)
        return self._linear(mlp.second.weight, mlp.second.bias, f"{name}.gelu", STREAM, activated, bits=16)

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
