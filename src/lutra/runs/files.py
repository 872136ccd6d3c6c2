"""Names of the files in a run directory, and writing that never leaves half a file behind.

Every step may use it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.errors import LutraError, RunDirectoryError
from lutra.limits import JSON_BYTES
from lutra.reading import note_written, parse_json, read_bytes

FROZEN_FOLDER = "frozen"
"""Of the frozen model, below a run directory; enough for what begins with hardware."""


@dataclass(frozen=True)
class StageFiles:
    """Where one stage of a chain lies."""

    root: Path

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def last_checkpoint(self) -> Path:
        """Weights and optimiser; there only while the stage is unfinished."""
        return self.root / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        return self.root / "best.safetensors"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    @property
    def finished(self) -> bool:
        """Whether the stage has been trained to its end and its model is still there."""
        return self.result.exists() and self.best_checkpoint.exists()


@dataclass(frozen=True)
class RunFiles:
    """Where everything of one run lies (docs/architecture.md lists the files)."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.toml"

    @property
    def train_log(self) -> Path:
        return self.root / "train" / "log.jsonl"

    @property
    def last_checkpoint(self) -> Path:
        return self.root / "train" / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        return self.root / "train" / "best.safetensors"

    @property
    def evaluate(self) -> Path:
        return self.root / "evaluate.json"

    @property
    def frozen(self) -> Path:
        return self.root / FROZEN_FOLDER

    @property
    def samples(self) -> Path:
        """Real validation data for the simulation: int8 input rows of every frozen graph, one tensor per graph name, or
        sentences for frozen BERTs."""
        return self.frozen / "samples.safetensors"

    @property
    def rtl(self) -> Path:
        return self.root / "rtl"

    @property
    def simulate(self) -> Path:
        return self.root / "simulate.json"

    @property
    def machine(self) -> Path:
        """What the simulation of the machine for the whole model has shown."""
        return self.root / "machine.json"

    @property
    def machine_synth(self) -> Path:
        """What that machine takes."""
        return self.root / "machine_synth.json"

    @property
    def machine_cost(self) -> Path:
        """Its cycles and energy."""
        return self.root / "machine_cost.json"

    @property
    def synth(self) -> Path:
        return self.root / "synth.json"

    @property
    def cost(self) -> Path:
        return self.root / "cost.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def steps(self) -> Path:
        """Which steps have finished, with the hashes of what they read and wrote."""
        return self.root / "steps.json"

    @property
    def sample(self) -> Path:
        """Text that the frozen model wrote."""
        return self.root / "sample.txt"

    def baseline(self, ffn: str) -> RunFiles:
        """The run directory of a baseline (`mlp`, `none`) trained with the same recipe."""
        return RunFiles(self.root / "baselines" / ffn)

    def stage(self, name: str) -> StageFiles:
        """A stage of a chain."""
        return StageFiles(self.root / "stages" / name)


LOCK_NAME, HOLDER_NAME = ".lock", ".holder.json"
"""Of the lock of a folder and of the note on who holds it (`runs.lock`)."""
PREFIX = ".lutra."
"""Of everything that is not whole yet: it is never evidence, and is removed when the next command starts."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    A full disk, Ctrl-C or an exception leaves the earlier file untouched.
    """
    temporary = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{PREFIX}{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        note_written(path)
    except OSError as error:
        raise LutraError(cannot_write(path, error)) from error
    finally:
        if temporary != path:
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> str:
    """What to say when writing failed, with what helps against it."""
    remedies = {
        errno.ENOSPC: "free some space or choose another folder",
        errno.EDQUOT: "free some of your quota or choose another folder",
        errno.EACCES: "you may not write there: change its permissions or choose another folder",
        errno.EPERM: "you may not write there: change its permissions or choose another folder",
        errno.EROFS: "it is on a file system that is read-only: choose another folder",
        errno.ENAMETOOLONG: "choose a shorter path",
    }
    remedy = remedies.get(error.errno or 0, "choose another folder")
    return f"{path}: cannot write ({error.strerror or error}); {remedy}"


def clear_leftovers(root: Path) -> None:
    """Remove what processes that were killed left half-written below `root`, whose lock the caller holds."""
    for folder, folders, names in os.walk(root):
        for name in names:
            if is_leftover(name):
                Path(folder, name).unlink(missing_ok=True)
        for name in [each for each in folders if is_leftover(each)]:
            folders.remove(name)
            shutil.rmtree(Path(folder, name), ignore_errors=True)


_EARLIER_LEFTOVER = re.compile(
    r"\.(?:fold_\w+|[\w.-]+\.(?:json|jsonl|html|safetensors|toml|txt))\.[a-z0-9_]{8}(?:\.old)?"
)
"""How earlier versions named them."""


def is_leftover(name: str) -> bool:
    """Whether a file or a folder of this name was never finished."""
    return name.startswith(PREFIX) or _EARLIER_LEFTOVER.fullmatch(name) is not None


def holds_other_files(root: Path, own: tuple[str, ...] = ()) -> bool:
    """Whether the folder `root` holds more than locks, what nobody finished, and what is named in `own`."""
    known = (LOCK_NAME, HOLDER_NAME, *own)
    return any(path.name not in known and not is_leftover(path.name) for path in root.iterdir())


def is_foreign(root: Path, marker: Path, own: tuple[str, ...] = ()) -> bool:
    """Whether `root` is no folder, or one with files of somebody else: without `marker`, the first that we write there.

    The folder is listed before `marker` is looked for, because another process may claim it in between.
    """
    return root.exists() and (not root.is_dir() or holds_other_files(root, own)) and not marker.exists()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """Read the JSON file that the step `made_by` writes.

    Raises:
        RunDirectoryError: the file is missing, cannot be read, or is not JSON within the limits.
    """
    try:
        return parse_json(read_bytes(path, JSON_BYTES))
    except FileNotFoundError:
        raise RunDirectoryError(f"{path}: not there; run `lutra {made_by}` first") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot read it ({error.strerror}); run `lutra {made_by}` again") from None
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: not valid JSON ({error}); run `lutra {made_by}` again") from None
