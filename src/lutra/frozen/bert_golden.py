"""The meaning of a frozen BERT in NumPy (spec.md, "BERT"): one small function per operation.

Only real tokens are computed: rows (N, D) are the tokens of all sentences one after the other, and a sentence is a
range of rows. So a sentence's outputs do not depend on padding or on what else is in the batch.

Shapes in comments: N tokens, T of one sentence, D residual width, H heads, W width of a head, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lutra.errors import InputError, LutraError
from lutra.frozen import binary16
from lutra.frozen.bert import (
    FrozenBert,
    code_range,
    hidden_is_signed,
    largest_context_sum,
    largest_linear_sum,
    largest_score_sum,
    layout,
    unpack,
)
from lutra.frozen.binary16 import Binary16Array, ExactArray
from lutra.recipes.bert_config import BertConfig

SENTENCES_AT_ONCE = 32
"""Bounds the memory; weights are unpacked once for so many."""

Codes = ExactArray
"""Integers of a quantised activation, in a float type that BLAS sums exactly."""

Trace = Callable[[str, np.ndarray], None]
"""Sees every value inside a layer under its name, such as `layers.0.attention.query`; what is per head is (H, T, ...)
and comes once per sentence. The codes of a quantiser bear the quantiser's name."""


def _unseen(name: str, values: np.ndarray) -> None:
    """The trace that nobody looks at."""


def golden_logits(
    model: FrozenBert,
    tokens: np.ndarray,
    token_types: np.ndarray,
    mask: np.ndarray,
    trace: Trace = _unseen,
    noise: Binary16Array | None = None,
) -> Binary16Array:
    """Logits (B, C) of sentences, integers (B, T) each; `mask` is 1 for tokens and 0 for padding.

    `noise` (N, D) is added to the embeddings of all real tokens, one sentence after the other.

    Raises:
        InputError: shapes, tokens, types or masks that the model cannot take.
        LutraError: an activation leaves the range of a binary16.
    """
    check_input(model, tokens, token_types, mask, noise)
    logits = np.empty((len(tokens), model.config.outputs), np.float16)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found by _finite
        rows = 0  # of the sentences before
        for start in range(0, len(tokens), SENTENCES_AT_ONCE):
            some = slice(start, start + SENTENCES_AT_ONCE)
            x, sentences = embed(model, tokens[some], token_types[some], mask[some])
            if noise is not None:
                x = _seen("embeddings.noise", x + noise[rows : rows + len(x)], trace)
            rows += len(x)
            for index in range(model.config.layers):
                x = attention(model, f"layers.{index}.attention", x, sentences, trace)
                x = feed_forward(model, f"layers.{index}.feed_forward", x, trace)
            logits[some] = classify(model, x[[sentence.start for sentence in sentences]])
    return logits


def embed(
    model: FrozenBert, tokens: np.ndarray, token_types: np.ndarray, mask: np.ndarray
) -> tuple[Binary16Array, list[slice]]:
    """Rows (N, D) of all real tokens, and the rows of every sentence."""
    real = mask != 0
    words, types, positions = tokens[real], token_types[real], np.nonzero(real)[1]
    tensors, codes = model.tensors, layout(model.config)["embeddings.word.codes"]
    x = np.zeros((len(words), model.config.width), np.float16)
    for packed, scale in zip(tensors["embeddings.word.codes"], tensors["embeddings.word.scale"], strict=True):
        x = x + unpack(packed[words], codes.bits, codes.columns).astype(np.float16) * scale[words, None]
    x = x + tensors["embeddings.position"][positions] + tensors["embeddings.token_type"][types]
    ends = np.cumsum(real.sum(axis=1)).tolist()
    sentences = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    return layer_norm(model, "embeddings.norm", x), sentences


def attention(
    model: FrozenBert, name: str, x: Binary16Array, sentences: list[slice], trace: Trace = _unseen
) -> Binary16Array:
    """Multi-head attention, residual and norm: (N, D) -> (N, D)."""
    config, tensors = model.config, model.tensors
    codes = quantise(model, f"{name}.input_quantiser", x, signed=True, trace=trace)
    query, key, value = (
        quantise(
            model,
            f"{name}.{part}_quantiser",
            linear(model, f"{name}.{part}", codes, signed=True, trace=trace),
            signed=True,
            trace=trace,
        )
        .reshape(-1, config.heads, config.head_width)
        .transpose(1, 0, 2)  # (H, N, W)
        for part in ("query", "key", "value")
    )
    score_factor, context_factor = tensors[f"{name}.score_factor"], tensors[f"{name}.context_factor"]
    context = np.empty((len(x), config.attention_width), np.float16)
    for rows in sentences:
        sums = _product(query[:, rows], key[:, rows].transpose(0, 2, 1), largest_score_sum(config))  # (H, T, T)
        scores = _seen(f"{name}.scores", sums * score_factor, trace)
        probabilities = _seen(f"{name}.probabilities", softmax(scores), trace)
        weights = quantise(model, f"{name}.probability_quantiser", probabilities, signed=False, trace=trace)
        sums = _product(weights, value[:, rows], largest_context_sum(config))  # (H, T, W)
        contexts = _seen(f"{name}.contexts", sums * context_factor, trace)
        context[rows] = contexts.transpose(1, 0, 2).reshape(-1, config.attention_width)
    codes = quantise(model, f"{name}.output_quantiser", context, signed=True, trace=trace)
    y = linear(model, f"{name}.output", codes, signed=True, trace=trace)
    return layer_norm(model, f"{name}.norm", _seen(f"{name}.residual", x + y, trace), trace)


def feed_forward(model: FrozenBert, name: str, x: Binary16Array, trace: Trace = _unseen) -> Binary16Array:
    """Two linear layers with an activation between, residual and norm: (N, D) -> (N, D)."""
    codes = quantise(model, f"{name}.input_quantiser", x, signed=True, trace=trace)
    hidden = linear(model, f"{name}.intermediate", codes, signed=True, trace=trace)  # (N, intermediate)
    hidden = binary16.gelu(hidden) if model.config.activation == "gelu" else np.where(hidden > 0, hidden, np.float16(0))
    trace(f"{name}.hidden", hidden)
    signed = hidden_is_signed(model.config)
    codes = quantise(model, f"{name}.hidden_quantiser", hidden, signed, trace)
    y = linear(model, f"{name}.output", codes, signed, trace)
    return layer_norm(model, f"{name}.norm", _seen(f"{name}.residual", x + y, trace), trace)


def classify(model: FrozenBert, x: Binary16Array) -> Binary16Array:
    """Pooler and classifier on the first token of every sentence: (B, D) -> (B, C)."""
    return classify_pooled(
        model, linear(model, "pooler", quantise(model, "pooler_quantiser", x, signed=True), signed=True)
    )


def classify_pooled(model: FrozenBert, y: Binary16Array) -> Binary16Array:
    """The pooler's tanh, and the classifier: (B, D) -> (B, C)."""
    pooled = binary16.tanh(y).astype(np.float64)
    weight = model.tensors["classifier.weight"].astype(np.float64)
    products = binary16.on_grid(pooled[:, None] * weight, binary16.SUM_BITS)  # (B, C, D)
    sums = products.sum(axis=2) * 2.0**-binary16.SUM_BITS + model.tensors["classifier.bias"]
    return _finite(sums.astype(np.float16), "classifier")


def quantise(model: FrozenBert, name: str, x: Binary16Array, signed: bool, trace: Trace = _unseen) -> Codes:
    """(..., features) -> codes: binary16 addition of the bias, product with 1 / step, round half up, clip."""
    bias, inverse_step = model.tensors.get(f"{name}.bias"), model.tensors[f"{name}.inverse_step"]
    codes = codes_of(model.config, _finite(x if bias is None else x + bias, name), inverse_step, signed)
    trace(name, codes)
    return codes


def codes_of(config: BertConfig, shifted: Binary16Array, inverse_step: Binary16Array, signed: bool) -> Codes:
    """Codes of numbers that have the quantiser's bias in them."""
    low, high = code_range(config, signed)
    if signed and config.quantisation.activation_bits == 1:
        return np.where(shifted >= 0, np.float32(1), np.float32(-1))
    with np.errstate(over="ignore"):  # a product beyond the range of binary16 is clipped like any other large one
        scaled = (shifted * inverse_step).astype(np.float32)
    rounded: Codes = np.floor(scaled + np.float32(0.5))  # binary16 plus 0.5 is exact in float32
    return rounded.clip(low, high)


def linear(model: FrozenBert, name: str, codes: Codes, signed: bool, trace: Trace = _unseen) -> Binary16Array:
    """(N, inputs) -> (N, outputs): exact sums, then one multiply-add per copy of the weights, rounded twice."""
    weights, tensors = layout(model.config)[f"{name}.codes"], model.tensors
    largest = largest_linear_sum(model.config, weights.columns, signed)
    y: Binary16Array = np.broadcast_to(tensors[f"{name}.bias"], (len(codes), weights.shape[1]))
    for packed, factor in zip(tensors[f"{name}.codes"], tensors[f"{name}.factor"], strict=True):
        y = y + _product(codes, unpack(packed, weights.bits, weights.columns).T, largest) * factor
    return _seen(name, y, trace)


def softmax(scores: Binary16Array) -> Binary16Array:
    """Over the last axis; the sum of the exponentials is exact."""
    exponentials = binary16.exp(scores - scores.astype(np.float32).max(axis=-1, keepdims=True).astype(np.float16))
    sums = exponentials.sum(axis=-1, keepdims=True, dtype=np.float64).astype(np.float16)
    probabilities: Binary16Array = exponentials * (np.float16(1) / _finite(sums, "softmax"))
    return probabilities


def layer_norm(model: FrozenBert, name: str, x: Binary16Array, trace: Trace = _unseen) -> Binary16Array:
    """(N, D) -> (N, D); sums of elements and of squares are fixed-point numbers, so their order is free."""
    width = model.config.width
    mean = _finite(x, name).sum(axis=1, keepdims=True, dtype=np.float64) / width + 0.0  # a zero sum is +0
    centred = _finite(x - mean.astype(np.float16), name)
    squares = binary16.on_grid(np.square(centred, dtype=np.float64), binary16.SQUARE_BITS).sum(axis=1, keepdims=True)
    variance = _finite(
        ((squares + epsilon_of(model.config)) / (width * 2**binary16.SQUARE_BITS)).astype(np.float16), name
    )
    scale = binary16.reciprocal_root(np.maximum(variance, np.float16(2.0**-24)))
    y: Binary16Array = centred * scale * model.tensors[f"{name}.gain"] + model.tensors[f"{name}.bias"]
    return _seen(name, y, trace)


def epsilon_of(config: BertConfig) -> int:
    """What a layer norm adds to its sum of squares, in the units of that sum: a whole number."""
    units: int = math.floor(config.layer_norm_epsilon * config.width * 2**binary16.SQUARE_BITS + 0.5)
    return units


def _product(a: np.ndarray, b: np.ndarray, largest: int) -> Binary16Array:
    """Matrix product of integers, exact, then rounded to binary16: no sum exceeds `largest`."""
    exact = binary16.exact_type(largest)
    sums = a.astype(exact, copy=False) @ b.astype(exact)
    return binary16.from_integer(sums, binary16.sum_exponent(largest))


def _seen(name: str, x: Binary16Array, trace: Trace) -> Binary16Array:
    trace(name, _finite(x, name))
    return x


def _finite(x: Binary16Array, where: str) -> Binary16Array:
    if not np.isfinite(x).all():
        raise LutraError(f"{where}: an activation leaves the range of binary16 (65504); train it to smaller ones")
    return x


def check_input(
    model: FrozenBert,
    tokens: np.ndarray,
    token_types: np.ndarray,
    mask: np.ndarray,
    noise: np.ndarray | None = None,
) -> None:
    """Check that a model can take sentences.

    Raises:
        InputError: shapes, tokens, types, masks or noise that it cannot take.
    """
    config = model.config
    if tokens.ndim != 2 or tokens.shape[1] > config.positions:
        raise InputError(f"tokens must be (sentences, at most {config.positions} positions), got {tokens.shape}")
    for name, array, count in (
        ("tokens", tokens, config.vocabulary),
        ("token_types", token_types, config.token_types),
        ("mask", mask, 2),
    ):
        if array.shape != tokens.shape or not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"{name} must be integers of shape {tokens.shape}, got {array.dtype} {array.shape}")
        if array.size and (array.min() < 0 or array.max() >= count):
            raise InputError(f"{name} must lie in [0, {count - 1}], found {array.min()} to {array.max()}")
    if not mask[:, :1].all() or tokens.shape[1] == 0:
        raise InputError("mask: the first token of every sentence must be a real one, the pooler reads it")
    if noise is not None:
        shape = int((mask != 0).sum()), config.width
        if noise.dtype != np.float16 or noise.shape != shape or not np.isfinite(noise).all():
            raise InputError(f"noise must be finite float16 of shape {shape}, got {noise.dtype} {noise.shape}")
