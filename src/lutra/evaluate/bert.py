"""Scores of BERTs on development sets: every method's stored model, beside the golden model of its frozen form."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lutra.data.glue import EncodedSplit, find_task, metrics
from lutra.evaluate.robustness import measure_frozen_robustness, measure_robustness
from lutra.frozen.bert import FrozenBert, has_frozen_form
from lutra.models.bert import Bert
from lutra.models.bert_files import find_checkpoint
from lutra.recipes.bert import BertRecipe, plan_stages
from lutra.runs.files import RunFiles
from lutra.runs.schemas.training import StageResult
from lutra.runs.typed import read_record, write_evidence
from lutra.runtime.bert.engine import BertRuntime, GoldenBert, bert_runtime
from lutra.train.chain import encode_task
from lutra.train.distill import evaluate, sorted_logits
from lutra.train.stage import load_stage

log = logging.getLogger("lutra")


def evaluate_chain(
    files: RunFiles, recipe: BertRecipe, robustness: bool = False, engine: Literal["golden", "runtime"] = "golden"
) -> dict[str, Any]:
    """Write `evaluate.json`: metrics of every method's stored model on the development sets, in points.

    A method with a frozen form has `golden` too: its metrics on the first development set, how many predicted classes
    differ from the float model's, and the median and the largest difference of a logit: the same numbers by the golden
    model itself or, with `engine` "runtime", by the compiled kernels. With `robustness` also R of BMT section 5.2, on
    the same set: of the kernels, with that engine, for every method that they have, else of the float model.

    Raises:
        RunDirectoryError: a method has not been trained to its end.
        FrozenModelError: a frozen model is missing or damaged.
        InputError: data or tokenizer cannot be used.
    """
    torch.set_num_threads(recipe.threads)
    task, checkpoint = find_task(recipe.task), find_checkpoint(recipe.checkpoint)
    splits = dev_splits(recipe)
    methods = {}
    for plan in plan_stages(recipe):
        stage = files.stage(plan.name)
        trained = read_record(stage.result, StageResult, "train")
        model = load_stage(stage)
        methods[plan.name] = {
            "dev": {name: evaluate(model, split) for name, split in splits.items()},
            **{key: trained[key] for key in ("start_score", "best_score", "last_score", "seconds", "bert")},
            "start": plan.start,
            "file_bytes": stage.best_checkpoint.stat().st_size,
        }
        log.info("%s: dev %.2f", plan.name, methods[plan.name]["dev"][task.dev_splits[0]][task.metric])
        dev, frozen = splits[task.dev_splits[0]], None
        if has_frozen_form(model.config):
            frozen = _engine(files.frozen / plan.name, engine, recipe.threads)
            golden = _golden(model, frozen, files.frozen / plan.name, dev)
            methods[plan.name]["golden"] = golden
            score = golden["metrics"][task.metric]
            log.info("%s: dev %.2f with the golden model of its frozen form", plan.name, score)
        if robustness:
            methods[plan.name]["robustness"] = _robustness(model, frozen if engine == "runtime" else None, dev)
    result = {
        "task": task.name,
        "metric": task.metric,
        "dev_split": task.dev_splits[0],
        "dev_examples": {name: len(split.labels) for name, split in splits.items()},
        "checkpoint": {"name": recipe.checkpoint, "sha256": _sha256(checkpoint / "model.safetensors")},
        "engine": engine,
        "methods": methods,
    }
    write_evidence(files, recipe, "evaluate", result)
    return result


def dev_splits(recipe: BertRecipe) -> dict[str, EncodedSplit]:
    """The development sets of the recipe's task, by name.

    Raises:
        InputError: data or tokenizer cannot be used.
    """
    task, checkpoint = find_task(recipe.task), find_checkpoint(recipe.checkpoint)
    return {name: encode_task(recipe, checkpoint, task, name) for name in task.dev_splits}


def _engine(folder: Path, engine: str, threads: int) -> BertRuntime | GoldenBert:
    frozen = FrozenBert.load(folder)
    return bert_runtime(frozen, threads) if engine == "runtime" else GoldenBert(frozen)


def _golden(model: Bert, frozen: BertRuntime | GoldenBert, folder: Path, dev: EncodedSplit) -> dict[str, Any]:
    golden = sorted_logits(
        dev, lambda batch: torch.from_numpy(frozen.logits(batch[0].numpy(), batch[1].numpy(), batch[2].numpy()))
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


def _robustness(model: Bert, frozen: BertRuntime | GoldenBert | None, dev: EncodedSplit) -> dict[str, Any]:
    if frozen is not None:
        return measure_frozen_robustness(frozen, dev).to_json()
    measured = measure_robustness(model, model.embeddings, lambda: evaluate(model, dev)[dev.task.metric])
    return measured.to_json()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
