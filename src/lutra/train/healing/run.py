"""The steps plan, fit, heal and baselines of a run of kind "convert"."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save as dump_tensors
from torch import nn

from lutra.errors import ConversionError
from lutra.models.convert.find import find_mlps
from lutra.models.convert.plan import Plan
from lutra.models.convert.replace import remove_mlps, replace_mlp
from lutra.models.convert.save import from_pretrained, save_pretrained, unshared
from lutra.models.convert.token_table import TokenTable
from lutra.recipes.convert import ConvertRecipe
from lutra.runs.files import RunFiles, replacing
from lutra.runs.schemas.conversion import ConversionPlan, Fit, Source
from lutra.runs.typed import read_record, write_record
from lutra.train.healing.fit import fit_
from lutra.train.healing.heal import Healed, heal
from lutra.train.healing.text import Texts, load_source, weights_hash

FITTED, MODEL, NONE = "fitted", "model", Path("baselines") / "none"


def plan_run(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """Write plan.json and source.json: what is converted, of which model, healed on which text.

    Raises:
        ConversionError: there is nothing to convert, or more would stay dense than the recipe allows.
    """
    model, texts = load_source(recipe.source.model), Texts(recipe)
    example = texts.batches(texts.held_out)[0]
    plan = find_mlps(model, include=recipe.plan.include, exclude=recipe.plan.exclude, **example)
    share = 1 - plan.share_left_dense
    if share < recipe.plan.minimum_share:
        raise ConversionError(
            f"{recipe.source.model}: only {100 * share:.1f} % of the feed-forward weights would be converted, "
            f"plan.minimum_share asks for {100 * recipe.plan.minimum_share:.1f} %; see `lutra plan MODEL`"
        )
    source = {
        "model": recipe.source.model,
        "class": type(model).__name__,
        "weights_sha256": weights_hash(model),
        "heads": getattr(getattr(model, "config", None), "num_attention_heads", None),
        "text": recipe.data.text,
        "text_sha256": hashlib.sha256(Path(recipe.data.text).read_bytes()).hexdigest(),
        "training_texts": len(texts.training),
        "held_out_texts": len(texts.held_out),
    }
    write_record(files.root / "source.json", Source, source)
    write_record(files.root / "plan.json", ConversionPlan, plan.to_json())
    return {"converted": [row.path for row in plan.converted], "weights_left_dense": plan.share_left_dense}


def fit_run(files: RunFiles, recipe: ConvertRecipe) -> dict[str, Any]:
    """Convert the model and fit its blocks; writes fit.json and the fitted model."""
    teacher, texts = teacher_of(files, recipe), Texts(recipe)
    model = copy.deepcopy(teacher)
    chosen = recipe.fit
    plan, tables = plan_of(files), chosen.token_tables
    replace_mlp(model, plan, recipe.block, recipe.seed, massive=chosen.massive, token_tables=tables)
    fitted = fit_(
        model,
        teacher,
        texts.batches(texts.training[: chosen.texts]),
        ridge=chosen.ridge,
        local_steps=chosen.local_steps,
        token_batches=texts.batches(texts.training[: max(chosen.texts, chosen.token_texts)]) if tables else None,
        seed=recipe.seed,
    )
    save_pretrained(model, files.root / FITTED)
    rom_bits = sum(module.rom_bits for module in model.modules() if isinstance(module, TokenTable))
    result = {"blocks": [asdict(each) for each in fitted], "token_table_rom_bits": rom_bits}
    write_record(files.root / "fit.json", Fit, result)
    return result


def heal_run(files: RunFiles, recipe: ConvertRecipe, max_minutes: float | None = None) -> dict[str, Any]:
    """Heal the fitted model, or go on; writes the healed model when it is finished."""
    model = from_pretrained(files.root / FITTED)
    healed = _heal(files, recipe, model, files.root / "heal", max_minutes, recipe.heal.quantise_fraction)
    if healed.finished:
        save_pretrained(model, files.root / MODEL)
    return _told(healed)


def baselines_run(files: RunFiles, recipe: ConvertRecipe, max_minutes: float | None = None) -> dict[str, Any]:
    """Heal the model without any feed-forward part in the same way."""
    if not recipe.baseline:
        return {}
    model = without_mlps(files, recipe)
    healed = _heal(files, recipe, model, files.root / NONE, max_minutes, 0.0)
    if healed.finished:
        with replacing(files.root / NONE / "model.safetensors") as temporary:
            temporary.write_bytes(dump_tensors(unshared(model)))
    return {"none": _told(healed)}


def _heal(
    files: RunFiles, recipe: ConvertRecipe, model: nn.Module, folder: Path, minutes: float | None, quantised: float
) -> Healed:
    texts = Texts(recipe)
    return heal(
        model,
        teacher_of(files, recipe),
        texts.batches(texts.training),
        recipe.heal.steps,
        lr=recipe.heal.learning_rate,
        train_blocks=recipe.heal.train_blocks,
        losses=recipe.heal.losses or None,
        quantised=quantised,
        seed=recipe.seed,
        folder=folder,
        save_every=recipe.heal.save_every,
        max_minutes=minutes,
    )


def _told(healed: Healed) -> dict[str, Any]:
    loss = healed.loss if healed.loss == healed.loss else None  # NaN: nothing was left to do
    return {
        "steps": healed.steps,
        "stopped": None if healed.finished else "time limit",
        "loss": loss,
        "seconds": healed.seconds,
    }


def plan_of(files: RunFiles) -> Plan:
    """The plan of a run."""
    path = files.root / "plan.json"
    return Plan.from_json(read_record(path, ConversionPlan, "run"), str(path))


def teacher_of(files: RunFiles, recipe: ConvertRecipe) -> nn.Module:
    """The original model.

    Raises:
        ConversionError: its weights are no longer those of which the plan was made.
    """
    model = load_source(recipe.source.model)
    source = read_record(files.root / "source.json", Source, "run")
    if weights_hash(model) != source.get("weights_sha256"):
        raise ConversionError(
            f"{recipe.source.model}: its weights have changed since the plan was made; use a new --out"
        )
    return model


def without_mlps(files: RunFiles, recipe: ConvertRecipe) -> nn.Module:
    """The original model without the parts that the plan converts."""
    model = teacher_of(files, recipe)
    remove_mlps(model, plan_of(files))
    return model
