"""What models of one recipe lose by being whole in integers: the losses of finished runs, seed by seed.

Prints a record:

    python -m lutra.papers.experiments.integers RUN [RUN ...] > src/lutra/papers/recorded/integers/NAME-integers.json

of runs that `lutra run RECIPE --set seed=S --to evaluate` made, or `--to freeze` and then `lutra evaluate RUN --engine
runtime`, which gives the same values sooner.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lutra.errors import InputError, LutraError
from lutra.frozen import store
from lutra.recipes.language import Recipe
from lutra.runs.environment import environment
from lutra.runs.schemas.recorded import IntegersRecord
from lutra.runs.steps import load_run
from lutra.runs.typed import checked, read_evidence


def collect(folders: Sequence[Path]) -> dict[str, Any]:
    """The record of the runs in `folders`.

    Raises:
        InputError: a run that is not a language model's, that differs from the others in more than its seed, that was
            trained in part, or whose evaluation is not of its frozen model.
    """
    names, engines, tokens = set(), set(), set()
    models: dict[str, list[dict[str, Any]]] = {"weightless": [], "mlp": [], "none": []}
    for folder in folders:
        files, recipe = load_run(folder)
        if not isinstance(recipe, Recipe):
            raise InputError(f"{folder}: not a language model's run")
        found = read_evidence(files, recipe, "evaluate")
        engine = found["engine"]
        frozen = store.content_hash(files.frozen) if store.exists(files.frozen) else None
        if engine not in found["validation_loss"] or frozen is None or found.get("frozen_hash") != frozen:
            raise InputError(f"{folder}: its losses are not of its frozen model; run `lutra evaluate {folder}` again")
        if found.get("unfinished"):
            raise InputError(
                f"{folder}: a model was trained in part; run `lutra run {folder / 'recipe.toml'} --out {folder}`"
            )
        source = {"name": recipe.name, "seed": recipe.seed, "hash": recipe.content_hash()}
        losses = found["validation_loss"]
        models["weightless"].append({"recipe": source, "float": losses["float"], "integers": losses[engine]})
        for ffn, loss in found["frozen_baselines"].items():
            models[ffn].append({"recipe": source, "float": found["baselines"][ffn], "integers": loss})
        names.add((recipe.name, recipe.model_copy(update={"seed": 0}).content_hash()))
        engines.add(engine)
        tokens.add(found["tokens"])
    if len(names) != 1 or len(engines) != 1 or len(tokens) != 1:
        raise InputError(
            "a record is of runs of one recipe, one engine and one text, which differ in their seeds alone"
        )
    record = {
        "name": names.pop()[0],
        "engine": engines.pop(),
        "tokens": tokens.pop(),
        "environment": environment(),
        "models": {name: losses for name, losses in models.items() if losses},
    }
    return checked(record, IntegersRecord, folders[0], "record it again")


def main() -> None:
    try:
        print(json.dumps(collect([Path(each) for each in sys.argv[1:]]), indent=1))
    except LutraError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
