"""The chain of stages of a BERT recipe: from a float checkpoint to binary models of one GLUE task.

Full -> half (narrowed and taught by the full one) -> ternary -> split into binary copies -> binary, each taught by the
half one (BinaryBERT; BMT section 3.2); `lutra.recipes.bert.plan_stages` says what comes from what.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lutra.data.glue import EncodedSplit, Task, encode_split, find_task, read_split
from lutra.data.tokenizer import load_tokenizer
from lutra.errors import InputError
from lutra.models.bert import Bert, requantised
from lutra.models.bert_files import find_checkpoint, load_bert
from lutra.recipes.bert import BertRecipe, StagePlan, plan_stages
from lutra.recipes.bert_config import BertConfig
from lutra.runs.claim import claim_run
from lutra.runs.files import RunFiles
from lutra.runs.schemas.training import StageResult
from lutra.runs.typed import read_record
from lutra.train.narrow import measure_importance, narrowed
from lutra.train.session import StopRequest
from lutra.train.split import split_ternary
from lutra.train.stage import Lessons, load_stage, train_stage

log = logging.getLogger("lutra")


@dataclass(frozen=True)
class _Chain:
    """What all stages of a run share."""

    files: RunFiles
    recipe: BertRecipe
    task: Task
    checkpoint: Path
    data: EncodedSplit
    dev: EncodedSplit


def train_chain(files: RunFiles, recipe: BertRecipe, max_minutes: float | None = None) -> dict[str, Any]:
    """Train every stage that is not finished yet, going on where an earlier call stopped.

    Ctrl-C, SIGTERM and `max_minutes` stop after the present iteration with a checkpoint.

    Returns:
        `stopped` (None, "interrupt" or "time limit"), `finished`, and `stages`: the finished ones' results by name.

    Raises:
        RunDirectoryError: the folder belongs to another recipe.
        InputError: data, checkpoint or tokenizer cannot be used.
        TrainingError: a loss or a gradient is not a number; no file is overwritten then.
    """
    claim_run(files, recipe)
    plans = plan_stages(recipe)
    waiting = [plan for plan in plans if not files.stage(plan.name).finished]
    stopped = None
    if waiting:
        torch.set_num_threads(recipe.threads)
        with StopRequest(max_minutes) as stop:
            chain = _open_chain(files, recipe)
            for plan in waiting:
                stopped = _train(chain, plan, plans, stop)
                if stopped:
                    break
    finished = [plan for plan in plans if files.stage(plan.name).finished]
    results = {plan.name: read_record(files.stage(plan.name).result, StageResult, "train") for plan in finished}
    return {"stopped": stopped, "finished": len(finished) == len(plans), "stages": results}


def _open_chain(files: RunFiles, recipe: BertRecipe) -> _Chain:
    task, checkpoint = find_task(recipe.task), find_checkpoint(recipe.checkpoint)
    data = encode_task(recipe, checkpoint, task, recipe.train_split)
    dev = encode_task(recipe, checkpoint, task, task.dev_splits[0])
    log.info("%s: %d training and %d development examples", task.name, len(data.labels), len(dev.labels))
    return _Chain(files, recipe, task, checkpoint, data, dev)


def encode_task(recipe: BertRecipe, checkpoint: Path, task: Task, split: str) -> EncodedSplit:
    """A split of the task as the checkpoint's tokenizer encodes it."""
    return encode_split(read_split(task, split), load_tokenizer(checkpoint), recipe.max_length)


def _train(chain: _Chain, plan: StagePlan, plans: tuple[StagePlan, ...], stop: StopRequest) -> str | None:
    """One stage to its end, or until asked to stop."""
    recipe, stages = chain.recipe, chain.files.stage
    teacher = None if plan.teacher is None else load_stage(stages(plan.teacher))
    how = (recipe.seed, teacher, recipe.teacher_mode, recipe.precision)
    lessons = Lessons(plan.lessons, plan.optimiser, chain.data, chain.dev, *how)
    return train_stage(
        stages(plan.name),
        lessons,
        lambda: _start(chain, plan),
        stop,
        title=f"{chain.task.name} {plan.name}",
        recipe_hash=recipe.content_hash(),
        keep_latent=any(plan.name in (other.start, other.teacher) for other in plans),
    )


def _start(chain: _Chain, plan: StagePlan) -> Bert:
    """The model that a stage starts from."""
    if plan.start is None:
        return _load_base(chain)
    source = load_stage(chain.files.stage(plan.start))
    if plan.origin == "narrow":
        fraction = chain.recipe.width_fraction
        heads = max(1, round(fraction * source.config.heads))
        neurons = max(1, round(fraction * source.config.intermediate))
        log.info("%s: ranking heads and neurons on the training data", plan.name)
        return narrowed(source, heads, neurons, measure_importance(source, chain.data))
    changes = {"quantisation": plan.quantisation, "activation": chain.recipe.activation}
    config = source.config.model_copy(update=changes)
    return split_ternary(source, config) if plan.origin == "split" else requantised(source, config)


def _load_base(chain: _Chain) -> Bert:
    recipe = chain.recipe
    model = load_bert(chain.checkpoint, chain.task.outputs, recipe.seed)
    _check_fit(model.config, chain)
    _check_weights(model, recipe)
    return requantised(model, model.config.model_copy(update={"dropout": recipe.dropout}))


def _check_fit(config: BertConfig, chain: _Chain) -> None:
    """Whether the checkpoint can read what its tokenizer writes.

    Raises:
        InputError: a quantised checkpoint, too few positions or token types, or a larger vocabulary in the tokenizer.
    """
    where = chain.recipe.checkpoint
    if config.quantisation.method != "full":
        raise InputError(f"{where}: a chain starts from a float BERT, this one is {config.quantisation.method}")
    tokens = load_tokenizer(chain.checkpoint).get_vocab_size()
    if tokens > config.vocabulary:
        raise InputError(
            f"{where}: the tokenizer has {tokens} tokens, the model {config.vocabulary}; give files that fit each other"
        )
    longest = max(chain.data.tokens.shape[1], chain.dev.tokens.shape[1])
    if longest > config.positions:
        raise InputError(f"{where}: the model has {config.positions} positions, max_length asks for {longest}")
    if len(chain.task.columns) > config.token_types:
        raise InputError(f"{where}: the model has one token type, {chain.task.name} needs two")


def _check_weights(model: Bert, recipe: BertRecipe) -> None:
    """Refuse at once what training or a split would refuse after hours.

    Raises:
        InputError: a weight that is no number; a matrix, or a row of the word embedding, of zeros.
    """
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise InputError(f"{recipe.checkpoint}: {name} holds values that are no numbers; fetch it again")
        if weight.dim() == 2:
            rows = weight if name == "embeddings.word.weight" else weight.reshape(1, -1)
            empty = (rows == 0).all(dim=1)
            if empty.any():
                where = f"{name}, row {int(empty.nonzero()[0])}," if len(rows) > 1 else name
                raise InputError(
                    f"{recipe.checkpoint}: {where} is all zeros: no scale to quantise with; use another checkpoint"
                )
