"""A decoder-only transformer in nanoGPT's shapes, with an MLP, a weightless block, or nothing after the attention.

Parameter names and shapes are nanoGPT's (karpathy/nanoGPT), so that its checkpoints load with `strict=True` where
ffn = "mlp". Shapes in comments: B sequences, T positions, D width, H heads, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.errors import InputError
from lutra.kernels.attention import attention
from lutra.nn.binary_linear import LatentWeight, QuantisedLinear
from lutra.nn.dropout import Dropout
from lutra.nn.modules import ModuleList
from lutra.nn.quantizers import ActivationQuantiser
from lutra.nn.weightless import WeightlessBlock
from lutra.recipes.language import BinaryAttentionConfig, BlockConfig, ModelConfig


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a position sees itself and what came before: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.c_attn = _linear(config.width, 3 * config.width, config.bias)
        self.c_proj = _linear(config.width, config.width, config.bias, _residual_std(config))

    def forward(self, x: Tensor) -> Tensor:
        p = self.dropout if self.training else 0.0
        projected: Tensor = self.c_proj(attention(self.c_attn(x), self.heads, p, causal=True))
        return projected


class BinaryCausalSelfAttention(nn.Module):
    """The same with 1-bit weights and few-bit activations, as BMT has them in BERT: (B, T, D) -> (B, T, D).

    Every product is of quantised values: Q, K and V share the quantiser of their input; Q, K, V, the probabilities and
    the context have one each. The linear layers have biases whatever `config.bias` says, because a quantiser's learned
    bias shifts what they see.
    """

    def __init__(self, config: ModelConfig, binary: BinaryAttentionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.input_quantiser = ActivationQuantiser(binary.activation_bits, True, config.width)
        self.query, self.key, self.value = (_binary_linear(config, binary, 0.02) for _ in range(3))
        self.query_quantiser, self.key_quantiser, self.value_quantiser = (
            ActivationQuantiser(binary.activation_bits, True) for _ in range(3)
        )
        self.probability_quantiser = ActivationQuantiser(binary.activation_bits, False)
        self.context_quantiser = ActivationQuantiser(binary.activation_bits, True, config.width)
        self.output = _binary_linear(config, binary, _residual_std(config))
        self.dropout = Dropout(config.dropout)
        future = torch.ones(config.context, config.context, dtype=torch.bool).triu(1)
        self.future: Tensor
        self.register_buffer("future", future, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        x = self.input_quantiser(x)
        q = self.query_quantiser(self._split_heads(self.query(x)))  # (B, H, T, D/H)
        k = self.key_quantiser(self._split_heads(self.key(x)))
        v = self.value_quantiser(self._split_heads(self.value(x)))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])  # (B, H, T, T)
        scores = scores.masked_fill(self.future[:length, :length], -math.inf)
        probabilities = self.probability_quantiser(self.dropout(scores.softmax(dim=3)))
        context = (probabilities @ v).transpose(1, 2).flatten(2)  # (B, T, D)
        projected: Tensor = self.output(self.context_quantiser(context))
        return projected

    def _split_heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return heads


class MLP(nn.Module):
    """The dense baseline of the weightless block: (..., D) -> (..., 4D) -> (..., D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = _linear(config.width, 4 * config.width, config.bias)
        self.c_proj = _linear(4 * config.width, config.width, config.bias, _residual_std(config))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return y


class Block(nn.Module):
    """One pre-norm layer; ffn = "none" has neither the second residual branch nor its norm."""

    def __init__(self, config: ModelConfig, weightless: BlockConfig, seed: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, bias=config.bias)
        binary = config.binary_attention
        self.attn = BinaryCausalSelfAttention(config, binary) if binary else CausalSelfAttention(config)
        self.mlp: MLP | WeightlessBlock | None = None
        if config.ffn != "none":
            self.ln_2 = nn.LayerNorm(config.width, bias=config.bias)
            self.mlp = MLP(config) if config.ffn == "mlp" else WeightlessBlock(config.width, weightless, seed)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x)))
        if self.mlp is not None:
            x = x + self.dropout(self.mlp(self.ln_2(x)))
        return x


class Transformer(nn.ModuleDict):
    """Everything before the head, under nanoGPT's names."""

    wte: nn.Embedding
    wpe: nn.Embedding
    drop: nn.Dropout
    h: ModuleList[Block]
    ln_f: nn.LayerNorm


class GPT(nn.Module):
    """Tokens to logits of the next token: (B, T) int64 -> (B, T, V), T up to `config.context`.

    Every random draw of the initialisation comes from `seed`; the global generator is left as it was.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, weightless: BlockConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Different for every (seed, layer), so that no two blocks of any two seeds are wired alike.
            block_seeds = [seed * config.layers + layer for layer in range(config.layers)]
            self.transformer = Transformer(
                {
                    "wte": _embedding(vocabulary_size, config.width),
                    "wpe": _embedding(config.context, config.width),
                    "drop": Dropout(config.dropout),
                    "h": ModuleList(Block(config, weightless, block_seed) for block_seed in block_seeds),
                    "ln_f": nn.LayerNorm(config.width, bias=config.bias),
                }
            )
            self.lm_head = nn.Linear(config.width, vocabulary_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length > self.config.context:
            raise InputError(f"{length} tokens are more than the model's context of {self.config.context}")
        positions = torch.arange(length, device=tokens.device)
        x = self.transformer.drop(self.transformer.wte(tokens) + self.transformer.wpe(positions))  # (B, T, D)
        for block in self.transformer.h:
            x = block(x)
        logits: Tensor = self.lm_head(self.transformer.ln_f(x))  # (B, T, V)
        return logits

    @property
    def context(self) -> int:
        """How many tokens a sequence can have."""
        return self.config.context

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """`load_state_dict` with strict names and shapes, for a dictionary with or without the tied `lm_head.weight`.

        Raises:
            RuntimeError: a tensor is missing, unexpected, or of another shape.
        """
        self.load_state_dict({"lm_head.weight": weights.get("transformer.wte.weight"), **weights})

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; the tied `lm_head.weight` is left out."""
        state: dict[str, Any] = self.state_dict()
        return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Append `max_new_tokens` sampled tokens to `tokens`: (B, T) -> (B, T + max_new_tokens).

        Temperature 0 always takes the most likely token; `top_k` samples only among the k most likely ones. Dropout
        acts if the model is in training mode: call `eval()` first.

        Raises:
            InputError: no token to start from, a negative temperature, or top_k below 1.
        """
        check_sampling(tokens, temperature, top_k)
        for _ in range(max_new_tokens):
            logits = self(tokens[:, -self.config.context :])[:, -1]  # (B, V)
            tokens = torch.cat([tokens, sample(logits, temperature, top_k, generator)], dim=1)
        return tokens


def check_sampling(tokens: Tensor, temperature: float, top_k: int | None) -> None:
    """Raise InputError for no token to start from, a negative temperature, or top_k below 1."""
    if tokens.shape[1] == 0:
        raise InputError("generation needs at least one token to start from")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature must be a number from 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k must be at least 1, got {top_k}")


def sample(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """One token per row of logits: (B, V) -> (B, 1)."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    if top_k is not None:
        smallest_kept = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < smallest_kept, -math.inf)
    # Shifted first, so that a tiny temperature gives -inf and 0 instead of inf - inf.
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    return torch.multinomial(F.softmax(shifted / temperature, dim=-1), 1, generator=generator)


def _linear(inputs: int, outputs: int, bias: bool, std: float = 0.02) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _binary_linear(config: ModelConfig, binary: BinaryAttentionConfig, std: float) -> QuantisedLinear:
    weights = [LatentWeight(std * torch.randn(config.width, config.width), bits=1) for _ in range(binary.copies)]
    return QuantisedLinear(weights, torch.zeros(config.width), wtws=binary.column_scales)


def _embedding(count: int, width: int) -> nn.Embedding:
    table = nn.Embedding(count, width)
    nn.init.normal_(table.weight, std=0.02)
    return table


def _residual_std(config: ModelConfig) -> float:
    """GPT-2's start of what is added to the residual stream: smaller the more layers add to it."""
    return 0.02 / math.sqrt(2 * config.layers)
