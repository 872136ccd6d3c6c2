"""A transformer whole in integers with I-ViT's functions in the place of the exact ones (QuWeiT's setting)."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn

from lutra.models.gpt import GPT
from lutra.models.integer import STREAM, IntegerTransformer, Layer
from lutra.models.vit import VisionTransformer
from lutra.nn import integer, shift

Functions = Literal["exact", "i-vit"]


class IVitTransformer(IntegerTransformer):
    """Shiftmax on int8 scores, ShiftGELU on inputs clipped to 7.5, and I-LayerNorm.

    The residual stream and the products are those of the exact form: I-ViT's scale for every residual sum is not taken.
    """

    def site_names(self) -> tuple[str, ...]:
        return (*super().site_names(), *(f"{layer.name}.scores" for layer in self.parts.layers))

    def observe_heads(self, met: dict[str, float], layer: str, parts: tuple[Tensor, ...]) -> None:
        super().observe_heads(met, layer, parts)
        query, key, _ = (integer.split_heads(part, self.parts.heads) for part in parts)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5  # (B, H, T, T)
        self._observe(met, f"{layer}.scores", scores.tril() if self.parts.causal else scores)

    def scale(self, site: str) -> float:
        largest = super().scale(site)
        hidden = site.rpartition(".")[2] == "hidden"
        return min(largest, shift.LARGEST_GELU_INPUT / integer.INT8_LARGEST) if hidden else largest

    @property
    def keys(self) -> int:
        """How many keys a query sees at most."""
        if isinstance(self.model, VisionTransformer):
            return self.model.config.tokens
        return cast("GPT", self.model).context

    def shiftmax_constants(self, layer: Layer) -> shift.Shiftmax:
        query, key, value, scores, context = (
            self.scale(f"{layer.name}.{name}") for name in ("query", "key", "value", "scores", "context")
        )
        sizes = layer.projection.in_features // self.parts.heads, self.keys
        return shift.shiftmax_constants(query, key, value, scores, context, *sizes, f"{layer.name}.attention")

    def gelu_constants(self, name: str) -> shift.Gelu:
        return shift.gelu_constants(self.scale(f"{name}.hidden"), self.scale(f"{name}.gelu"), f"{name}.gelu")

    def i_norm_constants(self, norm: nn.LayerNorm, site: str) -> shift.Norm:
        return shift.norm_constants(norm.weight, norm.bias, self.scale(site))

    def context_scale(self, layer: Layer) -> float:
        return self.scale(f"{layer.name}.context")

    def _context(self, layer: Layer, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        constants = self.shiftmax_constants(layer)
        return shift.shiftmax_attention(query, key, value, self.parts.heads, self.parts.causal, constants)

    def _activated(self, hidden: Tensor, name: str) -> Tensor:
        scales = self.scale(f"{name}.hidden"), self.scale(f"{name}.gelu")
        return shift.shift_gelu(hidden, self.gelu_constants(name), *scales)

    def _norm(self, norm: nn.LayerNorm, site: str, x: Tensor) -> Tensor:
        scales = self.scale(STREAM), self.scale(site)
        return shift.i_layer_norm(x, norm.weight, norm.bias, self.i_norm_constants(norm, site), norm.eps, *scales)


def integer_transformer(model: nn.Module, functions: Functions = "exact") -> IntegerTransformer:
    """`model` in integers, to be calibrated, with the exact functions or I-ViT's."""
    return IVitTransformer(model) if functions == "i-vit" else IntegerTransformer(model)
