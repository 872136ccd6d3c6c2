"""Trainings that have not reached their end: what they have so far is no result of their recipe."""

from __future__ import annotations

from lutra.recipes.language import Recipe
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.runs.schemas.training import LogLine
from lutra.runs.typed import read_lines


def unfinished_trainings(files: RunFiles, recipe: Recipe | VisionRecipe) -> dict[str, int]:
    """Iterations that the model's training ("ours") and those of baselines (by ffn) had done at their last evaluation,
    of all that have begun and have not reached the recipe's last iteration.

    Raises:
        RunDirectoryError: a log of training is damaged.
    """
    begun: dict[str, RunFiles] = {"ours": files, **{ffn: files.baseline(ffn) for ffn in recipe.baselines}}
    done = {name: _iterations(each) for name, each in begun.items() if each.best_checkpoint.exists()}
    return {name: iterations for name, iterations in done.items() if iterations < recipe.train.iterations}


def _iterations(files: RunFiles) -> int:
    lines = read_lines(files.train_log, LogLine, f"delete {files.root} and train again")
    return lines[-1]["iteration"] if lines else 0
