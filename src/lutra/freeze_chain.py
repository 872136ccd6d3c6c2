"""The frozen side of a BERT run: freeze every method that has a frozen form, and score it with the golden model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lutra.data.glue import EncodedSplit, metrics
from lutra.files import RunFiles, write_json
from lutra.freeze_bert import freeze_bert
from lutra.frozen.bert import FrozenBert, has_frozen_form
from lutra.frozen.bert_golden import golden_logits
from lutra.models.bert import Bert
from lutra.recipe_bert import BertRecipe, plan_stages
from lutra.train.chain import dev_splits, evaluate_chain
from lutra.train.distill import sorted_logits
from lutra.train.stage import load_stage

log = logging.getLogger("lutra")


def freeze_chain(files: RunFiles, recipe: BertRecipe) -> dict[str, Any]:
    """Freeze the stored model of every method that has a frozen form into `frozen/METHOD`.

    Returns:
        `frozen`: bytes on the disk by method.

    Raises:
        CheckpointError: a method has not been trained to its end.
        InputError, FrozenModelError: values beyond the range of a half.
    """
    sizes = {}
    for plan in plan_stages(recipe):
        model = load_stage(files.stage(plan.name))
        if has_frozen_form(model.config):
            folder = files.frozen / plan.name
            freeze_bert(model, {"recipe": recipe.content_hash(), "method": plan.name}).save(folder)
            sizes[plan.name] = sum(path.stat().st_size for path in folder.iterdir())
    return {"frozen": sizes}


def evaluate_with_golden(files: RunFiles, recipe: BertRecipe, robustness: bool = False) -> dict[str, Any]:
    """`lutra.train.chain.evaluate_chain`, and what the golden model of every frozen method makes of the same sentences.

    The `golden` of a method holds its metrics on the first development set, how many predicted classes differ from the
    float model's, and the median and the largest difference of a logit.

    Raises:
        RunDirectoryError, InputError: as `evaluate_chain`.
        FrozenModelError: a frozen model is missing or damaged.
    """
    result = evaluate_chain(files, recipe, robustness)
    dev = dev_splits(recipe)[result["dev_split"]]
    for name, method in result["methods"].items():
        model = load_stage(files.stage(name))
        if has_frozen_form(model.config):
            method["golden"] = _golden(model, files.frozen / name, dev)
            score = method["golden"]["metrics"][result["metric"]]
            log.info("%s: dev %.2f with the golden model of its frozen form", name, score)
    write_json(files.evaluate, result)
    return result


def _golden(model: Bert, folder: Path, dev: EncodedSplit) -> dict[str, Any]:
    frozen = FrozenBert.load(folder)
    golden = sorted_logits(
        dev, lambda batch: torch.from_numpy(golden_logits(frozen, *(part.numpy() for part in batch)))
    )
    with torch.no_grad():
        exact = sorted_logits(dev, lambda batch: model(*batch).logits)
    difference = (golden - exact).abs().numpy()
    return {
        "metrics": metrics(dev.task, golden, dev.labels),
        "classes_unlike_float": int((golden.argmax(dim=1) != exact.argmax(dim=1)).sum()) if dev.task.labels else None,
        "median_logit_difference": float(np.median(difference)),
        "largest_logit_difference": float(difference.max()),
        "file_bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
