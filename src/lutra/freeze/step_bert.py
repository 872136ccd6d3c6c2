"""The step `freeze` of BERTs: every method that has a frozen form."""

from __future__ import annotations

from typing import Any

from lutra.freeze.bert import freeze_bert
from lutra.frozen.bert import has_frozen_form
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.runs.files import RunFiles
from lutra.train.stage import load_stage


def freeze_chain(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Freeze the stored model of every method that has a frozen form into `frozen/METHOD`.

    Returns:
        `frozen`: bytes on the disk by method.

    Raises:
        CheckpointError: a method has not been trained to its end.
        InputError, FrozenModelError: values beyond the range of binary16.
    """
    sizes = {}
    for plan in plan_stages(recipe):
        model = load_stage(files.stage(plan.name))
        if has_frozen_form(model.config):
            folder = files.frozen / plan.name
            freeze_bert(model, {"recipe": recipe.content_hash(), "method": plan.name}).save(folder)
            sizes[plan.name] = sum(path.stat().st_size for path in folder.iterdir())
    return {"frozen": sizes}
