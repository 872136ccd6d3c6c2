"""The first step of a frozen model that came from elsewhere: what is there can go to hardware."""

from __future__ import annotations

from typing import Any

from lutra.accelerators.block.simulate import captured_rows
from lutra.errors import FrozenModelError
from lutra.frozen import store
from lutra.frozen.graph import as_weightless
from lutra.recipes.frozen import FrozenRecipe
from lutra.runs.files import RunFiles


def check_run(files: RunFiles, recipe: FrozenRecipe) -> dict[str, Any]:
    """Read the frozen model and its rows and say what they are; writes nothing.

    Raises:
        FrozenModelError: the model is damaged, or an operation of it is no part of a weightless block.
        RunDirectoryError: a block has no rows, or rows of another shape.
    """
    model = store.load(files.frozen)
    if not model.graphs:
        raise FrozenModelError(f"{files.frozen}: holds no weightless blocks, which these steps are for")
    for graph in model.graphs:
        as_weightless(graph)
    rows = captured_rows(files, model, recipe.hardware.rows)
    return {
        "content_hash": store.content_hash(files.frozen),
        "graphs": [graph.name for graph in model.graphs],
        "rows": min(map(len, rows.values())),
    }
