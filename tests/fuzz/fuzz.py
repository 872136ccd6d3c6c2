"""`make fuzz`: mutants of every kind of file, each read in a process of its own; see docs/limits.md for what is right.

A mutant may be taken, and what is made of it is then checked; or refused in one line with exit status 2. Anything else
is a fault: another exception, more than 10 s, more than 1 GB, or something executed, which a canary file would show.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", MPLBACKEND="svg", TOKENIZERS_PARALLELISM="false")
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import lutra
from fabricated_run import make_finished_run
from fuzz_forks import Outcome, forked, judged
from fuzz_readers import OTHER_TARGETS, RUN_TARGETS, Target, others_of, second_look, sign
from hostile import canaries
from lutra.recipes.kinds import KINDS

RECORDED = Path(lutra.__file__).parent / "papers" / "recorded"


def make_seeds(root: Path, kinds: Sequence[str]) -> None:
    """Make trees of sound files: a run of every kind, and everything that is not in a run."""
    from lutra.runs.claim import save_recipe
    from small_runs import make_run
    from tiny_glue import write_checkpoint, write_tsv
    from tiny_images import write_image_files
    from tiny_training import tiny_recipe

    for kind in kinds:
        make_run(kind, root / kind)
    trees = {"fabricated": root / "fabricated"}
    if not trees["fabricated"].exists():
        make_finished_run(trees["fabricated"])
    other = trees["other"] = root / "other"
    if not other.exists():
        write_tsv(other / "glue")
        write_checkpoint(other / "checkpoint")
        write_image_files(other / "images")
        save_recipe(tiny_recipe("weightless"), other / "base.toml")
        (other / "space.toml").write_text(
            'name = "s"\nbase = "base.toml"\nseeds = [1, 2]\n[[variant]]\nname = "a"\ngroup = "g"\n'
            '[[variant]]\nname = "b"\n[variant.set]\n"block.window" = 0.5\n'
        )
        for name in ("demo.json", "bert", "explore", "synth"):
            copy = shutil.copytree if (RECORDED / name).is_dir() else shutil.copy
            (other / "results").mkdir(exist_ok=True)
            copy(RECORDED / name, other / "results" / name)
        (other / "explored").mkdir()
        shutil.copy(RECORDED / "explore" / "demo-block.json", other / "explored" / "explore.json")
        config = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 128, "vocab_size": 99}
        (other / "config.json").write_text(json.dumps(config))


Choice = tuple[str, Target, list[Path]]
"""Tree, kind of file, and the files of that kind."""


def choices(trees: dict[str, Path]) -> list[Choice]:
    """Every kind of file of every tree."""
    found = []
    for name, root in trees.items():
        for target in OTHER_TARGETS if name == "other" else RUN_TARGETS:
            if paths := sorted(path for path in root.glob(target.pattern) if path.is_file()):
                found.append((name, target, paths))
    return found


def try_one(number: int, seed: int, trees: dict[str, Path], every: list[Choice], scratch: Path) -> tuple[str, Outcome]:
    """Make a mutant in a fresh tree of links, read it, and clear it away if it was right."""
    draw = random.Random(seed * 10**9 + number)
    name, target, paths = every[number % len(every)]
    path, root = draw.choice(paths), scratch / f"{number}"
    changed = {each.relative_to(trees[name]): text for each, text in target.mutant(draw, path).items()}
    shutil.copytree(trees[name], root, copy_function=os.link)
    for place, text in changed.items():
        (root / place).unlink()
        (root / place).write_bytes(text)
    sign(root, {root / place: text for place, text in changed.items()})
    look = second_look(target, draw)

    def read() -> None:
        os.chdir(root)
        look(root, root / path.relative_to(trees[name]))

    outcome = forked(read)
    if canaries(root):
        outcome = Outcome("EXECUTED", str(canaries(root)), outcome.megabytes)
    if outcome.right:
        shutil.rmtree(root)
    return f"{name}:{path.relative_to(trees[name])} ({look.__name__})", outcome


def warm_up(trees: dict[str, Path], every: list[Choice], scratch: Path) -> None:
    """Read the sound files, which must be taken, in this process: forks then have all imports behind them.

    Raises:
        RuntimeError: a sound file was refused.
    """
    here = Path.cwd()
    for name, target, paths in every:
        for look in {target.read, *(look for look, _ in others_of(target))}:
            root = scratch / "sound"
            shutil.copytree(trees[name], root, copy_function=os.link)
            os.chdir(root)
            verdict, detail = judged(functools.partial(look, root, root / paths[0].relative_to(trees[name])))
            os.chdir(here)
            shutil.rmtree(root)
            if verdict != "taken":
                raise RuntimeError(f"sound {name}:{target.pattern} is not taken by {look.__name__}: {detail}")


def in_child(work: Callable[[], int]) -> int:
    """Run `work` in a fork and wait, so that what it imports is no burden to later forks."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fuzz(options: argparse.Namespace, trees: dict[str, Path], with_torch: bool, numbers: range) -> int:
    """The mutants of one group of files: those that PyTorch reads, or the others."""
    if with_torch:
        import torch

        import lutra.data.text
        from lutra.data import images
        from tiny_images import fewer_images
        from tiny_training import short_text

        torch.set_num_threads(1)
        lutra.data.text.load_dataset = short_text
        images.SOURCES["cifar10"] = fewer_images("cifar10")
    every = [
        each
        for each in choices(trees)
        if each[1].torch == with_torch and options.only in f"{each[0]}:{each[1].pattern}"
    ]
    if not every:
        return 0
    scratch = options.seeds.resolve() / f"scratch-{with_torch}"
    shutil.rmtree(scratch, ignore_errors=True)
    warm_up(trees, every, scratch)
    verdicts: Counter[str] = Counter()
    largest, begin, wrong = 0, time.monotonic(), []
    for number in numbers:
        what, outcome = try_one(number, options.seed, trees, every, scratch)
        verdicts[outcome.verdict] += 1
        largest = max(largest, outcome.megabytes)
        if not outcome.right:
            wrong.append(number)
            print(f"{number} {what}: {outcome.verdict}: {outcome.detail[:500]}", flush=True)
        if number % 100 == 99:
            print(f"{number + 1}: {dict(verdicts)}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    group = "with PyTorch" if with_torch else "without PyTorch"
    seconds = time.monotonic() - begin
    print(f"{group}: {len(numbers)} mutants of {len(every)} kinds of files in {seconds:.0f} s: {dict(verdicts)}")
    print(f"{group}: largest memory of one beyond the parent's {largest} MB, executed {verdicts['EXECUTED']}")
    print(f"{group}: faults {wrong}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="Number of the first mutant.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=Path, default=Path("build/fuzz"), help="Folder of the sound files.")
    parser.add_argument("--only", default="", help="Kinds of files whose tree and pattern hold this text.")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), help="Kinds of runs.")
    parser.add_argument("--groups", nargs="*", default=["plain", "torch"], help="Of files: plain, or read by PyTorch.")
    options = parser.parse_args()
    root = options.seeds.resolve()

    def make() -> int:
        make_seeds(root, options.kinds)
        return 0

    if in_child(make):
        return 1
    trees = {kind: root / kind / "run" for kind in options.kinds}
    trees |= {name: root / name for name in ("fabricated", "other")}
    os.environ["LUTRA_GLUE"] = str(trees["other"] / "glue")
    heavy = options.mutants // 5
    counts = {"plain": options.mutants - heavy, "torch": heavy}
    faults = 0
    for group in options.groups:
        numbers = range(options.first, options.first + counts[group])
        faults += in_child(functools.partial(fuzz, options, trees, group == "torch", numbers))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
