"""A run directory belongs to one recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lutra.errors import RunDirectoryError
from lutra.recipes.sections import Experiment, read_toml, validate
from lutra.runs.files import RunFiles, write_text


def save_recipe(recipe: Experiment, path: Path) -> None:
    """Write the recipe with every value spelled out; read back it is equal."""
    write_text(path, recipe.to_toml())


def claim_run(files: RunFiles, recipe: Experiment) -> None:
    """Write the recipe into a fresh run directory, or make sure that the one there is the same.

    Raises:
        RunDirectoryError: it is another one; the message names the first key that differs.
    """
    if not files.recipe.exists():
        save_recipe(recipe, files.recipe)
        return
    there, here = read_toml(files.recipe), recipe.model_dump(mode="json")
    if there.get("kind", "language") == recipe.kind:
        there = validate(type(recipe), there, str(files.recipe)).model_dump(mode="json")
        difference = _first_difference(there, here, "")
    else:
        difference = "of another kind"
    if difference:
        raise RunDirectoryError(f"{files.root}: belongs to another recipe, {difference}; choose another folder (--out)")


def _first_difference(there: Any, here: Any, key: str) -> str | None:
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        parts = (_first_difference(there[part], here[part], f"{key}.{part}".lstrip(".")) for part in there)
        return next(filter(None, parts), None)
    return None if there == here else f"{key} is {json.dumps(there)} there and {json.dumps(here)} here"
