"""`explore.json`, and its copy in the record."""

from __future__ import annotations

from pydantic import Field, model_validator

from lutra.names import FileName, Name
from lutra.runs.schemas.evaluation import Arithmetic, Baseline
from lutra.runs.schemas.values import Amount, Message, Positive, Real, Seed, Versioned
from lutra.schema import Strict


class Costs(Strict):
    """What the blocks of a model hold and do for one token together, or the mean over runs."""

    thermometer_bits: Amount
    comparators: Amount
    distinct_comparators: Amount
    luts: Amount
    additions_per_token: Amount
    table_bytes: Amount
    encoded_bytes: Amount


class Spread(Strict):
    """Of values over seeds."""

    mean: Real
    standard_deviation: Amount | None
    min: Real
    max: Real
    count: Positive


class VariantSummary(Strict):
    """One variant over its seeds."""

    variant: FileName
    group: Message | None = None
    marked: bool = False
    seeds: list[Seed] = Field(default_factory=list)
    failed_seeds: list[Seed] = Field(default_factory=list)
    recovery: Spread | None = None
    loss: Spread | None
    last_loss: Spread | None = None
    validation_loss: dict[Arithmetic, Spread] = Field(default_factory=dict)
    cost: Costs | None = None
    training_seconds: Amount | None = None
    pareto: bool = False


class _Run(Strict):
    seed: Seed
    run: Message
    error: Message | None
    validation_loss: dict[Arithmetic, Real] = Field(default_factory=dict)
    cost: Costs | None = None
    last_validation_loss: Real | None = None
    training_seconds: Amount | None = None

    @model_validator(mode="after")
    def _has_a_loss_where_it_ended_well(self) -> _Run:
        if self.error is None and "float" not in self.validation_loss:
            raise ValueError("validation_loss.float is missing where there was no error")
        return self


class BaselineRun(_Run):
    """One training of a baseline."""

    ffn: Baseline
    used: bool


class VariantRun(_Run):
    """One training of a variant."""

    stage: Positive
    variant: FileName
    baselines: dict[Baseline, Message]
    recovery: Real | None = None


class Selection(Strict):
    """Which variants a stage let go on."""

    stage: Positive
    set: dict[str, object]
    kept: list[FileName]
    dropped: list[FileName]
    variants: list[VariantSummary]


class ExplorationRecord(Versioned):
    """The file. `space` and `base_recipe` have models of their own, which read them."""

    name: FileName
    finished: bool
    space: dict[str, object]
    base_recipe: dict[str, object]
    environment: dict[Name, Message]
    stage: Positive
    variants: list[VariantSummary]
    baselines: list[BaselineRun]
    selections: list[Selection]
    runs: list[VariantRun]
    recorded: Message | None = None

    @model_validator(mode="after")
    def _names_its_stages(self) -> ExplorationRecord:
        if not isinstance(self.space.get("stage"), list):
            raise ValueError("space.stage must be a list")
        return self
