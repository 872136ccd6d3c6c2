"""A finished run as Python objects: `lutra.load(RUN)`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.recipes.language import Recipe, load_recipe
from lutra.runs.files import RunFiles

if TYPE_CHECKING:
    from lutra.freeze.engines import EngineName
    from lutra.freeze.whole import FrozenGpt
    from lutra.models.gpt import GPT
    from lutra.runtime.engine import BlockRuntime


class TrainedRun:
    """What a run directory holds; each part is read when asked for, and only `model` and `generate` need PyTorch."""

    def __init__(self, folder: Path) -> None:
        self.files = RunFiles(folder)
        self.recipe: Recipe = load_recipe(self.files.recipe)

    @cached_property
    def frozen(self) -> FrozenModel:
        """The frozen model.

        Raises:
            FrozenModelError: it is missing, changed, or out of range.
        """
        return store.load(self.files.frozen)

    def runtime(self, block: str | None = None, threads: int = 1) -> BlockRuntime:
        """The compiled engine of one frozen block (the first one if not named): int8 (N, D) -> (N, D_out), in the
        narrowest dtype that holds the block's output type (`BlockRuntime.output_dtype`).

        Raises:
            FrozenModelError: there is no such block.
        """
        from lutra.runtime.engine import BlockRuntime

        return BlockRuntime(self.frozen[block] if block else self.frozen.graphs[0], threads)

    def model(self, engine: EngineName = "torch") -> GPT | FrozenGpt:
        """The trained model in evaluation mode: as trained, or frozen and run by "golden" or "runtime".

        Raises:
            CheckpointError, FrozenModelError: something is missing or does not fit.
        """
        from lutra.freeze.engines import load_with_engine

        return load_with_engine(self.files, engine)

    def generate(self, prompt: str, characters: int = 500, engine: EngineName = "runtime") -> str:
        """`prompt` and `characters` more of text.

        Raises:
            InputError: a character that the model does not know.
        """
        from lutra.evaluate.language import generate_from_run

        return generate_from_run(self.files, self.recipe, prompt, characters, engine=engine)


def load(folder: str | Path) -> TrainedRun:
    """Open a run directory.

    Raises:
        RecipeError: it holds no recipe.
    """
    return TrainedRun(Path(folder))
