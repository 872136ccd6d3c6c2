"""Models by recipe or by name, and the import of nanoGPT checkpoints as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from torch import Tensor

from lutra.errors import CheckpointError, InputError
from lutra.escape import brief
from lutra.limits import TENSOR_BYTES, VOCABULARY
from lutra.models.gpt import GPT
from lutra.models.vit import VisionTransformer
from lutra.reading import parse_json, read_bytes
from lutra.recipes.language import BlockConfig, Feedforward, ModelConfig, Recipe
from lutra.recipes.vision import VisionRecipe

PRESETS = {
    "gpt-mini": ModelConfig(layers=4, heads=4, width=128, context=64),
    "gpt-baby": ModelConfig(layers=6, heads=6, width=384, context=256, dropout=0.2),
}


def create_model(recipe: Recipe | str, vocabulary_size: int, ffn: Feedforward = "weightless") -> GPT:
    """A new model of a recipe, or of a preset (`PRESETS`) with the given `ffn`; the recipe's seed decides its weights.

    Raises:
        InputError: no such preset.
    """
    if isinstance(recipe, str):
        if recipe not in PRESETS:
            raise InputError(f"no model {recipe!r}; there are {', '.join(PRESETS)}")
        recipe = Recipe(name=recipe, model=PRESETS[recipe].model_copy(update={"ffn": ffn}))
    return GPT(recipe.model, vocabulary_size, recipe.block, recipe.seed)


def create_vision_model(recipe: VisionRecipe) -> VisionTransformer:
    """A new model of a recipe of kind vision; the recipe's seed decides its weights."""
    return VisionTransformer(recipe.model, recipe.classes, recipe.block, recipe.seed)


def import_nanogpt(path: Path) -> GPT:
    """The model of a nanoGPT `ckpt.pt`, as safetensors, with its MLPs, in evaluation mode.

    nanoGPT writes pickles, which can run anything when they are opened and are not read here. Of one that you trust,
    this makes a file that is:

        import json, torch; from safetensors.torch import save_file
        checkpoint = torch.load("ckpt.pt", map_location="cpu")
        tensors = {name: tensor.contiguous().clone() for name, tensor in checkpoint["model"].items()}
        save_file(tensors, "ckpt.safetensors", {"model_args": json.dumps(checkpoint["model_args"])})

    Raises:
        CheckpointError: no such file, not such a checkpoint, or weights that do not fit its own model_args.
    """
    tensors, arguments = _read_nanogpt(path)
    try:
        config = ModelConfig(
            layers=arguments["n_layer"],
            heads=arguments["n_head"],
            width=arguments["n_embd"],
            context=arguments["block_size"],
            dropout=arguments.get("dropout", 0.0),
            bias=arguments["bias"],
            ffn="mlp",
        )
        vocabulary = arguments["vocab_size"]
        if type(vocabulary) is not int or not 1 <= vocabulary <= VOCABULARY:
            raise ValueError(f"vocab_size must be an integer from 1 to {VOCABULARY}")
        # torch.compile prefixes every name; nanoGPT's slow attention keeps its causal mask as a buffer.
        weights = {
            name.removeprefix("_orig_mod."): tensor
            for name, tensor in tensors.items()
            if not name.endswith(".attn.bias")
        }
        model = GPT(config, vocabulary, BlockConfig(), seed=0)
        model.load_weights(weights)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = brief(" ".join(str(error).split()), 300)
        raise CheckpointError(f"{path}: not a checkpoint of nanoGPT's train.py ({reason})") from None
    return model.eval()


def _read_nanogpt(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        content = read_bytes(path, TENSOR_BYTES)
        tensors = parse_tensors(content)
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        arguments = parse_json(header["__metadata__"]["model_args"].encode())
        if not isinstance(arguments, dict):
            raise ValueError("model_args must be an object")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint ({error.strerror})") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not safetensors with model_args ({brief(str(error))}); pickles such as nanoGPT's ckpt.pt are not "
            "read, the documentation of import_nanogpt says how to convert one that you trust"
        ) from None
    return tensors, arguments
