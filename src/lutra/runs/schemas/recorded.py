"""The record of results: one file per recipe name, or per task and seed of BERTs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lutra.names import FileName, Name
from lutra.runs.schemas.conversion import Fit, Source
from lutra.runs.schemas.costs import Cost
from lutra.runs.schemas.evaluation import (
    Checkpoint,
    ConvertEvaluation,
    Golden,
    LanguageEvaluation,
    Robustness,
    VisionEvaluation,
)
from lutra.runs.schemas.simulation import BatTotals, BlockSimulation
from lutra.runs.schemas.synthesis import Synthesis
from lutra.runs.schemas.values import Amount, Count, Hash, Message, Positive, Real, Seed, Versioned
from lutra.schema import Strict


class RecordedRecipe(Strict):
    """Which recipe."""

    name: FileName
    seed: Seed
    hash: Hash
    settings: Hash | None = None
    iterations: Positive | None = None


class RecordedStep(Strict):
    """When a step ran, how long, and with which versions."""

    seconds: Amount
    ended: Message
    environment: dict[Name, Message]


class _Entry(Strict):
    recipe: RecordedRecipe
    recorded: Message
    frozen_hash: Hash | None = None
    steps: dict[Name, RecordedStep] = Field(default_factory=dict)
    simulate: BlockSimulation | None = None
    synth: Synthesis | None = None
    cost: Cost | None = None


class LanguageEntry(_Entry):
    """A run of a language model."""

    evaluate: LanguageEvaluation | None = None


class VisionEntry(_Entry):
    """A run of a vision model."""

    evaluate: VisionEvaluation | None = None


class ConvertEntry(_Entry):
    """A conversion."""

    source: Source | None = None
    fit: Fit | None = None
    evaluate: ConvertEvaluation | None = None


class RecordedMethod(Strict):
    """One method of a chain."""

    score: Real
    size_mib: Amount
    gflops: Amount
    dev: dict[Name, dict[Name, Real]]
    start_score: Real = 0.0
    best_score: Real = 0.0
    last_score: Real = 0.0
    seconds: Amount = 0.0
    start: FileName | None = None
    file_bytes: Count = 0
    golden: Golden | None = None
    robustness: Robustness | None = None


class BertEntry(Strict):
    """A run of BERTs."""

    recipe: RecordedRecipe
    recorded: Message
    steps: dict[Name, RecordedStep] = Field(default_factory=dict)
    task: Name
    metric: Name
    dev_split: Name
    dev_examples: dict[Name, Positive] = Field(default_factory=dict)
    checkpoint: Checkpoint
    engine: Literal["golden", "runtime"] = "golden"
    methods: dict[FileName, RecordedMethod]
    accelerator: dict[FileName, BatTotals] | None = None

    @model_validator(mode="after")
    def _names_its_settings(self) -> BertEntry:
        if self.recipe.settings is None:
            raise ValueError("recipe.settings is missing")
        for name, method in self.methods.items():
            if self.metric not in method.dev.get(self.dev_split, {}):
                raise ValueError(f"methods.{name} has no {self.metric} on {self.dev_split}")
        return self


class LanguageRecord(Versioned):
    """A file of language models."""

    name: FileName
    results: list[LanguageEntry]


class VisionRecord(Versioned):
    """A file of vision models."""

    name: FileName
    results: list[VisionEntry]


class ConvertRecord(Versioned):
    """A file of conversions."""

    name: FileName
    results: list[ConvertEntry]


class BertRecord(Versioned):
    """A file of BERTs."""

    name: FileName
    results: list[BertEntry]


class LossesInIntegers(Strict):
    """One checkpoint on the whole validation text, in nats per token."""

    recipe: RecordedRecipe
    float: Real
    integers: Real


class IntegersRecord(Versioned):
    """What models lose by being whole in integers, by what stands in the place of the MLPs."""

    name: FileName
    engine: Literal["golden", "runtime"]
    tokens: Positive
    environment: dict[Name, Message]
    models: dict[Literal["weightless", "mlp", "none"], list[LossesInIntegers]]

    @model_validator(mode="after")
    def _has_losses(self) -> IntegersRecord:
        if not all(self.models.values()):
            raise ValueError("a model without losses")
        return self
