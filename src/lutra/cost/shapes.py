"""Where transformer shapes come from: presets of the papers, Hugging Face configurations, our recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lutra.cost.config_json import Config, read_config
from lutra.cost.workload import TransformerShape
from lutra.errors import InputError
from lutra.frozen.graph import WeightlessBlock
from lutra.recipes.convert import ConvertRecipe
from lutra.recipes.frozen import FrozenRecipe
from lutra.recipes.language import ModelConfig, Recipe
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.conversion import ConversionPlan, Source
from lutra.runs.typed import read_record

VOCABULARY_OF_DATASET = {"shakespeare-char": 65}


def vision_shape(
    name: str, width: int, heads: int, classes: int = 1000, layers: int = 12, patches: int = 196, patch: int = 16
) -> TransformerShape:
    """A ViT or DeiT on so many square patches of 3 channels, with a class token."""
    return TransformerShape(
        name,
        layers=layers,
        width=width,
        heads=heads,
        tokens=patches + 1,
        hidden=4 * width,
        position_embeddings=patches + 1,
        patches=patches,
        patch_inputs=3 * patch**2,
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


def llama_shape(
    name: str, layers: int, width: int, heads: int, kv_heads: int, hidden: int, context: int, vocabulary: int
) -> TransformerShape:
    """A Llama: gated MLP, no biases, keys and values shared by groups of heads, and a head of its own."""
    return TransformerShape(
        name,
        layers=layers,
        width=width,
        heads=heads,
        tokens=context,
        hidden=hidden,
        gated=True,
        kv_heads=kv_heads,
        qkv_bias=False,
        projection_bias=False,
        mlp_bias=False,
        norm_vectors=1,
        vocabulary=vocabulary,
        classes=vocabulary,
        head_bias=False,
        head_tokens=context,
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
        gpt_shape("gpt2-medium", 24, 1024, 16, 1024, 50257, bias=True),
        gpt_shape("gpt2-large", 36, 1280, 20, 1024, 50257, bias=True),
        gpt_shape("gpt2-xl", 48, 1600, 25, 1024, 50257, bias=True),
        gpt_shape("gpt3", 96, 12288, 96, 2048, 50257, bias=True),
        gpt_shape("gpt3-4096", 96, 12288, 96, 4096, 50257, bias=True),
        llama_shape("llama-2-7b", 32, 4096, 32, 32, 11008, 4096, 32000),
        llama_shape("llama-3-8b", 32, 4096, 32, 8, 14336, 8192, 128256),
        bert_shape("bert-base", 12, 768, 12, 128),
    )
}
"""The models of QuWeiT and BMT, and common ones. GPT-3 has a context of 2048; QuWeiT's Table 1 takes 4096."""


def preset(name: str) -> TransformerShape:
    """The preset called `name`.

    Raises:
        InputError: no such preset.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"no model shape {name}; there are {', '.join(PRESETS)}") from None


def shape_of_recipe(recipe: Recipe | VisionRecipe) -> TransformerShape:
    """The dense model that the recipe's model replaces; the sequence is its whole context, or an image.

    Raises:
        InputError: a vision model without a class token, for which there are no counts.
    """
    if isinstance(recipe, VisionRecipe):
        vision = recipe.model
        if vision.pool != "class":
            raise InputError(f"{recipe.name}: costs are counted with a class token; set model.pool to class")
        sizes = vision.width, vision.heads, recipe.classes, vision.layers, vision.patches, vision.patch
        return vision_shape(recipe.name, *sizes)
    model: ModelConfig = recipe.model
    vocabulary = VOCABULARY_OF_DATASET[recipe.data.dataset]
    return gpt_shape(recipe.name, model.layers, model.width, model.heads, model.context, vocabulary, bias=model.bias)


def shape_of_conversion(run: RunFiles, recipe: ConvertRecipe) -> TransformerShape:
    """The original model of a conversion, by what the plan measured; the sequence is the recipe's longest text.

    Raises:
        InputError: its feed-forward parts are of several shapes, or the model does not say how many heads it has.
    """
    plan = read_record(run.root / "plan.json", ConversionPlan, "run")
    source = read_record(run.root / "source.json", Source, "run")
    try:
        rows = [row for row in plan["found"] if row["convert"]]
        shapes = {(int(row["inputs"]), int(row["hidden"]), int(row["outputs"]), bool(row["gated"])) for row in rows}
        layers, heads = sum(max(1, int(row["calls"])) for row in rows), source["heads"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.root}: plan.json or source.json is damaged ({error!r}); run it again") from None
    if len(shapes) != 1 or heads is None:
        what = "does not say how many heads it has" if len(shapes) == 1 else f"has parts of {len(shapes)} shapes"
        raise InputError(
            f"{recipe.source.model}: {what}, so that there is no one layer to compare with; leave cost out"
        )
    ((width, hidden, outputs, gated),) = shapes
    if width != outputs:
        raise InputError(
            f"{recipe.source.model}: parts from {width} to {outputs} features are no layer; leave cost out"
        )
    return TransformerShape(recipe.name, layers, width, int(heads), recipe.data.tokens, hidden, gated=gated)


def shape_of_frozen(recipe: FrozenRecipe, blocks: Sequence[WeightlessBlock]) -> TransformerShape | None:
    """The dense layers that a frozen model's blocks stand for, by what the recipe says of them; None if nothing.

    Raises:
        InputError: blocks of several widths, which are no layers of one model.
    """
    if recipe.dense is None:
        return None
    widths = {(block.graph.input_width, block.graph.output_width) for block in blocks}
    width, outputs = next(iter(widths))
    if len(widths) > 1 or width != outputs:
        found = ", ".join(f"{a} to {b}" for a, b in sorted(widths))
        raise InputError(f"{recipe.name}: blocks from {found} features are no layers of one width; leave [dense] out")
    dense = recipe.dense
    return TransformerShape(
        recipe.name, len(blocks), width, dense.heads, recipe.tokens, dense.hidden, gated=dense.gated
    )


def shape_of_huggingface(config: Mapping[str, Any] | Path, tokens: int | None = None) -> TransformerShape:
    """Shape of a Hugging Face `config.json`, given as a dictionary, or as the path of the file or its folder.

    Reads GPTs (gpt2, gpt_neo, gpt_neox, opt), BERTs (bert, roberta, distilbert), Llamas (llama, mistral, qwen2, qwen3,
    gemma, phi3) and ViTs (vit, deit). `tokens` is the sequence length; by default
    the longest that the model takes.

    Raises:
        InputError: not JSON, a `model_type` that is not known, or a key that is missing or of a wrong type.
    """
    source = str(config) if isinstance(config, Path) else "config"
    values = read_config(config) if isinstance(config, Path) else config
    model_type = values.get("model_type")
    if model_type not in _FAMILIES:
        raise InputError(f"{source}: model_type {model_type!r} is not known; there are {', '.join(_FAMILIES)}")
    if tokens is not None and tokens < 1:
        raise InputError(f"tokens must be positive, got {tokens}")
    return _FAMILIES[model_type](Config(values, source), model_type, tokens)


def _gpt2(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _bert(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _distilbert(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _gpt_neo(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _gpt_neox(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _opt(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _llama(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


def _vit(config: Config, model_type: str, tokens: int | None) -> TransformerShape:
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


_FAMILIES: dict[str, Callable[[Config, str, int | None], TransformerShape]] = {
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
