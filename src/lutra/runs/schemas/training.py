"""What training writes beside its weights: logs, and the results of a BERT's stages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lutra.names import Name
from lutra.recipes.bert_config import BertConfig
from lutra.runs.schemas.values import Amount, Count, Hash, Message, Real, Share, Versioned
from lutra.schema import Strict

LearningRate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Whatever a recipe may ask for, also what no training survives."""


class LogLine(Strict):
    """One evaluation during training (`log.jsonl` of language and vision models); losses in nats."""

    iteration: Count
    train_loss: Real | None = None
    validation_loss: Real
    accuracy: Share | None = None
    quantised: bool = False
    learning_rate: LearningRate = 0.0
    seconds: Amount = 0.0


class StageLogLine(Strict):
    """One evaluation of a BERT's stage; scores in points."""

    lesson: Name
    iteration: Count
    train_loss: Real
    dev: dict[Name, Real]
    learning_rate: LearningRate
    seconds: Amount


class HealingLine(Strict):
    """The mean loss of some healing steps."""

    step: Count
    loss: Real


class Lesson(Strict):
    """The scores of a lesson that is over."""

    lesson: Name
    iterations: Count
    best_score: Real | None
    best_iteration: Count | None
    last_score: Real | None


class StageResult(Versioned):
    """`stages/NAME/result.json`; scores in points."""

    recipe_hash: Hash | None
    metric: Name
    start_score: Real
    best_score: Real
    last_score: Real
    lessons: list[Lesson]
    iterations: Count
    seconds: Amount
    bert: BertConfig
    packed: bool
    environment: dict[Name, Message]
