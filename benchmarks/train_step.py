"""One iteration of training a whole model with weightless blocks, with MLPs and with neither, from one or more trees.

Each training is a process of its own with one thread, and they take turns. What counts is the CPU time from one batch
to the next, optimiser included, evaluations not: the median over a few iterations, of blocks before their mappings are
frozen and after. Prints one JSON object, and every training to stderr as soon as it has ended. Two trees compare two
versions:

    python benchmarks/train_step.py --tree before=../old --tree now=.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ("weightless", "mlp", "none")
RECIPES = ("language/gpt-mini", "language/gpt-baby", "vision/vit-mini-cifar10")
PRECISIONS = ("32-true", "bf16-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=RECIPES, help="below recipes/, without .toml")
    parser.add_argument("--iterations", type=int, default=8, help="half of them with frozen mappings")
    parser.add_argument("--tree", action="append", metavar="NAME=PATH", help="default: now=, this one")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "PRECISION"), help="one training here and now")
    arguments = parser.parse_args()
    if arguments.only:
        print(
            json.dumps(time_steps(ROOT / f"recipes/{arguments.recipe[0]}.toml", *arguments.only, arguments.iterations))
        )
        return
    from harness import machine

    trees = dict(tree.split("=", 1) for tree in arguments.tree or [f"now={ROOT}"])
    rows = [
        measure(recipe, tree, Path(path), model, precision, arguments.iterations)
        for recipe in arguments.recipe
        for precision in PRECISIONS
        for model in MODELS
        for tree, path in trees.items()
    ]
    print(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def measure(recipe: str, tree: str, path: Path, model: str, precision: str, iterations: int) -> dict[str, Any]:
    """A row of one training in a process of its own."""
    from harness import run_in_tree

    options = ["--recipe", recipe, "--only", model, precision, "--iterations", str(iterations)]
    told = run_in_tree(path, Path(__file__), options)
    name = Path(recipe).name
    row = {"case": "train step", "recipe": name, "tree": tree, "model": model, "precision": precision, **told}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def time_steps(recipe: Path, model: str, precision: str, iterations: int) -> dict[str, Any]:
    """CPU seconds of an iteration: `step_s`, and `frozen_step_s` with frozen mappings (None without blocks)."""
    import torch

    from lutra.kernels.cpu.library import library
    from lutra.recipes.kinds import load_any_recipe
    from lutra.runs.files import RunFiles
    from lutra.train.loop import LanguageTask
    from lutra.train.trainer import train
    from lutra.train.vision import VisionTask

    torch.set_num_threads(1)
    library()  # compiles
    settings = {
        "iterations": iterations,
        "warmup_iterations": 0,
        "evaluate_every": iterations,
        "checkpoint_every": iterations,
        "quantise_fraction": 0,
        "threads": 1,
        "precision": precision,
        "mapping_fraction": 0.5,
    }
    loaded = load_any_recipe(recipe, [f"train.{name}={value}" for name, value in settings.items()])
    if model != "weightless":
        loaded = loaded.with_ffn(model)
    begins: list[float] = []

    class Timed(LanguageTask if loaded.kind == "language" else VisionTask):
        def loss(self, *arguments: Any) -> torch.Tensor:
            begins.append(time.process_time())
            return super().loss(*arguments)

        def evaluate(self) -> dict[str, float]:
            return {"validation_loss": 0.0}

    with tempfile.TemporaryDirectory(prefix="lutra-benchmark-") as folder:
        train(RunFiles(Path(folder)), loaded, lambda: Timed(loaded))
    seconds = [after - before for before, after in pairwise(begins)]
    half = iterations // 2
    # The first iteration of each half allocates what later ones use.
    first, second = seconds[1 : half - 1], seconds[half:]
    frozen = round(statistics.median(second), 4) if model == "weightless" else None
    step = statistics.median(first if model == "weightless" else [*first, *second])
    return {"batch": loaded.train.batch, "threads": 1, "step_s": round(step, 4), "frozen_step_s": frozen}


if __name__ == "__main__":
    main()
