"""What the frozen BERT computes, in PyTorch operations: the accuracy of the hardware on any device.

Every step rounds as `frozen/spec.md`, section "BERT", says; here sentences stay padded. The two know nothing of
each other, so that tests can compare them bit for bit.

Shapes in comments: B sequences, T positions, D residual width, H heads, W width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.models.bert import Attention, Bert, Embeddings, FeedForward
from lutra.nn.binary_linear import LatentWeight, PackedWeight, QuantisedEmbedding, QuantisedLinear
from lutra.nn.quantizers import SMALLEST_STEP, ActivationQuantiser, unpack_codes

BINARY16 = torch.float16
Quantiser = ActivationQuantiser | nn.Identity
"""As a BERT has them; the identity where activations stay float."""


@torch.no_grad()
def binary16_logits(model: Bert, tokens: Tensor, token_types: Tensor, mask: Tensor) -> Tensor:
    """Logits (B, outputs) in float16: tokens, types and mask are int64 (B, T), `mask` 1 for tokens and 0 for padding.

    Raises:
        InputError: weights or activations are not in few bits.
    """
    if model.config.quantisation.weight_bits > 2 or model.config.quantisation.activation_bits > 8:
        raise InputError(f"method {model.config.quantisation.method} has no form in binary16")
    x = _embed(model.embeddings, tokens, token_types)
    for layer in model.layers:
        x = _attention(layer.attention, x, mask == 0, model.config.positions)
        x = _feed_forward(layer.feed_forward, x, model.config.activation)
    pooled = _linear(model.pooler, _codes(model.pooler_quantiser, x[:, 0]), model.pooler_quantiser)
    pooled = _rounded(torch.tanh(pooled.double()))
    weight, bias = (_rounded(tensor.double()).double() for tensor in model.classifier.parameters())
    units = torch.floor(pooled.double()[:, None] * weight * 2**24 + 0.5).sum(dim=2)
    return _rounded(units / 2**24 + bias)


def _embed(embeddings: Embeddings, tokens: Tensor, token_types: Tensor) -> Tensor:
    words = torch.zeros((), dtype=BINARY16, device=tokens.device)
    assert isinstance(embeddings.word, QuantisedEmbedding)
    for weight in embeddings.word.weights:
        integers, scale = _integers(weight)
        words = words + integers[tokens].to(BINARY16) * _rounded(scale[:, 0])[tokens][..., None]
    position = _rounded(embeddings.position.weight)[: tokens.shape[1]]
    return _norm(embeddings.norm, words + position + _rounded(embeddings.token_type.weight)[token_types])


def _attention(module: Attention, x: Tensor, padding: Tensor, positions: int) -> Tensor:
    codes = _codes(module.input_quantiser, x)
    q, k, v = (
        _codes(quantiser, _linear(layer, codes, module.input_quantiser))
        .unflatten(2, (module.heads, module.head_width))
        .transpose(1, 2)  # (B, H, T, W)
        for layer, quantiser in (
            (module.query, module.query_quantiser),
            (module.key, module.key_quantiser),
            (module.value, module.value_quantiser),
        )
    )
    of_q, of_k, of_v, of_p = (
        _step(quantiser)
        for quantiser in (
            module.query_quantiser,
            module.key_quantiser,
            module.value_quantiser,
            module.probability_quantiser,
        )
    )
    magnitude = -_in_few_bits(module.query_quantiser).low
    scores = _scaled(
        q @ k.transpose(2, 3), of_q * of_k / math.sqrt(module.head_width), module.head_width * magnitude**2
    )
    scores = scores.masked_fill(padding[:, None, None, :], -torch.inf)
    exponentials = _rounded(torch.exp((scores - scores.amax(dim=3, keepdim=True)).double()))
    sums = _rounded(exponentials.double().sum(dim=3, keepdim=True))
    p = _codes(module.probability_quantiser, exponentials * (1 / sums))  # (B, H, T, T)
    context = _scaled(p @ v, of_p * of_v, positions * _in_few_bits(module.probability_quantiser).high * magnitude)
    codes = _codes(module.output_quantiser, context.transpose(1, 2).flatten(2))
    return _norm(module.norm, x + _linear(module.output, codes, module.output_quantiser))


def _feed_forward(module: FeedForward, x: Tensor, activation: str) -> Tensor:
    hidden = _linear(module.intermediate, _codes(module.input_quantiser, x), module.input_quantiser)
    if activation == "relu":
        hidden = torch.relu(hidden)
    else:
        wide = hidden.double()
        hidden = _rounded(wide / 2 * torch.special.erfc(-wide / math.sqrt(2)))
    codes = _codes(module.hidden_quantiser, hidden)
    return _norm(module.norm, x + _linear(module.output, codes, module.hidden_quantiser))


def _linear(layer: nn.Linear | QuantisedLinear, codes: Tensor, quantiser: Quantiser) -> Tensor:
    assert isinstance(layer, QuantisedLinear)
    y = _rounded(layer.bias)
    for copy, weight in enumerate(layer.weights):
        integers, scale = _integers(weight)
        factor = _step(quantiser) * scale[0]
        if layer.column_scales is not None:
            factor = factor * layer.column_scales[copy].double()
        largest = max(-_in_few_bits(quantiser).low, _in_few_bits(quantiser).high) * integers.shape[1]
        y = y + _scaled(codes @ integers.T, factor, largest)
    return y


def _codes(module: Quantiser, x: Tensor) -> Tensor:
    """Integers of the activation, in float64."""
    quantiser = _in_few_bits(module)
    shifted = x if quantiser.bias is None else x + _rounded(quantiser.bias)
    if quantiser.signed and quantiser.bits == 1:
        return torch.where(shifted >= 0, 1.0, -1.0).double()
    scaled = shifted * _rounded(1 / _step(quantiser))
    return torch.floor(scaled.double() + 0.5).clamp(quantiser.low, quantiser.high)


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    width = x.shape[-1]
    centred = x - _rounded(x.double().sum(dim=-1, keepdim=True) / width)
    units = torch.floor(centred.double().square() * 2**20 + 0.5).sum(dim=-1, keepdim=True)
    units = units + math.floor(norm.eps * width * 2**20 + 0.5)
    variance = _rounded(units / (width * 2**20)).double().clamp_min(2.0**-24)
    return centred * _rounded(1 / variance.sqrt()) * _rounded(norm.weight) + _rounded(norm.bias)


def _scaled(sums: Tensor, factor: Tensor, largest: int) -> Tensor:
    """Integer sums in binary16 times a factor; both move by a power of two, so that the largest sum fits."""
    power = 1
    while largest > 65504 * power:
        power *= 2
    return _rounded(sums / power) * _rounded(factor * power)


def _in_few_bits(quantiser: Quantiser) -> ActivationQuantiser:
    assert isinstance(quantiser, ActivationQuantiser)  # binary16_logits has refused the others
    return quantiser


def _step(quantiser: Quantiser) -> Tensor:
    return _in_few_bits(quantiser).step.double().clamp_min(SMALLEST_STEP)


def _integers(weight: LatentWeight | PackedWeight) -> tuple[Tensor, Tensor]:
    """Quantised weights (rows, columns) and their scales (rows or 1, 1), in float64."""
    if isinstance(weight, LatentWeight):
        codes = weight.codes()
        return codes.integers.double(), codes.scale.double()
    return unpack_codes(weight.packed, weight.bits, weight.shape[1]).double(), weight.scale.double()


def _rounded(x: Tensor) -> Tensor:
    """The nearest binary16 number, ties to even; torch's own conversion from float64 rounds twice, through float32."""
    wide = x.double()
    exponent = torch.frexp(wide).exponent.clamp_min(-13)  # below lie the subnormal numbers, multiples of 2^-24
    unit = torch.ldexp(torch.ones_like(wide), exponent - 11)
    return (torch.round(wide / unit) * unit).to(BINARY16)
