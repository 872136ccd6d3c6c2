"""The models of a run that its machine runs: its own, and beside it the baseline with the dense MLP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lutra.accelerators.transformer import emit
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.runs import machine_image
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import store
from lutra.recipes.language import Recipe
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles


@dataclass(frozen=True, eq=False)
class Variant:
    """A model on the machine that the run's recipe asks for, with memories of its own sizes."""

    name: Literal["model", "mlp"]
    frozen_hash: str
    image: Image

    @cached_property
    def design_hash(self) -> str:
        """Of its SystemVerilog."""
        return emit.transformer_design(self.image.config, self.image.blocks).content_hash


def variants_of(files: RunFiles, recipe: Recipe | VisionRecipe) -> tuple[list[Variant], list[dict[str, str]]]:
    """The run's model, and its baseline with the dense MLP where there is one; what is left out, with the reason.

    Raises:
        FrozenModelError: the run's frozen model is missing, changed, or not frozen whole.
        InputError: a size out of range, or an operation that the machine does not have.
    """
    found = [_variant("model", files, recipe)]
    if not recipe.has_blocks:
        return found, []
    baseline = files.baseline("mlp")
    if not baseline.frozen.exists():
        return found, [{"target": "dense MLP", "reason": "the recipe has no baseline mlp, or it is not frozen"}]
    try:
        found.append(_variant("mlp", baseline, recipe))
    except (FrozenModelError, InputError) as error:
        return found, [{"target": "dense MLP", "reason": str(error)}]
    return found, []


def _variant(name: Literal["model", "mlp"], files: RunFiles, recipe: Recipe | VisionRecipe) -> Variant:
    program = store.load(files.frozen).require_whole()
    image = machine_image(program, recipe.machine, recipe.hardware.dataflow)
    return Variant(name, store.content_hash(files.frozen), image)
