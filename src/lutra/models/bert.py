"""BERT for sentence classification, in float or with quantised weights and activations (BMT sections 2 and 3).

A quantised layer stands where the float one stood; `requantised` moves trained weights from one form to another. All
quantisers of activations are written out where they act: one for each input of linear layers (Q, K and V share theirs),
one each for Q, K, V and the attention probabilities. Float stay the position and token type embeddings, the layer
norms, all biases and the classifier.

Shapes in comments: B sequences, T positions, D residual width, H heads, W width of a head, C outputs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.nn.binary_linear import LatentWeight, QuantisedEmbedding, QuantisedLinear
from lutra.nn.dropout import Dropout
from lutra.nn.modules import ModuleList
from lutra.nn.quantizers import ActivationQuantiser
from lutra.recipes.bert_config import BertConfig

SHAPE_FIELDS = ("layers", "heads", "head_width", "width", "intermediate", "vocabulary", "positions", "token_types")
"""What two configurations must share for weights to move from one to the other, besides `outputs`."""


class BertOutput(NamedTuple):
    """Everything that a task or a student needs."""

    logits: Tensor  # (B, C)
    pooled: Tensor  # (B, D)
    hidden: list[Tensor]  # embedding output, then every layer's: layers + 1 of (B, T, D)
    scores: list[Tensor]  # attention before the softmax, lowest number where masked: layers of (B, H, T, T)


class Embeddings(nn.Module):
    """Sum of word, position and token type embeddings, normalised: (B, T) int64 -> (B, T, D)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word = _word_embedding(config)
        self.position = _embedding(config.positions, config.width)
        self.token_type = _embedding(config.token_types, config.width)
        self.norm = _norm(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, tokens: Tensor, token_types: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.word(tokens) + self.position(positions) + self.token_type(token_types)
        y: Tensor = self.dropout(self.norm(x))
        return y


class Attention(nn.Module):
    """Multi-head attention, residual and norm; returns (B, T, D) and the scores (B, H, T, T)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.head_width = config.heads, config.head_width
        self.input_quantiser = _quantiser(config, signed=True, features=config.width)
        self.query = _linear(config, config.width, config.attention_width)
        self.key = _linear(config, config.width, config.attention_width)
        self.value = _linear(config, config.width, config.attention_width)
        self.query_quantiser = _quantiser(config, signed=True)
        self.key_quantiser = _quantiser(config, signed=True)
        self.value_quantiser = _quantiser(config, signed=True)
        self.probability_quantiser = _quantiser(config, signed=False)
        self.output_quantiser = _quantiser(config, signed=True, features=config.attention_width)
        self.output = _linear(config, config.attention_width, config.width)
        self.dropout = Dropout(config.dropout)
        self.norm = _norm(config)

    def forward(self, x: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """`masked` (B, 1, 1, T) is true where a position is padding."""
        x_quantised = self.input_quantiser(x)
        q = self.query_quantiser(self._split_heads(self.query(x_quantised)))  # (B, H, T, W)
        k = self.key_quantiser(self._split_heads(self.key(x_quantised)))
        v = self.value_quantiser(self._split_heads(self.value(x_quantised)))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.head_width)  # (B, H, T, T)
        scores = scores.masked_fill(masked, torch.finfo(scores.dtype).min)
        probabilities = self.probability_quantiser(self.dropout(scores.softmax(dim=3)))
        context = (probabilities @ v).transpose(1, 2).flatten(2)  # (B, T, H * W)
        y = self.dropout(self.output(self.output_quantiser(context)))  # (B, T, D)
        return self.norm(x + y), scores

    def _split_heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (self.heads, self.head_width))
        return heads.transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with an activation between, residual and norm: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.activation = F.relu if config.activation == "relu" else F.gelu
        self.input_quantiser = _quantiser(config, signed=True, features=config.width)
        self.intermediate = _linear(config, config.width, config.intermediate)
        # GELU has negative outputs, which an unsigned quantiser would lose.
        hidden_is_signed = config.activation == "gelu"
        self.hidden_quantiser = _quantiser(config, signed=hidden_is_signed, features=config.intermediate)
        self.output = _linear(config, config.intermediate, config.width)
        self.dropout = Dropout(config.dropout)
        self.norm = _norm(config)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.intermediate(self.input_quantiser(x)))  # (B, T, intermediate)
        y: Tensor = self.norm(x + self.dropout(self.output(self.hidden_quantiser(hidden))))
        return y


class Layer(nn.Module):
    """One post-norm encoder layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        x, scores = self.attention(x, masked)
        return self.feed_forward(x), scores


class Bert(nn.Module):
    """Tokens to logits: (B, T) int64 -> `BertOutput`. Every draw of the initialisation comes from `seed`.

    A model with few-bit activations must see one batch before use: it sets the quantisers' steps.
    """

    def __init__(self, config: BertConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embeddings = Embeddings(config)
            self.layers: ModuleList[Layer] = ModuleList(Layer(config) for _ in range(config.layers))
            self.pooler_quantiser = _quantiser(config, signed=True, features=config.width)
            self.pooler = _linear(config, config.width, config.width)
            self.dropout = Dropout(config.dropout)
            self.classifier = _float_linear(config.width, config.outputs)

    def forward(self, tokens: Tensor, token_types: Tensor | None = None, mask: Tensor | None = None) -> BertOutput:
        """`token_types` default to 0; `mask` (B, T) is 1 for tokens and 0 for padding, by default all 1.

        Raises:
            InputError: more tokens than the model has positions.
        """
        if tokens.shape[1] > self.config.positions:
            raise InputError(f"{tokens.shape[1]} tokens are more than the model's {self.config.positions} positions")
        token_types = torch.zeros_like(tokens) if token_types is None else token_types
        masked = torch.zeros_like(tokens, dtype=torch.bool) if mask is None else mask == 0
        hidden, scores = [self.embeddings(tokens, token_types)], []
        for layer in self.layers:
            x, layer_scores = layer(hidden[-1], masked[:, None, None, :])
            hidden.append(x)
            scores.append(layer_scores)
        pooled = torch.tanh(self.pooler(self.pooler_quantiser(hidden[-1][:, 0])))  # (B, D)
        return BertOutput(self.classifier(self.dropout(pooled)), pooled, hidden, scores)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that want a learning rate of their own and no weight decay: quantiser steps and WTWS scales."""
        modules = list(self.modules())
        scaled = [module.column_scales for module in modules if isinstance(module, QuantisedLinear)]
        return {
            "steps": [module.step for module in modules if isinstance(module, ActivationQuantiser)],
            "column_scales": [scales for scales in scaled if scales is not None],
        }


def requantised(model: Bert, config: BertConfig) -> Bert:
    """A new model of `config` with the weights of `model`, on its device.

    Quantisers go along where bits and activation stay the same; otherwise the first batch sets their steps anew.

    Raises:
        InputError: the shapes differ, or one of the two has weights in two copies (see lutra.train.split).
    """
    for field in (*SHAPE_FIELDS, "outputs"):
        if getattr(model.config, field) != getattr(config, field):
            raise InputError(f"{field} is {getattr(model.config, field)} in the model, {getattr(config, field)} wanted")
    if model.config.quantisation.copies != 1 or config.quantisation.copies != 1:
        method = config.quantisation.method
        raise InputError(f"weights in two copies come from splitting a ternary model, not from copying to {method}")
    target = Bert(config).to(next(model.parameters()))
    old, new = model.config, config
    quantisers_fit = (old.quantisation.activation_bits, old.activation) == (
        new.quantisation.activation_bits,
        new.activation,
    )
    weights = {_plain_name(name): tensor for name, tensor in model.state_dict().items()}
    load_weights(target, {name: weights[name] for name in weights if quantisers_fit or "quantiser." not in name})
    return target


def load_weights(model: Bert, weights: dict[str, Tensor]) -> None:
    """Fill an unsplit `model` with tensors under the names of the float model.

    Quantisers start anew where `weights` say nothing of them, and of theirs that `model` lacks nothing is kept.

    Raises:
        InputError: a tensor is missing or has another shape.
    """
    state = model.state_dict()
    for name, tensor in state.items():
        source = weights.get(_plain_name(name))
        if source is None:
            if "quantiser." in name:
                continue
            raise InputError(f"weight {_plain_name(name)} is missing")
        if source.shape != tensor.shape:
            raise InputError(f"weight {name} has shape {tuple(source.shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(source)


def _plain_name(name: str) -> str:
    """The name of a tensor in the float model."""
    return name.replace(".weights.0.latent", ".weight")


def _linear(config: BertConfig, inputs: int, outputs: int) -> nn.Linear | QuantisedLinear:
    quantisation = config.quantisation
    if quantisation.weight_bits == 32:
        return _float_linear(inputs, outputs)
    weights = [
        LatentWeight(_float_linear(inputs, outputs).weight.data, quantisation.weight_bits, False, quantisation.centred)
        for _ in range(quantisation.copies)
    ]
    return QuantisedLinear(weights, torch.zeros(outputs), quantisation.wtws)


def _word_embedding(config: BertConfig) -> nn.Embedding | QuantisedEmbedding:
    quantisation = config.quantisation
    if quantisation.embedding_bits == 32:
        return _embedding(config.vocabulary, config.width)
    tables = (_embedding(config.vocabulary, config.width).weight.data for _ in range(quantisation.copies))
    bits, centred = quantisation.embedding_bits, quantisation.centred
    return QuantisedEmbedding([LatentWeight(table, bits, per_row=True, centred=centred) for table in tables])


def _quantiser(config: BertConfig, signed: bool, features: int | None = None) -> ActivationQuantiser | nn.Identity:
    quantisation = config.quantisation
    if quantisation.activation_bits == 32:
        return nn.Identity()
    return ActivationQuantiser(quantisation.activation_bits, signed, features if quantisation.elastic else None)


def _float_linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def _embedding(count: int, width: int) -> nn.Embedding:
    table = nn.Embedding(count, width)
    nn.init.normal_(table.weight, std=0.02)
    return table


def _norm(config: BertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.width, eps=config.layer_norm_epsilon)
