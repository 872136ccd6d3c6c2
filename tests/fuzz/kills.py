"""`make kills`: commands killed at random moments, and pairs of commands in one folder at the same time.

After a kill the same command must come to the very results that it comes to undisturbed, with nothing left over: no
half-written file, no process. Of two commands at once, each finishes or says who holds the folder. Commands run in
forks of this process, which has everything imported, so that a hundred kills take minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive", MPLBACKEND="svg")
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import torch
from safetensors.torch import load_file

import lutra.data.text
from lutra import children
from lutra.explore import sweep
from lutra.recipes.kinds import LANGUAGE, load_function
from lutra.report.trust.verify import verify
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles, is_leftover
from lutra.runs.record import read_steps
from small_runs import SHORT_LUTRA
from tiny_training import short_text, tiny_recipe

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
WEIGHTS = {
    "train": 22,
    "baselines": 15,
    "freeze": 14,
    "evaluate": 14,
    "rtl": 15,
    "simulate": 7,
    "synth": 7,
    "explore": 6,
}
SPACE = 'name = "small"\nbase = "recipe.toml"\nseeds = [1]\n[[variant]]\nname = "a"\n'
MARK = "LUTRA_KILLS"
PATIENCE_S = 600


def recipe_of_kills() -> Any:
    """One small block."""
    recipe = tiny_recipe("weightless", iterations=12)
    hardware = recipe.hardware.model_copy(update={"fold_factors": (1,), "synthesise_fold_factors": (1,), "rows": 16})
    return recipe.model_copy(update={"hardware": hardware, "model": recipe.model.model_copy(update={"layers": 1})})


def begin(arguments: Sequence[str], log: Path) -> int:
    """Start a command in a fork; its process number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["lutra", *arguments]
        from lutra.cli.commands import main

        main()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(99)


def wait(pid: int) -> int:
    """Exit status, negative for a signal; a command that hangs is an error."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    raise RuntimeError("a command hangs")


def orphans(mark: str) -> list[str]:
    """Programs that commands have started and that still run; they have some seconds to end."""
    end = time.monotonic() + 30
    while True:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if f"{MARK}={mark}\0".encode() in (entry / "environ").read_bytes():
                        found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
                except OSError:
                    continue
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)


def without_times(value: Any) -> Any:
    """A JSON value without what says when, how long, or with which build."""
    if isinstance(value, dict):
        return {
            key: without_times(item)
            for key, item in value.items()
            if "seconds" not in key and key not in ("ended", "environment", "recorded")
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


def result_of(root: Path, step: str) -> dict[str, Any]:
    """What a step has written, in a form in which equal results are equal."""
    patterns = ["out/explore.json"] if step == "explore" else next(s.writes for s in LANGUAGE.steps if s.name == step)
    found: dict[str, Any] = {}
    for path in sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file()):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".safetensors":
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in load_file(path).items()}
        elif path.suffix == ".json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [without_times(json.loads(line)) for line in path.read_text().splitlines()]
        else:
            found[name] = path.read_bytes()
    return found


def arguments_of(step: str, root: Path) -> list[str]:
    """The command of a step."""
    if step == "explore":
        return ["explore", str(root / "space.toml"), "--out", str(root / "out"), "--jobs", "1"]
    if step in ("train", "evaluate", "freeze", "rtl", "simulate", "synth"):
        return [step, str(root)]
    return ["run", str(root / "recipe.toml"), "--out", str(root), "--from", step, "--to", step]


class Kills:
    """The runs before each step, what each step comes to undisturbed, and how long it takes."""

    def __init__(self, folder: Path, seed: int, steps: Sequence[str]) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.before: dict[str, Path] = {}
        self.expected: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.faults: list[str] = []
        self.log = folder / "log"
        root = folder / "run"
        root.mkdir(parents=True)
        save_recipe(recipe_of_kills(), root / "recipe.toml")
        (root / "space.toml").write_text(SPACE)
        order = [step for step in ("explore", *(s.name for s in LANGUAGE.steps)) if step in WEIGHTS]
        last = max(order.index(step) for step in steps)
        for step in order[: last + 1]:
            if step == "explore" and step not in steps:
                continue
            self.before[step] = folder / "before" / step
            shutil.copytree(root, self.before[step])
            started = time.monotonic()
            if status := wait(begin(arguments_of(step, root), self.log)):
                raise RuntimeError(f"{step} alone: status {status}: {self.log.read_text()[-1500:]}")
            self.seconds[step] = time.monotonic() - started
            self.expected[step] = result_of(root, step)
            if step == "explore":
                shutil.rmtree(root / "out")
            print(f"{step} alone: {self.seconds[step]:.1f} s", flush=True)

    def fault(self, what: str) -> None:
        self.faults.append(what)
        print(f"FAULT {what}", flush=True)

    def kill(self, number: int, step: str) -> bool:
        """Kill a step once, go on, compare; whether it was still running."""
        root, mark = self.folder / f"{number}", f"{os.getpid()}-{number}"
        shutil.copytree(self.before[step], root)
        os.environ[MARK] = mark
        sent = self.draw.choice(SIGNALS)
        started = time.monotonic()
        pid = begin(arguments_of(step, root), self.log)
        time.sleep(self.draw.random() * self.seconds[step])
        os.kill(pid, sent)
        status = wait(pid)
        if not status:  # it was faster than the one before: later kills of this step come earlier
            self.seconds[step] = min(self.seconds[step], time.monotonic() - started)
        what = f"{number}: {step}, {signal.Signals(sent).name}"
        if left := orphans(mark):
            self.fault(f"{what}: still running: {left}")
        if step != "explore" and status and step in read_steps(RunFiles(root)).finished:
            self.fault(f"{what}: ended with {status} and counts as finished")
        if wait(begin(arguments_of(step, root), self.log)):
            self.fault(f"{what}: does not go on: {self.log.read_text()[-600:]}")
        elif (found := result_of(root, step)) != self.expected[step]:
            differ = [
                name for name in {*found, *self.expected[step]} if found.get(name) != self.expected[step].get(name)
            ]
            self.fault(f"{what}: another result: {differ}")
        if left := [str(path) for path in root.rglob("*") if is_leftover(path.name)]:
            self.fault(f"{what}: left over: {left}")
        shutil.rmtree(root)
        return status != 0

    def pair(self, number: int, steps: tuple[str, str]) -> Counter[int]:
        """Two commands in one folder at once: how they ended."""
        root = self.folder / f"pair-{number}"
        shutil.copytree(self.before[max(steps, key=list(self.before).index)], root)
        pids = [begin(arguments_of(step, root), self.log) for step in steps]
        ended = Counter(wait(pid) for pid in pids)
        if not ended.keys() <= {0, 2} or not ended[0]:
            self.fault(f"pair {steps}: {dict(ended)}: {self.log.read_text()[-600:]}")
        if wrong := [found for found in verify(root) if found.verdict == "FAILS"]:
            self.fault(f"pair {steps}: {wrong[0]}")
        for step in set(steps):
            finished = step in read_steps(RunFiles(root)).finished
            if finished and result_of(root, step) != self.expected[step]:
                self.fault(f"pair {steps}: a wrong result of {step}")
        shutil.rmtree(root)
        return ended

    def jobs(self, step: str) -> None:
        """The same bits for `--jobs 1` and `--jobs 2`."""
        root = self.folder / "jobs"
        shutil.copytree(self.before[step], root)
        arguments = [each for each in arguments_of(step, root) if each not in ("--jobs", "1")]
        if wait(begin([*arguments, "--jobs", "2"], self.log)) or result_of(root, step) != self.expected[step]:
            self.fault(f"{step} --jobs 2: another result than alone")
        else:
            print(f"{step} --jobs 2: equal", flush=True)
        shutil.rmtree(root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="Of commands that still ran.")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", nargs="*", default=list(WEIGHTS), help="Of which steps.")
    options = parser.parse_args()
    lutra.data.text.load_dataset = short_text
    defaults: tuple[Any, ...] = ("evaluate", SHORT_LUTRA, None)
    sweep.explore.__defaults__ = defaults
    children._OLD_S = 0.0  # what a kill leaves in the temporary folder goes with the next command
    torch.set_num_threads(2)
    for step in LANGUAGE.steps:
        load_function(step.function)
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        temporary = Path(name, "tmp")
        temporary.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        kills = Kills(Path(name, "work"), options.seed, options.steps)
        started, counted, struck = time.monotonic(), Counter[str](), 0
        weights = {step: WEIGHTS[step] for step in options.steps}
        for tried in itertools.count():
            if struck == options.kills:
                break
            step = kills.draw.choices(list(weights), list(weights.values()))[0]
            if kills.kill(tried, step):
                struck += 1
                counted[step] += 1
            if tried % 10 == 9:
                print(f"{tried + 1} tried, {struck} kills, {time.monotonic() - started:.0f} s", flush=True)
        ends: Counter[int] = Counter()
        cheap = [step for step in options.steps if step not in ("explore", "simulate", "synth", "baselines")]
        for pair in range(options.pairs):
            ends += kills.pair(pair, (kills.draw.choice(cheap), kills.draw.choice(cheap)))
        for step in {"explore", "synth"} & set(options.steps):
            kills.jobs(step)
        left = [path.name for path in temporary.iterdir() if path.name.startswith("lutra-")]
        _clear(temporary)
        print(f"{struck} kills while the command ran ({tried} tried): {dict(counted)}")
        print(f"pairs: {options.pairs}; their {2 * options.pairs} commands ended with {dict(ends)}")
        print(f"temporary folders at the end, before the next command: {len(left)}; faults: {len(kills.faults)}")
        return 1 if kills.faults else 0


def _clear(temporary: Path) -> None:
    with children.temporary_folder("check"):
        pass
    assert not [path for path in temporary.iterdir() if path.name.startswith("lutra-")]


if __name__ == "__main__":
    sys.exit(main())
