"""The demo, step by step: wall seconds of `lutra run recipes/demo.toml` in one or several trees, which take turns.

Prints one JSON object: the machine and a row for each tree with the median seconds of every step; every run also goes
to stderr as soon as it has ended. The first run in a tree compiles its kernels and Verilator's runtime if nothing has
yet; it is a run that does not count. Two trees compare two versions:

    python benchmarks/demo.py --tree before=../old --tree now=.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import machine

ROOT = Path(__file__).parents[1]
RECIPE = Path("recipes", "demo.toml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", action="append", metavar="NAME=PATH", help="default: now=, this one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: the output is always JSON")
    arguments = parser.parse_args()
    trees = dict(tree.split("=", 1) for tree in arguments.tree or [f"now={ROOT}"])
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for turn in range(arguments.repeats + 1):
        for name, path in trees.items():
            seconds = demo(Path(path).resolve())
            print(json.dumps({"tree": name, "counts": turn > 0, **seconds}), file=sys.stderr, flush=True)
            if turn:
                runs[name].append(seconds)
    rows = [
        {
            "case": "demo",
            "tree": name,
            "repeats": len(of_tree),
            "seconds": {step: statistics.median(each[step] for each in of_tree) for step in of_tree[0]},
        }
        for name, of_tree in runs.items()
    ]
    print(json.dumps({"machine": machine(), "rows": rows}, indent=1))


def demo(tree: Path) -> dict[str, float]:
    """Seconds of every step, as the run's record has them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        command = [sys.executable, "-m", "lutra", "run", str(RECIPE), "--out", str(out)]
        environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
        subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
        record: dict[str, Any] = json.loads((out / "steps.json").read_text())
    return {step: float(each["seconds"]) for step, each in record.get("finished", record).items()}


if __name__ == "__main__":
    main()
