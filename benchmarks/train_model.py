"""Short trainings of a language model with weightless blocks, with MLPs and with neither, from one or several trees.

Each training is a process of its own with one thread, and they take turns; what counts is its CPU time without imports,
compiling and the first call of each kernel's library. Prints one JSON object: the machine and a row for each tree and
model; every training also goes to stderr as soon as it has ended. Two trees compare two versions of the kernels:

    python benchmarks/train_model.py --tree before=../old --tree now=.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ("weightless", "mlp", "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "language" / "gpt-mini.toml")
    parser.add_argument("--iterations", type=int, default=250, help="with one evaluation at the end")
    parser.add_argument("--tree", action="append", metavar="NAME=PATH", help="default: now=, this one")
    parser.add_argument("--model", choices=MODELS, nargs="+", default=MODELS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
    parser.add_argument("--only", choices=MODELS, help="one training here and now")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(train(arguments.recipe, arguments.only, arguments.iterations)))
        return
    trees = dict(tree.split("=", 1) for tree in arguments.tree or [f"now={ROOT}"])
    rows = compare(trees, arguments.recipe, arguments.model, arguments.iterations, arguments.repeats)
    from harness import machine

    print(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def compare(
    trees: dict[str, str], recipe: Path, models: tuple[str, ...], iterations: int, repeats: int
) -> list[dict[str, Any]]:
    """Median CPU seconds of each model in each tree; the loss is the same in every repeat."""
    told: dict[tuple[str, str], list[dict[str, float]]] = {(tree, model): [] for model in models for tree in trees}
    for _ in range(repeats):
        for (tree, model), runs in told.items():
            runs.append(_train_in(Path(trees[tree]), recipe, model, iterations))
            print(json.dumps({"tree": tree, "model": model, **runs[-1]}), file=sys.stderr, flush=True)
    return [
        {
            "case": "train model",
            "recipe": recipe.stem,
            "tree": tree,
            "model": model,
            "iterations": iterations,
            "threads": 1,
            "cpu_s": round(statistics.median(run["cpu_s"] for run in runs), 3),
            "validation_loss": runs[0]["validation_loss"],
        }
        for (tree, model), runs in told.items()
    ]


def _train_in(tree: Path, recipe: Path, model: str, iterations: int) -> dict[str, float]:
    from harness import run_in_tree

    options = ["--recipe", str(recipe.resolve()), "--only", model, "--iterations", str(iterations)]
    return run_in_tree(tree, Path(__file__), options)


def train(recipe: Path, model: str, iterations: int) -> dict[str, float]:
    """Train in this process: CPU seconds and the validation loss at the end."""
    import torch

    from lutra.kernels.cpu.library import library
    from lutra.recipes.language import TrainConfig, load_recipe
    from lutra.runs.files import RunFiles
    from lutra.train.loop import train_run

    torch.set_num_threads(1)
    library()  # compiles
    settings = {"iterations": iterations, "evaluate_every": iterations, "checkpoint_every": iterations}
    if "threads" in TrainConfig.model_fields:  # an older tree takes those of PyTorch
        settings["threads"] = 1
    loaded = load_recipe(recipe, [f"train.{name}={value}" for name, value in settings.items()])
    with tempfile.TemporaryDirectory(prefix="lutra-benchmark-") as folder:
        start = time.process_time()
        told = train_run(RunFiles(Path(folder)), loaded if model == "weightless" else loaded.with_ffn(model))
        return {"cpu_s": time.process_time() - start, "validation_loss": told["validation_loss"]}


if __name__ == "__main__":
    main()
