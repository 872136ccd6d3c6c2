"""Losses of a language model: floating point beside fake-quantised and frozen, and its baselines; and its text."""

from __future__ import annotations

from typing import Any, Literal

from lutra.data.text import load_dataset
from lutra.evaluate.machine import simulated_gpt
from lutra.evaluate.recovery import recovery
from lutra.evaluate.text import generate_text
from lutra.evaluate.unfinished import unfinished_trainings
from lutra.freeze.block import quantise_blocks
from lutra.freeze.engines import EngineName, load_with_engine
from lutra.freeze.whole import FrozenGpt
from lutra.frozen import store
from lutra.models.gpt import GPT
from lutra.nn.weightless import weightless_blocks
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles, write_text
from lutra.runs.typed import write_evidence
from lutra.train.checkpoint import load_model
from lutra.train.evaluate import validation_loss


def evaluate_run(files: RunFiles, recipe: Recipe, engine: EngineName = "golden") -> dict[str, Any]:
    """Losses on the whole validation text: of the trained model, of the frozen one, of the baselines in both; and the
    recovery. Writes `files.evaluate` and a sample text.

    Returns:
        `validation_loss` by arithmetic: the engine's name (whole in integers), "fake_quantised" (integer blocks, the
        rest in floating point), "float"; the latter alone where nothing was frozen. `baselines` (float) and
        `frozen_baselines` (whole in integers) by ffn; baselines that are not trained to the end are left out.
        `recovery`, of integers among integers where there are all of them (None unless all three models are trained to
        the end), `unfinished` (see `unfinished_trainings`), `tokens`, `engine`; `frozen_hash`, if the frozen model
        counted.

    Raises:
        CheckpointError, FrozenModelError, InputError: see `load_with_engine`.
    """
    tokens, batch = load_dataset(recipe.data.dataset).validation, recipe.train.evaluate_batch
    model: GPT | FrozenGpt = load_model(files)
    blocks = weightless_blocks(model).values()
    losses: dict[str, float] = {}
    if blocks:
        quantise_blocks(model)
        losses["fake_quantised"] = validation_loss(model, tokens, batch)
        for block in blocks:
            block.dequantise_()
    losses["float"] = validation_loss(model, tokens, batch)
    if engine != "torch" and (blocks or store.exists(files.frozen)):
        model = load_with_engine(files, engine)
        losses = {engine: validation_loss(model, tokens, batch), **losses}
    unfinished = unfinished_trainings(files, recipe)
    begun = [ffn for ffn in recipe.baselines if files.baseline(ffn).best_checkpoint.exists()]
    trained = [ffn for ffn in begun if ffn not in unfinished]
    baselines = {ffn: validation_loss(load_model(files.baseline(ffn)), tokens, batch) for ffn in trained}
    frozen_baselines = {
        ffn: validation_loss(load_with_engine(files.baseline(ffn), engine), tokens, batch)
        for ffn in trained
        if engine in losses and store.exists(files.baseline(ffn).frozen)
    }
    compared = frozen_baselines if frozen_baselines.keys() == baselines.keys() else baselines
    all_three = {"mlp", "none"} <= compared.keys() and "ours" not in unfinished
    ours = losses.get(engine, losses["float"])
    result = {
        "frozen_hash": store.content_hash(files.frozen) if engine in losses else None,
        "validation_loss": losses,
        "baselines": baselines,
        "frozen_baselines": frozen_baselines,
        "recovery": recovery(compared["none"], ours, compared["mlp"]) if all_three else None,
        "unfinished": unfinished,
        "tokens": len(tokens) - 1,
        "engine": engine if engine in losses else "torch",
    }
    write_text(files.sample, _write(model, recipe, "\n", 500, recipe.seed, 0.8))
    write_evidence(files, recipe, "evaluate", result)
    return result


def generate_from_run(
    files: RunFiles,
    recipe: Recipe,
    prompt: str = "\n",
    characters: int = 500,
    seed: int | None = None,
    temperature: float = 0.8,
    engine: EngineName | Literal["rtl"] = "golden",
) -> str:
    """`prompt` and `characters` more of text from the best model of a run; without `seed`, the recipe's.

    Engine "rtl" simulates the transformer machine.

    Raises:
        InputError: a character that the model does not know, or a temperature below 0; see also `load_with_engine` and
            `simulated_gpt`.
    """
    drawn = recipe.seed if seed is None else seed
    if engine == "rtl":
        with simulated_gpt(files, recipe) as simulated:
            return _write(simulated, recipe, prompt, characters, drawn, temperature)
    return _write(load_with_engine(files, engine), recipe, prompt, characters, drawn, temperature)


def _write(model: GPT | FrozenGpt, recipe: Recipe, prompt: str, characters: int, seed: int, temperature: float) -> str:
    return generate_text(
        model,
        prompt,
        load_dataset(recipe.data.dataset).characters,
        max_new_characters=characters,
        temperature=temperature,
        seed=seed,
    )
