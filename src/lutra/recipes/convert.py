"""Recipes of kind "convert": an existing text model, what of it becomes blocks, how it is healed; never torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from lutra.limits import ITERATIONS, POSITIONS, ROWS, WIDTH
from lutra.names import Text
from lutra.recipes.language import BlockConfig, HardwareConfig
from lutra.recipes.sections import Experiment, Section


class SourceConfig(Section):
    """What is converted."""

    model: Text = Field(min_length=1)
    """A folder of Hugging Face (config.json, weights, tokenizer) or a hub name."""


class TextConfig(Section):
    """The text that the model is healed on: a file with one text per line."""

    text: Text = Field(min_length=1)
    tokens: int = Field(64, ge=4, le=POSITIONS)
    """Longer texts are cut."""
    batch: int = Field(32, ge=2, le=WIDTH)
    held_out: int = Field(200, ge=4, le=ROWS)
    """Texts, spread over the file, that nothing is fitted or healed on: for the evaluation and the simulation."""


class PlanConfig(Section):
    """Which feed-forward parts are converted (see `lutra plan`)."""

    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()
    minimum_share: float = Field(0.9, ge=0, le=1)
    """Refuse to go on where less than this share of the feed-forward weights would be converted."""


class FitConfig(Section):
    """The start of the blocks, layer by layer."""

    texts: int = Field(2000, ge=2, le=ROWS)
    ridge: float = Field(0.03, gt=0)
    local_steps: int = Field(200, ge=0, le=ITERATIONS)
    massive: bool = True
    """Give tokens with massive results a row of their own."""
    token_tables: bool = False
    """Add a row for the token's id to every block's result: one byte of ROM per id of the vocabulary and output."""
    token_texts: int = Field(20_000, ge=2, le=ROWS)
    """Training texts whose tokens fill the token tables."""


class HealConfig(Section):
    """Training of the whole model towards the original."""

    steps: int = Field(2000, ge=1, le=ITERATIONS)
    learning_rate: float = Field(1e-3, gt=0)
    train_blocks: bool = True
    losses: tuple[Literal["hidden", "embedding", "logits"], ...] = ()
    """Empty: logits where the model has them, else hidden state and embedding."""
    quantise_fraction: float = Field(0.15, ge=0, le=1)
    save_every: int = Field(200, ge=1, le=ITERATIONS)


class ConvertRecipe(Experiment):
    """One conversion: everything that decides its result but the model's weights, whose hash source.json holds."""

    kind: ClassVar[str] = "convert"

    source: SourceConfig
    data: TextConfig
    plan: PlanConfig = PlanConfig()
    block: BlockConfig = BlockConfig(encoded_scale="output")
    fit: FitConfig = FitConfig()
    heal: HealConfig = HealConfig()
    hardware: HardwareConfig = HardwareConfig()
    baseline: bool = True
    """Also heal the model without any feed-forward part, alike: what the blocks must beat."""

    @property
    def has_blocks(self) -> bool:
        return True
