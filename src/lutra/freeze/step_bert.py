"""The step `freeze` of BERTs: every method that has a frozen form, and real sentences for the simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors.numpy import save as dump_tensors

from lutra.data.glue import find_task
from lutra.freeze.bert import freeze_bert
from lutra.frozen.bert import has_frozen_form
from lutra.models.bert_files import find_checkpoint
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.runs.files import RunFiles, replacing
from lutra.train.chain import encode_task
from lutra.train.stage import load_stage

SENTENCES = 64
"""The most that a recipe may have simulated."""


def freeze_chain(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Freeze the stored model of every method that has a frozen form into `frozen/METHOD`.

    Beside them (`files.samples`) go the first sentences of the development set, for the simulation: integers `tokens`
    and `token_types` (sentences, positions), `lengths` and `labels` (sentences).

    Returns:
        `frozen`: bytes on the disk by method.

    Raises:
        CheckpointError: a method has not been trained to its end.
        InputError, FrozenModelError: values beyond the range of binary16; data or tokenizer cannot be used.
    """
    sizes = {}
    for plan in plan_stages(recipe):
        model = load_stage(files.stage(plan.name))
        if has_frozen_form(model.config):
            folder = files.frozen / plan.name
            freeze_bert(model, {"recipe": recipe.content_hash(), "method": plan.name}).save(folder)
            sizes[plan.name] = sum(path.stat().st_size for path in folder.iterdir())
    with replacing(files.samples) as temporary:
        temporary.write_bytes(dump_tensors(_samples(recipe)))
    return {"frozen": sizes}


def _samples(recipe: BertRecipe) -> dict[str, np.ndarray]:
    task = find_task(recipe.task)
    dev = encode_task(recipe, find_checkpoint(recipe.checkpoint), task, task.dev_splits[0])
    columns = {"tokens": dev.tokens, "token_types": dev.token_types, "lengths": dev.lengths, "labels": dev.labels}
    return {name: np.ascontiguousarray(column[:SENTENCES].numpy()) for name, column in columns.items()}
