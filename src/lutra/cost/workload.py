"""Parameters and multiply-accumulates (MACs) of every part of a transformer (QuWeiT section 2.3, Table 1, Fig. 1).

Attention is counted in full (causal masks are not halved). Normalisations, softmax and activations have no MACs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lutra.errors import InputError

Group = Literal["embedding", "attention", "mlp", "norm", "head"]
ENCODER: tuple[Group, ...] = ("attention", "mlp")
"""The groups that Table 1 of QuWeiT counts."""


@dataclass(frozen=True)
class TransformerShape:
    """The dimensions of a transformer that decide its parameters and its work.

    `tokens` is the sequence length of one inference. A vision transformer has `patches` > 0 and evaluates its head for
    one token; a language model has `vocabulary` > 0. Lengths of embedding tables default to 0, that is, absent.
    """

    name: str
    layers: int
    width: int
    heads: int
    tokens: int
    hidden: int
    gated: bool = False
    """The MLP has a gate matrix beside its first matrix (Llama)."""
    kv_heads: int | None = None
    """Heads of keys and values when they are shared (grouped queries); None: `heads`."""
    head_width: int | None = None
    """None: width / heads."""
    qkv_bias: bool = True
    projection_bias: bool = True
    mlp_bias: bool = True
    norm_vectors: int = 2
    """Parameter vectors of one normalisation: 2 for LayerNorm, 1 without bias or for RMSNorm."""
    head_norms: int = 0
    """Normalisations of single heads in a layer, one vector each (Qwen3: queries and keys)."""
    norms_outside: int = 1
    """Normalisations outside the layers."""
    vocabulary: int = 0
    position_embeddings: int = 0
    token_types: int = 0
    patches: int = 0
    patch_inputs: int = 0
    """Numbers in one patch: channels * patch size squared."""
    special_tokens: int = 0
    """Learned tokens beside the patches: the class token, the distillation token."""
    pooler: bool = False
    classes: int = 0
    """Width of the head; 0: no head."""
    head_tied: bool = False
    """The head shares the token embedding's matrix."""
    head_bias: bool = True
    head_tokens: int = 1
    """Tokens of a sequence for which the head is evaluated."""

    def __post_init__(self) -> None:
        sizes = (self.layers, self.width, self.heads, self.tokens, self.hidden)
        if min(sizes) < 1:
            raise InputError(f"{self.name}: layers, width, heads, tokens and hidden must be positive, got {sizes}")
        if self.head_width is None and self.width % self.heads:
            raise InputError(f"{self.name}: width {self.width} must be a multiple of heads {self.heads}")
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise InputError(f"{self.name}: heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")

    @property
    def width_of_head(self) -> int:
        return self.head_width or self.width // self.heads

    @property
    def query_width(self) -> int:
        return self.heads * self.width_of_head

    @property
    def kv_width(self) -> int:
        return (self.kv_heads or self.heads) * self.width_of_head


@dataclass(frozen=True)
class Part:
    """One part of a model, summed over all layers.

    `weights` counts elements of matrices, `parameters` also biases and vectors.
    """

    name: str
    group: Group
    weights: int
    parameters: int
    macs_per_sequence: int


@dataclass(frozen=True)
class Workload:
    """The parts of one model."""

    shape: TransformerShape
    parts: tuple[Part, ...]

    def __getitem__(self, name: str) -> Part:
        for part in self.parts:
            if part.name == name:
                return part
        raise InputError(f"{self.shape.name}: no part {name}; there are {', '.join(part.name for part in self.parts)}")

    def weights(self, groups: Iterable[Group] | None = None) -> int:
        """Matrix elements of the given groups (all by default)."""
        return sum(part.weights for part in self._of(groups))

    def parameters(self, groups: Iterable[Group] | None = None) -> int:
        """Parameters, biases included, of the given groups (all by default)."""
        return sum(part.parameters for part in self._of(groups))

    def macs_per_sequence(self, groups: Iterable[Group] | None = None) -> int:
        """MACs per sequence of the given groups (all by default)."""
        return sum(part.macs_per_sequence for part in self._of(groups))

    def mlp_share_of_macs(self, groups: Iterable[Group] | None = None) -> float:
        """MACs of the MLPs over those of `groups` (all by default; `ENCODER` as in Table 1)."""
        return self.macs_per_sequence(("mlp",)) / self.macs_per_sequence(groups)

    def mlp_share_of_parameters(self, groups: Iterable[Group] | None = None) -> float:
        """Parameters of the MLPs over those of `groups` (all by default)."""
        return self.parameters(("mlp",)) / self.parameters(groups)

    def mlp_share_of_weights(self, groups: Iterable[Group] = ENCODER) -> float:
        """Matrix elements of the MLPs over those of `groups` (the layers by default)."""
        return self.weights(("mlp",)) / self.weights(groups)

    def _of(self, groups: Iterable[Group] | None) -> list[Part]:
        wanted = None if groups is None else set(groups)
        return [part for part in self.parts if wanted is None or part.group in wanted]


def workload(shape: TransformerShape) -> Workload:
    """Count every part of a model of `shape`."""
    return Workload(shape, (*_embeddings(shape), *_layers(shape), *_outside(shape)))


def _embeddings(shape: TransformerShape) -> list[Part]:
    width = shape.width
    parts = []
    for name, rows in (
        ("token embedding", shape.vocabulary),
        ("position embedding", shape.position_embeddings),
        ("token type embedding", shape.token_types),
        ("special tokens", shape.special_tokens),
    ):
        if rows:
            parts.append(Part(name, "embedding", rows * width, rows * width, 0))
    if shape.patches:
        weights = shape.patch_inputs * width
        parts.append(Part("patch embedding", "embedding", weights, weights + width, shape.patches * weights))
    return parts


def _layers(shape: TransformerShape) -> list[Part]:
    layers, tokens, width = shape.layers, shape.tokens, shape.width
    qkv_width = shape.query_width + 2 * shape.kv_width
    scores = layers * tokens**2 * shape.query_width
    first_width = shape.hidden * (2 if shape.gated else 1)

    def linear(name: str, group: Group, inputs: int, outputs: int, bias: bool) -> Part:
        weights = layers * inputs * outputs
        return Part(name, group, weights, weights + layers * outputs * bias, tokens * weights)

    return [
        linear("QKV", "attention", width, qkv_width, shape.qkv_bias),
        Part("QK^T", "attention", 0, 0, scores),
        Part("softmax V", "attention", 0, 0, scores),
        linear("projection", "attention", shape.query_width, width, shape.projection_bias),
        linear("MLP 1", "mlp", width, first_width, shape.mlp_bias),
        linear("MLP 2", "mlp", shape.hidden, width, shape.mlp_bias),
        Part("layer norms", "norm", 0, layers * _norm_parameters(shape), 0),
    ]


def _norm_parameters(shape: TransformerShape) -> int:
    """Of one layer."""
    return 2 * shape.norm_vectors * shape.width + shape.head_norms * shape.width_of_head


def _outside(shape: TransformerShape) -> list[Part]:
    width = shape.width
    parts = []
    if shape.norms_outside:
        parts.append(Part("other norms", "norm", 0, shape.norms_outside * shape.norm_vectors * width, 0))
    if shape.pooler:
        parts.append(Part("pooler", "head", width**2, width**2 + width, width**2))
    if shape.classes:
        work = shape.classes * width
        weights = 0 if shape.head_tied else work
        bias = shape.classes if shape.head_bias else 0
        parts.append(Part("head", "head", weights, weights + bias, shape.head_tokens * work))
    return parts
