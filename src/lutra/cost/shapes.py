"""Where transformer shapes come from: presets of the papers, Hugging Face configurations, our recipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lutra.cost.workload import TransformerShape
from lutra.errors import InputError
from lutra.recipe import ModelConfig, Recipe

VOCABULARY_OF_DATASET = {"shakespeare-char": 65}


def vision_shape(name: str, width: int, heads: int, classes: int = 1000, layers: int = 12) -> TransformerShape:
    """A ViT or DeiT on 224 x 224 images in 16 x 16 patches with a class token."""
    return TransformerShape(
        name,
        layers=layers,
        width=width,
        heads=heads,
        tokens=197,
        hidden=4 * width,
        position_embeddings=197,
        patches=196,
        patch_inputs=3 * 16**2,
        special_tokens=1,
        classes=classes,
    )


def gpt_shape(
    name: str, layers: int, width: int, heads: int, context: int, vocabulary: int, bias: bool
) -> TransformerShape:
    """A GPT in nanoGPT's shapes; the head, tied to the token embedding, is evaluated for every token."""
    return TransformerShape(
        name,
        layers=layers,
        width=width,
        heads=heads,
        tokens=context,
        hidden=4 * width,
        qkv_bias=bias,
        projection_bias=bias,
        mlp_bias=bias,
        norm_vectors=2 if bias else 1,
        vocabulary=vocabulary,
        position_embeddings=context,
        classes=vocabulary,
        head_tied=True,
        head_bias=False,
        head_tokens=context,
    )


def bert_shape(name: str, layers: int, width: int, heads: int, tokens: int) -> TransformerShape:
    """BERT with its pooler and no task's head."""
    return TransformerShape(
        name,
        layers=layers,
        width=width,
        heads=heads,
        tokens=tokens,
        hidden=4 * width,
        vocabulary=30522,
        position_embeddings=512,
        token_types=2,
        pooler=True,
    )


PRESETS: dict[str, TransformerShape] = {
    shape.name: shape
    for shape in (
        vision_shape("deit-t", 192, 3),
        vision_shape("deit-s", 384, 6),
        vision_shape("deit-b", 768, 12),
        gpt_shape("gpt-mini", 4, 128, 4, 64, 65, bias=False),
        gpt_shape("gpt-baby", 6, 384, 6, 256, 65, bias=False),
        gpt_shape("gpt2", 12, 768, 12, 1024, 50257, bias=True),
        gpt_shape("gpt3", 96, 12288, 96, 2048, 50257, bias=True),
        gpt_shape("gpt3-4096", 96, 12288, 96, 4096, 50257, bias=True),
        bert_shape("bert-base", 12, 768, 12, 128),
    )
}
"""The models of QuWeiT and BMT. GPT-3 has a context of 2048; QuWeiT's Table 1 takes 4096."""


def preset(name: str) -> TransformerShape:
    """The preset called `name`.

    Raises:
        InputError: no such preset.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"no model shape {name}; there are {', '.join(PRESETS)}") from None


def shape_of_recipe(recipe: Recipe) -> TransformerShape:
    """The dense model that the recipe's model replaces; the sequence is its whole context."""
    model: ModelConfig = recipe.model
    vocabulary = VOCABULARY_OF_DATASET[recipe.data.dataset]
    return gpt_shape(recipe.name, model.layers, model.width, model.heads, model.context, vocabulary, bias=model.bias)


class _Config:
    """A Hugging Face configuration that names the key which is missing or of a wrong type."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values, self.source = values, source

    def integer(self, *keys: str, default: int | None = None) -> int:
        """The first of `keys` that is there and not null."""
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise InputError(f"{self.source}: {key} must be an integer, got {value!r}")
                return value
        if default is None:
            raise InputError(
                f"{self.source}: the key {' or '.join(keys)} is missing; give the model's whole config.json"
            )
        return default

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.source}: {key} must be true or false, got {value!r}")
        return value


def shape_of_huggingface(config: Mapping[str, Any] | Path, tokens: int | None = None) -> TransformerShape:
    """Shape of a Hugging Face `config.json`, given as a dictionary or a path.

    Reads gpt2, bert and roberta, llama, mistral and qwen2, vit and deit. `tokens` is the sequence length; by default
    the longest that the model takes.

    Raises:
        InputError: not JSON, a `model_type` that is not known, or a key that is missing or of a wrong type.
    """
    source = str(config) if isinstance(config, Path) else "config"
    values = _read_config(config) if isinstance(config, Path) else config
    model_type = values.get("model_type")
    if model_type not in _FAMILIES:
        raise InputError(f"{source}: model_type {model_type!r} is not known; there are {', '.join(_FAMILIES)}")
    if tokens is not None and tokens < 1:
        raise InputError(f"tokens must be positive, got {tokens}")
    return _FAMILIES[model_type](_Config(values, source), model_type, tokens)


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold one JSON object with the keys of a model's config.json")
    return values


def _gpt2(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    width, positions = config.integer("n_embd"), config.integer("n_positions", "n_ctx")
    vocabulary = config.integer("vocab_size")
    return TransformerShape(
        model_type,
        layers=config.integer("n_layer"),
        width=width,
        heads=config.integer("n_head"),
        tokens=tokens or positions,
        hidden=config.integer("n_inner", default=4 * width),
        vocabulary=vocabulary,
        position_embeddings=positions,
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", True),
        head_bias=False,
        head_tokens=tokens or positions,
    )


def _bert(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    positions = config.integer("max_position_embeddings")
    # RoBERTa numbers positions from 2: two rows of its table are never used by a token.
    longest = positions - 2 if model_type == "roberta" else positions
    return TransformerShape(
        model_type,
        layers=config.integer("num_hidden_layers"),
        width=config.integer("hidden_size"),
        heads=config.integer("num_attention_heads"),
        tokens=tokens or longest,
        hidden=config.integer("intermediate_size"),
        vocabulary=config.integer("vocab_size"),
        position_embeddings=positions,
        token_types=config.integer("type_vocab_size"),
        pooler=True,
    )


def _llama(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    vocabulary = config.integer("vocab_size")
    width, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    length = tokens or config.integer("max_position_embeddings")
    attention_bias = config.flag("attention_bias", False)
    return TransformerShape(
        model_type,
        layers=config.integer("num_hidden_layers"),
        width=width,
        heads=heads,
        tokens=length,
        hidden=config.integer("intermediate_size"),
        gated=True,
        kv_heads=config.integer("num_key_value_heads", default=heads),
        head_width=config.integer("head_dim", default=width // max(heads, 1)),
        # Qwen2 has biases on Q, K and V alone, and says so nowhere in its configuration.
        qkv_bias=attention_bias or model_type == "qwen2",
        projection_bias=attention_bias,
        mlp_bias=config.flag("mlp_bias", False),
        norm_vectors=1,
        vocabulary=vocabulary,
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", False),
        head_bias=False,
        head_tokens=length,
    )


def _vit(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    patch_size = config.integer("patch_size")
    patches = (config.integer("image_size") // patch_size) ** 2
    special_tokens = 2 if model_type == "deit" else 1
    labels = config.values.get("id2label")
    classes = len(labels) if isinstance(labels, Mapping) else config.integer("num_labels", default=0)
    return TransformerShape(
        model_type,
        layers=config.integer("num_hidden_layers"),
        width=config.integer("hidden_size"),
        heads=config.integer("num_attention_heads"),
        tokens=tokens or patches + special_tokens,
        hidden=config.integer("intermediate_size"),
        qkv_bias=config.flag("qkv_bias", True),
        position_embeddings=patches + special_tokens,
        patches=patches,
        patch_inputs=config.integer("num_channels", default=3) * patch_size**2,
        special_tokens=special_tokens,
        classes=classes,
    )


_FAMILIES: dict[str, Callable[[_Config, str, int | None], TransformerShape]] = {
    "gpt2": _gpt2,
    "bert": _bert,
    "roberta": _bert,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "vit": _vit,
    "deit": _vit,
}
