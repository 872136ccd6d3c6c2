"""Shapes of transformers from Hugging Face's configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lutra.cost.workload import TransformerShape
from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES, PARAMETERS
from lutra.reading import parse_json, read_bytes


class _Config:
    """A Hugging Face configuration that names the key which is missing or of a wrong type."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values, self.source = values, source

    def integer(self, *keys: str, default: int | None = None, minimum: int = 1) -> int:
        """The first of `keys` that is there and not null, at least `minimum`."""
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise InputError(f"{self.source}: {key} must be an integer, got {brief(repr(value), 60)}")
                if value < minimum:
                    raise InputError(f"{self.source}: {key} must be at least {minimum}, got {value}")
                if value > PARAMETERS:
                    raise InputError(f"{self.source}: {key} must be at most {PARAMETERS}, got {brief(str(value), 60)}")
                return value
        if default is None:
            raise InputError(
                f"{self.source}: the key {' or '.join(keys)} is missing; give the model's whole config.json"
            )
        return default

    def sides(self, key: str) -> tuple[int, int]:
        """Height and width, given as two integers or, when they are equal, as one."""
        value = self.values.get(key)
        if not isinstance(value, list):
            side = self.integer(key)
            return side, side
        if len(value) != 2 or not all(type(side) is int and side >= 1 for side in value):
            raise InputError(f"{self.source}: {key} must be one or two positive integers, got {brief(repr(value), 60)}")
        return value[0], value[1]

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.source}: {key} must be true or false, got {brief(repr(value), 60)}")
        return value


def shape_of_huggingface(config: Mapping[str, Any] | Path, tokens: int | None = None) -> TransformerShape:
    """Shape of a Hugging Face `config.json`, given as a dictionary, or as the path of the file or its folder.

    Reads GPTs (gpt2, gpt_neo, gpt_neox, opt), BERTs (bert, roberta, distilbert), Llamas (llama, mistral, qwen2, qwen3,
    gemma, phi3) and ViTs (vit, deit). `tokens` is the sequence length; by default
    the longest that the model takes.

    Raises:
        InputError: not JSON, a `model_type` that is not known, or a key that is missing or of a wrong type.
    """
    source = str(config) if isinstance(config, Path) else "config"
    values = _read_config(config) if isinstance(config, Path) else config
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise InputError(f"{source}: model_type {brief(repr(model_type), 60)} is not known; there are {known}")
    if tokens is not None and tokens < 1:
        raise InputError(f"tokens must be positive, got {tokens}")
    return _FAMILIES[model_type](_Config(values, source), model_type, tokens)


def _read_config(path: Path) -> Mapping[str, Any]:
    path = path / "config.json" if path.is_dir() else path
    try:
        values = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({brief(str(error))})") from None
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
        token_types=config.integer("type_vocab_size", minimum=0),
        pooler=True,
    )


def _distilbert(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    positions, width = config.integer("max_position_embeddings"), config.integer("dim")
    return TransformerShape(
        model_type,
        layers=config.integer("n_layers"),
        width=width,
        heads=config.integer("n_heads"),
        tokens=tokens or positions,
        hidden=config.integer("hidden_dim"),
        vocabulary=config.integer("vocab_size"),
        position_embeddings=positions,
    )


def _gpt_neo(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    width, positions = config.integer("hidden_size"), config.integer("max_position_embeddings")
    vocabulary = config.integer("vocab_size")
    return TransformerShape(
        model_type,
        layers=config.integer("num_layers"),
        width=width,
        heads=config.integer("num_heads"),
        tokens=tokens or positions,
        hidden=config.integer("intermediate_size", default=4 * width),
        qkv_bias=False,
        vocabulary=vocabulary,
        position_embeddings=positions,
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", True),
        head_bias=False,
        head_tokens=tokens or positions,
    )


def _gpt_neox(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    """Pythia and its relatives: positions are rotated, so that they have no table."""
    vocabulary, length = config.integer("vocab_size"), tokens or config.integer("max_position_embeddings")
    bias = config.flag("attention_bias", True)
    return TransformerShape(
        model_type,
        layers=config.integer("num_hidden_layers"),
        width=config.integer("hidden_size"),
        heads=config.integer("num_attention_heads"),
        tokens=length,
        hidden=config.integer("intermediate_size"),
        qkv_bias=bias,
        projection_bias=bias,
        vocabulary=vocabulary,
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", False),
        head_bias=False,
        head_tokens=length,
    )


def _opt(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    positions, width = config.integer("max_position_embeddings"), config.integer("hidden_size")
    vocabulary, bias = config.integer("vocab_size"), config.flag("enable_bias", True)
    if config.integer("word_embed_proj_dim", default=width) != width or not config.flag("do_layer_norm_before", True):
        raise InputError(f"{config.source}: an OPT with projected embeddings or norms behind its layers is not known")
    return TransformerShape(
        model_type,
        layers=config.integer("num_hidden_layers"),
        width=width,
        heads=config.integer("num_attention_heads"),
        tokens=tokens or positions,
        hidden=config.integer("ffn_dim"),
        qkv_bias=bias,
        projection_bias=bias,
        mlp_bias=bias,
        vocabulary=vocabulary,
        position_embeddings=positions + 2,  # OPT numbers positions from 2
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", True),
        head_bias=False,
        head_tokens=tokens or positions,
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
        head_norms=2 if model_type == "qwen3" else 0,
        vocabulary=vocabulary,
        classes=vocabulary,
        head_tied=config.flag("tie_word_embeddings", model_type == "gemma"),
        head_bias=False,
        head_tokens=length,
    )


def _vit(config: _Config, model_type: str, tokens: int | None) -> TransformerShape:
    (image_height, image_width), (patch_height, patch_width) = config.sides("image_size"), config.sides("patch_size")
    patches = (image_height // patch_height) * (image_width // patch_width)
    if not patches:
        raise InputError(f"{config.source}: patch_size must be at most image_size")
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
        patch_inputs=config.integer("num_channels", default=3) * patch_height * patch_width,
        special_tokens=special_tokens,
        classes=classes,
    )


_FAMILIES: dict[str, Callable[[_Config, str, int | None], TransformerShape]] = {
    "gpt2": _gpt2,
    "gpt_neo": _gpt_neo,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
    "bert": _bert,
    "roberta": _bert,
    "distilbert": _distilbert,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
    "gemma": _llama,
    "phi3": _llama,
    "vit": _vit,
    "deit": _vit,
}
