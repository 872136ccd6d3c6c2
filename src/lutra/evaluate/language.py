"""Losses of a language model: floating point beside fake-quantised and frozen, and its baselines; and its text."""

from __future__ import annotations

from typing import Any

from lutra.data.text import load_dataset
from lutra.evaluate.recovery import recovery
from lutra.evaluate.text import generate_text
from lutra.freeze.block import quantise_blocks
from lutra.freeze.engines import ENGINES, EngineName, install, load_with_engine
from lutra.frozen import store
from lutra.models.gpt import GPT
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles, write_json, write_text
from lutra.train.checkpoint import load_model
from lutra.train.evaluate import validation_loss


def evaluate_run(run: RunFiles, recipe: Recipe, engine: EngineName = "golden") -> dict[str, Any]:
    """Losses on the whole validation text: of the model with real-valued, fake-quantised and frozen integer blocks, and
    of the baselines; and the recovery of the integer model. Writes `run.evaluate` and a sample text.

    Returns:
        `validation_loss` by arithmetic ("float", "fake_quantised" and the engine's name, or "float" alone where there
        is no weightless block), `baselines` by ffn, `recovery` (None unless both baselines are trained), `tokens`.

    Raises:
        InputError: an engine was asked for a model without weightless blocks; CheckpointError, FrozenModelError: see
            `load_with_engine`.
    """
    tokens, batch = load_dataset(recipe.data.dataset).validation, recipe.train.evaluate_batch
    model = load_model(run)
    blocks = weightless_blocks(model).values()
    losses: dict[str, float] = {}
    if blocks:
        quantise_blocks(model)
        losses["fake_quantised"] = validation_loss(model, tokens, batch)
        for block in blocks:
            block.dequantise_()
    losses["float"] = validation_loss(model, tokens, batch)
    if blocks:
        install(model, store.load(run.frozen), ENGINES[engine])
        losses = {engine: validation_loss(model, tokens, batch), **losses}
    baselines = {
        ffn: validation_loss(load_model(run.baseline(ffn)), tokens, batch)
        for ffn in recipe.baselines
        if run.baseline(ffn).best_checkpoint.exists()
    }
    ours = losses.get(engine, losses["float"])
    both = {"mlp", "none"} <= baselines.keys()
    result = {
        "validation_loss": losses,
        "baselines": baselines,
        "recovery": recovery(baselines["none"], ours, baselines["mlp"]) if both else None,
        "tokens": len(tokens) - 1,
        "engine": engine if engine in losses else "torch",
    }
    write_text(run.sample, _write(model, recipe, "\n", 500, recipe.seed, 0.8))
    write_json(run.evaluate, result)
    return result


def generate_from_run(
    run: RunFiles,
    recipe: Recipe,
    prompt: str = "\n",
    characters: int = 500,
    seed: int | None = None,
    temperature: float = 0.8,
    engine: EngineName = "golden",
) -> str:
    """`prompt` and `characters` more of text from the best model of a run; without `seed`, the recipe's.

    Raises:
        InputError: a character that the model does not know, or a temperature below 0; see also `load_with_engine`.
    """
    model = load_with_engine(run, engine)
    return _write(model, recipe, prompt, characters, recipe.seed if seed is None else seed, temperature)


def _write(model: GPT, recipe: Recipe, prompt: str, characters: int, seed: int, temperature: float) -> str:
    return generate_text(
        model,
        prompt,
        load_dataset(recipe.data.dataset).characters,
        max_new_characters=characters,
        temperature=temperature,
        seed=seed,
    )
