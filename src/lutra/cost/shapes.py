"""Where transformer shapes come from: presets of the papers, our recipes and runs."""

from __future__ import annotations

from collections.abc import Sequence

from lutra.cost.workload import TransformerShape
from lutra.errors import InputError
from lutra.escape import brief
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


def shape_of_conversion(files: RunFiles, recipe: ConvertRecipe) -> TransformerShape:
    """The original model of a conversion, by what the plan measured; the sequence is the recipe's longest text.

    Raises:
        InputError: its feed-forward parts are of several shapes, or the model does not say how many heads it has.
    """
    plan = read_record(files.root / "plan.json", ConversionPlan, "run")
    source = read_record(files.root / "source.json", Source, "run")
    try:
        rows = [row for row in plan["found"] if row["convert"]]
        shapes = {(int(row["inputs"]), int(row["hidden"]), int(row["outputs"]), bool(row["gated"])) for row in rows}
        layers, heads = sum(max(1, int(row["calls"])) for row in rows), source["heads"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{files.root}: plan.json or source.json is damaged ({brief(repr(error))}); run it again"
        ) from None
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
