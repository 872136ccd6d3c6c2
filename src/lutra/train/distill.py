"""From a float BERT to a binary one by distillation: ternary, split, binary (BinaryBERT; BMT section 3.2).

Every quantised model is taught twice by the float one: first attention scores and hidden states, then logits. The float
one is a narrowed BERT in the papers (lutra.train.narrow), which learns from the whole one in the lesson "width".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutra.data.glue import Batch, EncodedSplit, Task, metrics
from lutra.errors import InputError, TrainingError
from lutra.models.bert import Bert, BertOutput, requantised
from lutra.recipe import QuantisationConfig
from lutra.train.split import split_ternary

Lesson = Literal["labels", "intermediate", "logits", "width"]
MASKED_BELOW = -100.0
"""Attention scores up to this are padding and count as 0 in the loss (BinaryBERT)."""

_log = logging.getLogger("lutra")


@dataclass(frozen=True)
class Stage:
    """One pass of optimisation: warm-up over the first tenth, then linear decay to 0; defaults are BinaryBERT's."""

    learning_rate: float
    iterations: int
    batch: int = 16
    step_learning_rate: float = 1e-4
    """Of quantiser steps and column scales, which do not decay."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of each parameter's gradient by itself."""
    evaluate_every: int = 100
    seed: int = 42


@dataclass(frozen=True)
class Trained:
    """A model with the weights that scored best on the development set, in evaluation mode."""

    model: Bert
    score: float
    """The task's metric in points."""
    losses: tuple[float, ...]
    """Training loss of every iteration."""


def evaluate(model: Bert, data: EncodedSplit, batch: int = 64) -> dict[str, float]:
    """Metrics of the whole split, in points; the model is left in the mode it was in."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = [model(*to_device_of(model, each)[:3]).logits.cpu() for each in data.batches(batch)]
    model.train(was_training)
    return metrics(data.task, torch.cat(logits), data.labels)


def label_loss(task: Task, logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, or the squared error of a regression."""
    return F.cross_entropy(logits, labels) if task.labels else F.mse_loss(logits[:, 0], labels)


def intermediate_loss(student: BertOutput, teacher: BertOutput) -> Tensor:
    """Mean squared errors of attention scores before the softmax and of hidden states, summed over layers.

    Raises:
        InputError: the two differ in layers, heads or width.
    """
    if [x.shape for x in student.hidden + student.scores] != [x.shape for x in teacher.hidden + teacher.scores]:
        raise InputError("student and teacher differ in layers, heads or width; the teacher needs the student's shape")
    hidden = [F.mse_loss(mine, other) for mine, other in zip(student.hidden, teacher.hidden, strict=True)]
    scores = [
        F.mse_loss(mine.where(mine > MASKED_BELOW, 0.0), other.where(other > MASKED_BELOW, 0.0))
        for mine, other in zip(student.scores, teacher.scores, strict=True)
    ]
    return torch.stack(hidden + scores).sum()


def width_loss(task: Task, student: BertOutput, teacher: BertOutput) -> Tensor:
    """What a narrow student learns from a wide teacher: logits, and a tenth of the hidden states' errors (DynaBERT)."""
    hidden = [F.mse_loss(mine, other) for mine, other in zip(student.hidden, teacher.hidden, strict=True)]
    return logit_loss(task, student.logits, teacher.logits) + 0.1 * torch.stack(hidden).sum()


def logit_loss(task: Task, student: Tensor, teacher: Tensor) -> Tensor:
    """Soft cross-entropy at temperature 1, averaged over examples and classes; squared error for a regression.

    BinaryBERT and BiT take the cross-entropy for the one output of a regression too, where it is always 0.
    """
    if not task.labels:
        return F.mse_loss(student, teacher)
    return -(teacher.softmax(dim=1) * student.log_softmax(dim=1)).mean()


def train(
    model: Bert,
    data: EncodedSplit,
    dev: EncodedSplit,
    stage: Stage,
    lesson: Lesson = "labels",
    teacher: Bert | None = None,
) -> Trained:
    """Train `model` in place on one lesson: the labels, or what the `teacher` (in evaluation mode) makes of the data.

    Raises:
        InputError: a lesson that needs a teacher has none, or one of another shape.
        TrainingError: the loss is not a number.
    """
    if (teacher is None) != (lesson == "labels"):
        raise InputError(f"the lesson {lesson!r} {'needs' if teacher is None else 'has no use for'} a teacher")
    loss_of = _loss_of(model, lesson, teacher)
    _calibrate(model, data, stage)
    optimiser, schedule = _optimiser(model, stage)
    best_score, best, losses = -float("inf"), {}, []
    model.train()
    for iteration in range(stage.iterations):
        batch = to_device_of(model, data.training_batch(stage.seed, iteration, stage.batch))
        loss = loss_of(batch, data.task)
        if not loss.isfinite():
            raise TrainingError(f"the loss is not a number at iteration {iteration}; lower the learning rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.grad is not None:
                nn.utils.clip_grad_norm_(parameter, stage.clip)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        done = iteration + 1
        if done % stage.evaluate_every == 0 or done == stage.iterations:
            score = evaluate(model, dev)[data.task.metric]
            _log.info("%s, %s: iteration %d, loss %.4f, dev %.2f", data.task.name, lesson, done, losses[-1], score)
            if score > best_score:
                best_score, best = score, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best)
    return Trained(model.eval(), best_score, tuple(losses))


def distil(
    student: Bert, teacher: Bert, data: EncodedSplit, dev: EncodedSplit, intermediate: Stage, logits: Stage
) -> Trained:
    """The two lessons one after the other; the second starts from the first one's best (BinaryBERT)."""
    train(student, data, dev, intermediate, "intermediate", teacher)
    return train(student, data, dev, logits, "logits", teacher)


@dataclass(frozen=True)
class Chain:
    """What `binarise` made on its way; `split_score` is the binary model's before any training of its own."""

    ternary: Trained
    split_score: float
    binary: Trained


def binarise(
    teacher: Bert,
    quantisation: QuantisationConfig,
    data: EncodedSplit,
    dev: EncodedSplit,
    ternary_stage: Stage,
    binary_stage: Stage,
    activation: Literal["relu", "gelu"] = "relu",
) -> Chain:
    """Teach a ternary model, split it, and teach the binary one; all of the float `teacher`'s shape.

    `quantisation` is that of the binary model, of method "binary" or "bmt". The intermediate lessons run at 2.5 times
    the learning rate that the stages give, the logits at that rate.

    Raises:
        InputError: `quantisation` has no halves, or its activations are too few bits for LSQ's ternary model.
    """
    if quantisation.halves != 2 or quantisation.activation_bits == 1:
        raise InputError('only methods "binary" and "bmt" from 2-bit activations on start from a ternary model')
    bits = quantisation.activation_bits
    ternary_quantisation = QuantisationConfig.model_validate({"method": "ternary", "activation_bits": bits})
    shape = teacher.config.model_copy(update={"activation": activation, "quantisation": ternary_quantisation})
    ternary = distil(requantised(teacher, shape), teacher, data, dev, _hotter(ternary_stage), ternary_stage)
    split = split_ternary(ternary.model, shape.model_copy(update={"quantisation": quantisation}))
    split_score = evaluate(split, dev)[data.task.metric]
    return Chain(ternary, split_score, distil(split, teacher, data, dev, _hotter(binary_stage), binary_stage))


def _hotter(stage: Stage) -> Stage:
    return replace(stage, learning_rate=2.5 * stage.learning_rate)


def _loss_of(model: Bert, lesson: Lesson, teacher: Bert | None) -> Callable[[Batch, Task], Tensor]:
    if teacher is None:
        return lambda batch, task: label_loss(task, model(*batch[:3]).logits, batch.labels)
    teacher.eval()

    def loss(batch: Batch, task: Task) -> Tensor:
        with torch.no_grad():
            wanted = teacher(*batch[:3])
        got = model(*batch[:3])
        match lesson:
            case "intermediate":
                return intermediate_loss(got, wanted)
            case "width":
                return width_loss(task, got, wanted)
            case _:
                return logit_loss(task, got.logits, wanted.logits)

    return loss


def _calibrate(model: Bert, data: EncodedSplit, stage: Stage) -> None:
    """Quantisers take their steps from the first batch, before the optimiser sees them and without dropout."""
    model.eval()
    with torch.no_grad():
        model(*to_device_of(model, data.training_batch(stage.seed, 0, stage.batch))[:3])


def _optimiser(model: Bert, stage: Stage) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    learned = [parameter for group in model.parameter_groups().values() for parameter in group]
    apart = {id(parameter) for parameter in learned}
    ordinary = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in ordinary if parameter.dim() > 1], "weight_decay": stage.weight_decay},
        {"params": [parameter for parameter in ordinary if parameter.dim() == 1]},  # biases and norms
        {"params": learned, "lr": stage.step_learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    # The scripts of BinaryBERT leave Adam's bias correction out; the warm-up makes the difference a small one.
    optimiser = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0)
    warmup = max(1, stage.iterations // 10)

    def shape(iteration: int) -> float:
        return min((iteration + 1) / warmup, (stage.iterations - iteration) / max(1, stage.iterations - warmup + 1))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, shape)


def to_device_of(model: Bert, batch: Batch) -> Batch:
    """The batch where the model is."""
    return Batch(*(part.to(next(model.parameters()).device) for part in batch))
