"""`evaluate.json`, by kind of run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lutra.names import FileName, Name
from lutra.recipes.bert_config import BertConfig
from lutra.runs.schemas.values import Amount, Count, Hash, Message, Positive, Real, Share, Versioned
from lutra.schema import Strict

Arithmetic = Literal["golden", "runtime", "rtl", "fake_quantised", "float"]
Baseline = Literal["mlp", "none"]


class LanguageEvaluation(Versioned):
    """Losses in nats per token."""

    frozen_hash: Hash | None = None
    validation_loss: dict[Arithmetic, Real]
    baselines: dict[Baseline, Real] = Field(default_factory=dict)
    frozen_baselines: dict[Baseline, Real] = Field(default_factory=dict)
    recovery: Real | None = None
    unfinished: dict[Literal["ours", "mlp", "none"], Count] = Field(default_factory=dict)
    tokens: Positive = 1
    engine: Literal["golden", "runtime", "torch"] = "golden"

    @model_validator(mode="after")
    def _has_the_float_loss(self) -> LanguageEvaluation:
        if "float" not in self.validation_loss:
            raise ValueError("validation_loss lacks float")
        return self


class Accuracies(Strict):
    """Shares of the test images."""

    ours: dict[Arithmetic, Share]
    baselines: dict[Baseline, Share]
    frozen_baselines: dict[Baseline, Share]


class VisionEvaluation(Versioned):
    """Losses in nats per image, and accuracies."""

    frozen_hash: Hash | None = None
    validation_loss: dict[Arithmetic, Real]
    baselines: dict[Baseline, Real]
    frozen_baselines: dict[Baseline, Real]
    accuracy: Accuracies
    recovery: Real | None
    unfinished: dict[Literal["ours", "mlp", "none"], Count] = Field(default_factory=dict)
    images: Positive
    engine: Literal["golden", "runtime", "torch"]

    @model_validator(mode="after")
    def _has_the_float_loss(self) -> VisionEvaluation:
        if "float" not in self.validation_loss or "float" not in self.accuracy.ours:
            raise ValueError("validation_loss or accuracy.ours lacks float")
        return self


class Golden(Strict):
    """A method's golden model on the first development set."""

    metrics: dict[Name, Real]
    classes_unlike_float: Count | None
    median_logit_difference: Amount
    largest_logit_difference: Amount
    file_bytes: Count


class Robustness(Strict):
    """R of BMT section 5.2."""

    ratio: Real | Literal["infinite"]
    clean: Real
    noisy: list[Real] = Field(min_length=1)
    engine: Literal["torch", "runtime"] = "torch"


class Method(Strict):
    """One stage of a chain; scores in points."""

    dev: dict[Name, dict[Name, Real]]
    start_score: Real
    best_score: Real
    last_score: Real
    seconds: Amount
    bert: BertConfig
    start: FileName | None
    file_bytes: Count
    golden: Golden | None = None
    robustness: Robustness | None = None


class Checkpoint(Strict):
    """What a chain started from."""

    name: Message
    sha256: Hash


class BertEvaluation(Versioned):
    """Scores of every method in points."""

    task: Name
    metric: Name
    dev_split: Name
    dev_examples: dict[Name, Positive]
    checkpoint: Checkpoint
    engine: Literal["golden", "runtime"] = "golden"
    methods: dict[FileName, Method]

    @model_validator(mode="after")
    def _has_the_metric(self) -> BertEvaluation:
        for name, method in self.methods.items():
            if self.metric not in method.dev.get(self.dev_split, {}):
                raise ValueError(f"methods.{name} has no {self.metric} on {self.dev_split}")
            if method.golden is not None and self.metric not in method.golden.metrics:
                raise ValueError(f"methods.{name}.golden has no {self.metric}")
        return self


class Embeddings(Strict):
    """Nearness of sentence embeddings to the original's."""

    cosine: Real
    spearman: Real


class Divergence(Strict):
    """Distance of the logits from the original's, in nats."""

    divergence: Real


Score = Embeddings | Divergence


class ConvertScores(Strict):
    """Of the healed model in every arithmetic."""

    fake_quantised: Score
    float: Score
    golden: Score


class ConvertBaselines(Strict):
    """Of the model without feed-forward parts."""

    none_untouched: Score
    none: Score | None = None


class ConvertEvaluation(Versioned):
    """Nearness of a converted model to the original."""

    frozen_hash: Hash
    scores: ConvertScores
    baselines: ConvertBaselines
    recovery: Real | None
    held_out_texts: Count
    engine: Literal["golden"]

    @model_validator(mode="after")
    def _compares_the_same(self) -> ConvertEvaluation:
        every = (*dict(self.scores).values(), *dict(self.baselines).values())
        if len({type(score) for score in every if score is not None}) > 1:
            raise ValueError("scores of different kinds cannot be compared")
        return self
