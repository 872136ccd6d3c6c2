"""What a BERT learns: from labels, or from another one by distillation (DynaBERT, BinaryBERT, BiT).

Every split model is taught twice by the narrowed float one: first attention scores and hidden states ("intermediate"),
then logits. The narrowed model learns from the whole one in the lesson "width", a BiT hidden states and logits at once
("joint").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lutra.data.glue import Batch, EncodedSplit, Task, metrics
from lutra.errors import InputError
from lutra.kernels.loss import squared_error
from lutra.models.bert import Bert, BertOutput
from lutra.recipes.bert import LessonKind

MASKED_BELOW = -100.0
"""Attention scores below this are padding and count as 0 in the loss (BinaryBERT)."""


def evaluate(model: Bert, data: EncodedSplit) -> dict[str, float]:
    """Metrics of the whole split, in points; the model is left in the mode it was in."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = sorted_logits(data, lambda inputs: model(*(part.to(device) for part in inputs)).logits)
    model.train(was_training)
    return metrics(data.task, logits, data.labels)


def sorted_logits(data: EncodedSplit, logits_of: Callable[[tuple[Tensor, ...]], Tensor], batch: int = 64) -> Tensor:
    """Logits (N, outputs) of the whole split; examples of about the same length come together, which saves padding.

    `logits_of` takes tokens, token types and mask of a batch, (B, T) each.
    """
    logits = torch.empty(len(data.labels), data.task.outputs)
    for index in data.lengths.argsort(stable=True).split(batch):
        logits[index] = logits_of(data.batch(index)[:3]).cpu().float()
    return logits


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
    scores = [
        squared_error(mine, other, MASKED_BELOW) for mine, other in zip(student.scores, teacher.scores, strict=True)
    ]
    return hidden_loss(student, teacher) + torch.stack(scores).sum()


def hidden_loss(student: BertOutput, teacher: BertOutput) -> Tensor:
    """Mean squared errors of hidden states, summed over the embeddings' output and all layers."""
    errors = [squared_error(mine, other) for mine, other in zip(student.hidden, teacher.hidden, strict=True)]
    return torch.stack(errors).sum()


def logit_loss(task: Task, student: Tensor, teacher: Tensor) -> Tensor:
    """Soft cross-entropy at temperature 1, averaged over examples and classes; squared error for a regression.

    BinaryBERT and BiT take the cross-entropy for the one output of a regression too, where it is always 0.
    """
    if not task.labels:
        return F.mse_loss(student, teacher)
    return -(teacher.softmax(dim=1) * student.log_softmax(dim=1)).mean()


def lesson_loss(
    model: Bert, kind: LessonKind, teacher: Bert | None, teacher_mode: Literal["eval", "train"] = "eval"
) -> Callable[[Batch, Task], Tensor]:
    """The loss of `model` on a batch; "width" and "joint" add up both losses, "width" a tenth of the hidden states'.

    Raises:
        InputError: a lesson that needs a teacher has none, or labels have one.
    """
    if (teacher is None) != (kind == "labels"):
        raise InputError(f"the lesson {kind!r} {'needs' if teacher is None else 'has no use for'} a teacher")
    if teacher is None:
        return lambda batch, task: label_loss(task, model(*batch[:3]).logits, batch.labels)
    teacher.train(teacher_mode == "train")

    def loss(batch: Batch, task: Task) -> Tensor:
        with torch.no_grad():
            wanted = teacher(*batch[:3])
        got = model(*batch[:3])
        match kind:
            case "intermediate":
                return intermediate_loss(got, wanted)
            case "width":
                return logit_loss(task, got.logits, wanted.logits) + 0.1 * hidden_loss(got, wanted)
            case "joint":
                return logit_loss(task, got.logits, wanted.logits) + hidden_loss(got, wanted)
            case _:
                return logit_loss(task, got.logits, wanted.logits)

    return loss


def to_device_of(model: Bert, batch: Batch) -> Batch:
    """The batch where the model is."""
    return Batch(*(part.to(next(model.parameters()).device) for part in batch))
