"""Size and FLOPs of a BERT of any shape and quantisation, as BMT's Table 4 and the papers before it count them.

Sizes printed as MB are MiB. A product of m bits by n bits counts as m n / 64 of a float operation, a multiplication and
its addition as two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.recipes.bert_config import BertConfig, QuantisationConfig

PUBLISHED_PARTS = ("word embedding", "encoder weights", "pooler weights", "biases", "layer norms", "column scales")
"""What the printed sizes of binary models count."""
FLOAT_TABLES = ("position embedding", "token type embedding")
"""Counted in the printed sizes of BERT and TernaryBERT, evidently not in those of the binary models."""


@dataclass(frozen=True)
class SizePart:
    """Values of one kind, all of the same width."""

    name: str
    values: int
    bits: int

    @property
    def mib(self) -> float:
        return self.values * self.bits / 8 / 2**20


def size_parts(config: BertConfig, biases_per_copy: bool = False) -> tuple[SizePart, ...]:
    """Everything that a file of the model holds, without the classifier; kinds that a model lacks have 0 values.

    BinaryBERT keeps a bias in each copy (`biases_per_copy`); ours are merged into one.
    """
    quantisation, copies = config.quantisation, config.quantisation.copies
    outputs = 3 * config.attention_width + config.width + config.intermediate + config.width
    all_outputs = config.layers * outputs + config.width  # with the pooler's
    inputs = 2 * config.width + config.attention_width + config.intermediate  # Q, K and V share theirs
    quantised_activations, quantised_weights = quantisation.activation_bits < 32, quantisation.weight_bits < 32
    quantised_embedding = quantisation.embedding_bits < 32
    weights = {
        "word embedding": (copies * config.vocabulary * config.width, quantisation.embedding_bits),
        "encoder weights": (copies * config.layers * encoder_weights(config), quantisation.weight_bits),
        "pooler weights": (copies * config.width**2, quantisation.weight_bits),
    }
    floats = {
        "biases": all_outputs * (copies if biases_per_copy else 1),
        "layer norms": 2 * config.width * (2 * config.layers + 1),
        "column scales": copies * all_outputs * quantisation.wtws,
        "position embedding": config.positions * config.width,
        "token type embedding": config.token_types * config.width,
        "row scales": copies * config.vocabulary * quantised_embedding,
        "weight scales": copies * (6 * config.layers + 1) * quantised_weights,
        "quantiser steps": (8 * config.layers + 1) * quantised_activations,
        "quantiser biases": (config.layers * inputs + config.width) * (quantisation.elastic and quantised_activations),
    }
    parts = [SizePart(name, values, bits) for name, (values, bits) in weights.items()]
    return (*parts, *(SizePart(name, values, 32) for name, values in floats.items()))


def size_mib(config: BertConfig) -> float:
    """Size of the model's file, all parts counted."""
    return sum(part.mib for part in size_parts(config))


def published_size_mib(config: BertConfig, float_tables: bool = False) -> float:
    """Size as the papers count it: biases in both copies; scales of weights and what quantisers learn left out."""
    counted = PUBLISHED_PARTS + FLOAT_TABLES * float_tables
    return sum(part.mib for part in size_parts(config, biases_per_copy=True) if part.name in counted)


@dataclass(frozen=True)
class Flops:
    """Float operations that inference of one sequence is worth."""

    linear: float
    attention: float

    @property
    def total(self) -> float:
        return self.linear + self.attention


def flops(config: BertConfig, tokens: int = 128) -> Flops:
    """Operations of the encoder's linear layers and of its two attention products, in floats' worth."""
    quantisation = config.quantisation
    linear_macs = quantisation.copies * config.layers * tokens * encoder_weights(config)
    attention_macs = 2 * config.layers * tokens**2 * config.attention_width
    activation_bits = quantisation.activation_bits
    return Flops(
        linear=2 * linear_macs * product_worth(quantisation.weight_bits, activation_bits),
        attention=2 * attention_macs * product_worth(activation_bits, activation_bits),
    )


def product_worth(bits: int, other_bits: int) -> float:
    """What a product of two operands counts against one of two floats."""
    return 1.0 if 32 in (bits, other_bits) else bits * other_bits / 64


def encoder_weights(config: BertConfig) -> int:
    """Weights of one layer's six linear layers, one copy."""
    return 2 * config.width * (2 * config.attention_width + config.intermediate)


def bert_base(half_width: bool = False, **quantisation: object) -> BertConfig:
    """BERT-base, or DynaBERT's half width of it (6 heads, 1,536 neurons), with a quantisation."""
    shape: dict[str, Any] = {"heads": 6, "intermediate": 1536} if half_width else {}
    return BertConfig(**shape, quantisation=QuantisationConfig.model_validate(quantisation))
