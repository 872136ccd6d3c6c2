"""From a trained BERT to its frozen form: the bridge between the torch side and `lutra.frozen.bert`."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.frozen.bert import (
    FrozenBert,
    check_config,
    hidden_is_signed,
    largest_context_sum,
    largest_linear_sum,
    largest_score_sum,
)
from lutra.frozen.binary16 import SMALLEST_NORMAL, sum_exponent
from lutra.models.bert import Attention, Bert, FeedForward
from lutra.nn.binary_linear import LatentWeight, PackedWeight, QuantisedEmbedding, QuantisedLinear
from lutra.nn.quantizers import SMALLEST_STEP, ActivationQuantiser
from lutra.recipes.bert_config import BertConfig
from lutra.version import __version__

Tensors = dict[str, np.ndarray]


@torch.no_grad()
def freeze_bert(model: Bert, origin: dict[str, str] | None = None) -> FrozenBert:
    """The frozen form of a BERT with weights of 1 or 2 bits and activations of at most 8; `model` stays as it is.

    Every factor is computed in float64 from the trained values and rounded to binary16 once (spec.md, "BERT").

    Raises:
        FrozenModelError: the quantisation has no frozen form, or a value lies beyond the range of binary16.
        InputError: a quantiser has seen no batch yet, or a layer's factors are too small for binary16.
    """
    check_config(model.config)
    tensors: Tensors = {
        "embeddings.position": _binary16(model.embeddings.position.weight),
        "embeddings.token_type": _binary16(model.embeddings.token_type.weight),
        **_norm("embeddings.norm", model.embeddings.norm),
        **_word_embedding("embeddings.word", cast(QuantisedEmbedding, model.embeddings.word)),
    }
    for index, layer in enumerate(model.layers):
        tensors |= _attention(f"layers.{index}.attention", layer.attention, model.config)
        tensors |= _feed_forward(f"layers.{index}.feed_forward", layer.feed_forward, model.config)
    tensors |= _quantiser("pooler_quantiser", model.pooler_quantiser)
    tensors |= _linear("pooler", model.pooler, model.pooler_quantiser, model.config, signed=True)
    tensors |= {
        "classifier.weight": _binary16(model.classifier.weight),
        "classifier.bias": _binary16(model.classifier.bias),
    }
    frozen = FrozenBert(model.config, tensors, {"lutra": __version__, "torch": torch.__version__, **(origin or {})})
    frozen.check()
    return frozen


def _attention(name: str, module: Attention, config: BertConfig) -> Tensors:
    tensors = _norm(f"{name}.norm", module.norm)
    for part in ("input", "query", "key", "value", "probability", "output"):
        tensors |= _quantiser(f"{name}.{part}_quantiser", getattr(module, f"{part}_quantiser"))
    for part in ("query", "key", "value"):
        tensors |= _linear(f"{name}.{part}", getattr(module, part), module.input_quantiser, config, signed=True)
    tensors |= _linear(f"{name}.output", module.output, module.output_quantiser, config, signed=True)
    query, key, value, probability = (
        _step(getattr(module, f"{part}_quantiser")) for part in ("query", "key", "value", "probability")
    )
    score = query * key * 2.0 ** sum_exponent(largest_score_sum(config)) / math.sqrt(config.head_width)
    context = probability * value * 2.0 ** sum_exponent(largest_context_sum(config))
    tensors[f"{name}.score_factor"] = _factor(np.array(score), f"{name}.score_factor")
    tensors[f"{name}.context_factor"] = _factor(np.array(context), f"{name}.context_factor")
    return tensors


def _feed_forward(name: str, module: FeedForward, config: BertConfig) -> Tensors:
    signed = hidden_is_signed(config)
    return {
        **_quantiser(f"{name}.input_quantiser", module.input_quantiser),
        **_quantiser(f"{name}.hidden_quantiser", module.hidden_quantiser),
        **_linear(f"{name}.intermediate", module.intermediate, module.input_quantiser, config, signed=True),
        **_linear(f"{name}.output", module.output, module.hidden_quantiser, config, signed),
        **_norm(f"{name}.norm", module.norm),
    }


def _linear(name: str, module: nn.Module, quantiser: nn.Module, config: BertConfig, signed: bool) -> Tensors:
    layer = cast(QuantisedLinear, module)
    weights = _packed(layer.weights)
    outputs, inputs = weights[0].shape
    step = _step(quantiser)
    exponent = sum_exponent(largest_linear_sum(config, inputs, signed))
    factors = np.empty((len(weights), outputs))
    for index, weight in enumerate(weights):
        columns = np.ones(outputs) if layer.column_scales is None else _double(layer.column_scales[index])
        factors[index] = step * float(_double(weight.scale)[0, 0]) * columns * 2.0**exponent
    return {
        f"{name}.codes": np.stack([weight.packed.cpu().numpy() for weight in weights]),
        f"{name}.factor": _factor(factors, f"{name}.factor"),
        f"{name}.bias": _binary16(layer.bias),
    }


def _word_embedding(name: str, module: QuantisedEmbedding) -> Tensors:
    weights = _packed(module.weights)
    return {
        f"{name}.codes": np.stack([weight.packed.cpu().numpy() for weight in weights]),
        f"{name}.scale": np.stack([_binary16(weight.scale[:, 0]) for weight in weights]),
    }


def _packed(weights: nn.ModuleList) -> list[PackedWeight]:
    return [weight.packed() if isinstance(weight, LatentWeight) else cast(PackedWeight, weight) for weight in weights]


def _quantiser(name: str, module: nn.Module) -> Tensors:
    quantiser = cast(ActivationQuantiser, module)
    if not quantiser.calibrated:
        raise InputError(f"{name}: has no step yet; run one batch through the model before freezing it")
    tensors = {f"{name}.inverse_step": _to_half(np.array(1 / _step(quantiser)))}
    if quantiser.bias is not None:
        tensors[f"{name}.bias"] = _binary16(quantiser.bias)
    return tensors


def _step(quantiser: Any) -> float:
    return max(float(quantiser.step), SMALLEST_STEP)


def _norm(name: str, module: nn.LayerNorm) -> Tensors:
    return {f"{name}.gain": _binary16(module.weight), f"{name}.bias": _binary16(module.bias)}


def _factor(values: np.ndarray, name: str) -> np.ndarray:
    """Factors in binary16; a few may be tiny, but when all are, they would lose their precision."""
    largest = np.abs(values).max()
    if 0 < largest < SMALLEST_NORMAL:
        raise InputError(f"{name}: at most {largest:.1e}, too small for binary16; train with larger steps or weights")
    return _to_half(values)


def _binary16(tensor: Tensor) -> np.ndarray:
    return _to_half(_double(tensor))


def _to_half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # FrozenBert.check names what overflows
        return values.astype(np.float16)


def _double(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
