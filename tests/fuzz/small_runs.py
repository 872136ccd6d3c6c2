"""A run directory of every kind, made by the command line from tiny recipes: where fuzzing and kills begin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lutra.recipes.convert import ConvertRecipe
from lutra.recipes.frozen import FrozenRecipe
from lutra.recipes.sections import Experiment, validate
from lutra.runs.claim import save_recipe

SHORT_LUTRA = (sys.executable, str(Path(__file__).parent / "short_lutra.py"))
HARDWARE = {"fold_factors": (1,), "synthesise_fold_factors": (1,), "rows": 16}


def _language(folder: Path) -> Experiment:
    from tiny_training import tiny_recipe

    recipe = tiny_recipe("weightless")
    machine = recipe.machine.model_copy(update={"size": 2, "characters": 4})
    return recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update=HARDWARE), "machine": machine})


def _vision(folder: Path) -> Experiment:
    from tiny_images import tiny_vision_recipe, write_image_files

    recipe = tiny_vision_recipe(write_image_files(folder / "images"), "weightless")
    return recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update=HARDWARE)})


def _bert(folder: Path) -> Experiment:
    from tiny_glue import tiny_recipe, write_checkpoint, write_tsv

    write_tsv(folder / "glue")
    return tiny_recipe(write_checkpoint(folder / "checkpoint"), "full", "bmt-w1a4")


def _convert(folder: Path) -> Experiment:
    from tiny_text import write_model, write_text

    return validate(
        ConvertRecipe,
        {
            "kind": "convert",
            "name": "tiny-convert",
            "source": {"model": str(write_model(folder / "model"))},
            "data": {"text": str(write_text(folder / "text.txt")), "tokens": 12, "batch": 8, "held_out": 24},
            "block": {"groups": 2, "thermometer_bits": 3},
            "fit": {"texts": 64, "local_steps": 0},
            "heal": {"steps": 4},
            "hardware": {key: list(value) if isinstance(value, tuple) else value for key, value in HARDWARE.items()},
        },
        "test",
    )


def _frozen(folder: Path) -> Experiment:
    import numpy as np

    from frozen_blocks import random_rows
    from lutra.frozen.folder import save_frozen
    from lutra.frozen.graph import FrozenModel
    from lutra.frozen.random_block import random_block

    rng = np.random.default_rng(0)
    graph = random_block(rng, width=6, luts=(10,), inputs=(4,), name="mlp")
    save_frozen(FrozenModel((graph,)), folder / "run", {"mlp": random_rows(rng, graph, 16)})
    tree = {"kind": "frozen", "name": "tiny-frozen", "dense": {"hidden": 24, "heads": 2}}
    hardware = {key: list(value) if isinstance(value, tuple) else value for key, value in HARDWARE.items()}
    return validate(FrozenRecipe, {**tree, "hardware": hardware}, "test")


RECIPES: dict[str, Callable[[Path], Experiment]] = {
    "language": _language,
    "vision": _vision,
    "bert": _bert,
    "convert": _convert,
    "frozen": _frozen,
}


def write_recipe(kind: str, folder: Path) -> Path:
    """Data and recipe of a small run in `folder`; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    save_recipe(RECIPES[kind](folder), folder / "small.toml")
    return folder / "small.toml"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """For commands on small runs in `folder`."""
    return {**os.environ, "LUTRA_GLUE": str(folder / "glue"), "HF_HUB_OFFLINE": "1", **more}


def make_run(kind: str, folder: Path, *options: str) -> Path:
    """A finished run of a kind in `folder`/run, unless it is there.

    Raises:
        RuntimeError: the command line failed.
    """
    run = folder / "run"
    if not (run / "report.html").exists():
        recipe = write_recipe(kind, folder)
        command = [*SHORT_LUTRA, "run", str(recipe), "--out", str(run), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(folder))
        if done.returncode:
            raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
        json.loads(done.stdout)
    return run
