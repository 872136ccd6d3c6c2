"""Recipes of kind "frozen": frozen blocks of any origin, and rows for them, go to hardware; never torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lutra.limits import HEADS, POSITIONS, WIDTH
from lutra.names import file_name_of
from lutra.recipes.language import HardwareConfig
from lutra.recipes.sections import Experiment, Section


class DenseConfig(Section):
    """The dense layer whose feed-forward part each block replaces; a frozen model does not say it."""

    hidden: int = Field(ge=1, le=WIDTH)
    heads: int = Field(ge=1, le=HEADS)
    gated: bool = False


class FrozenRecipe(Experiment):
    """What is made of a frozen model; the model itself lies in the run directory."""

    kind: ClassVar[str] = "frozen"

    tokens: int = Field(128, ge=1, le=POSITIONS)
    """Rows of the sequence that costs are counted for."""
    dense: DenseConfig | None = None
    """Without it costs are those of the blocks alone, beside nothing."""
    hardware: HardwareConfig = HardwareConfig()

    @property
    def has_blocks(self) -> bool:
        return True


def recipe_of_folder(root: Path) -> FrozenRecipe:
    """The recipe of a folder that holds a frozen model and nothing else of a run."""
    return FrozenRecipe(name=file_name_of(root.resolve().name, "model"))
