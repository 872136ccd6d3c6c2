"""Stands in for `python -m lutra run`: writes at once what a finished run holds, without training.

The loss is a function of the recipe: 2 without MLP, 1 with one, 1 + |window - 0.5| + seed / 100 with a block. A window
of 13 fails; with a window of 77 the process waits until the file `go` is beside the space's file. Every start adds a
line to the file that $LUTRA_TEST_STARTS names.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from lutra.recipes.language import load_recipe
from lutra.runs.files import RunFiles, write_json, write_text

parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["run"])
parser.add_argument("recipe", type=Path)
parser.add_argument("--out", type=Path)
parser.add_argument("--to")
parser.add_argument("--json", action="store_true")
arguments = parser.parse_args()

starts = Path(os.environ["LUTRA_TEST_STARTS"])
recipe, files = load_recipe(arguments.recipe), RunFiles(arguments.out)
with starts.open("a") as handle:
    handle.write(f"{recipe.name} {recipe.seed} {recipe.train.iterations} {arguments.to} {os.getpid()}\n")
window = recipe.block.window
if window == 13:
    print("something else\nlutra: train: the loss is nan; try smaller learning rates", file=sys.stderr)
    sys.exit(1)
while window == 77 and not starts.with_name("go").exists():
    time.sleep(0.02)
losses = {"float": {"mlp": 1.0, "none": 2.0}.get(recipe.model.ffn, 1 + abs(window - 0.5) + recipe.seed / 100)}
if recipe.model.ffn == "weightless":
    losses |= {"fake_quantised": losses["float"], "golden": losses["float"] + 0.5}  # its baselines have no integers
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    import numpy as np

    from lutra.frozen import store
    from lutra.frozen.graph import FrozenModel
    from lutra.frozen.random_block import random_block

    bits = recipe.block.thermometer_bits
    graph = random_block(np.random.default_rng(0), width=8, thermometer_bits=bits, luts=(5 * bits, 8), inputs=(6, 6))
    store.save(FrozenModel((graph,)), files.frozen)
last = {"iteration": recipe.train.iterations, "validation_loss": losses["float"], "seconds": 2.5}
write_text(files.train_log, json.dumps(last) + "\n")
write_json(files.evaluate, {"validation_loss": losses})
record = {"recipe": recipe.content_hash(), "seconds": 2.5, "ended": "2026-01-02T03:04:05Z", "environment": {}}
write_json(files.steps, {arguments.to: record})
