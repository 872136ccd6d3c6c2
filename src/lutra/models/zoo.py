"""Models by recipe or by name, and the import of nanoGPT checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from lutra.errors import CheckpointError, InputError
from lutra.models.gpt import GPT
from lutra.models.vit import VisionTransformer
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
    """The model in a `ckpt.pt` that nanoGPT's train.py wrote, with its MLPs, in evaluation mode.

    Only tensors and plain values are read (`weights_only=True`): nothing in the file is executed.

    Raises:
        CheckpointError: no such file, not such a checkpoint, or weights that do not fit its own model_args.
    """
    checkpoint = _read_pt(path)
    try:
        arguments = checkpoint["model_args"]
        config = ModelConfig(
            layers=arguments["n_layer"],
            heads=arguments["n_head"],
            width=arguments["n_embd"],
            context=arguments["block_size"],
            dropout=arguments.get("dropout", 0.0),
            bias=arguments["bias"],
            ffn="mlp",
        )
        # torch.compile prefixes every name; nanoGPT's slow attention keeps its causal mask as a buffer.
        weights = {
            name.removeprefix("_orig_mod."): tensor
            for name, tensor in checkpoint["model"].items()
            if not name.endswith(".attn.bias")
        }
        model = GPT(config, arguments["vocab_size"], BlockConfig(), seed=0)
        model.load_weights(weights)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not a checkpoint of nanoGPT's train.py ({reason})") from None
    return model.eval()


def _read_pt(path: Path) -> dict[str, Any]:
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint ({error.strerror})") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).split("\n")[0] or "empty"
        raise CheckpointError(f"{path}: not a file of plain weights; only such files are read ({reason})") from None
