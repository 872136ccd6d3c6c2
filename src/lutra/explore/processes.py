"""Runs as processes of their own: a few at a time, stopped together, and never two in the same folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from lutra import children
from lutra.errors import RunDirectoryError
from lutra.recipes.language import Recipe
from lutra.runs.files import LOCK_NAME, RunFiles
from lutra.runs.lock import describe_holder, naming_holder

LUTRA = (sys.executable, "-m", "lutra")
OUTPUT_NAME = "output.log"
"""What a run's process said, in its run directory."""
_POLL_S = 0.05
GRACE_S = 60.0
"""How long a stopped training may take for its last iteration and its checkpoint."""


@dataclass(frozen=True)
class Job:
    """One run: its recipe lies in the run directory already."""

    title: str
    files: RunFiles
    recipe: Recipe
    last_step: str


@dataclass
class Stop:
    """Ctrl-C, SIGTERM and a closed terminal, counted instead of raised, so that no process escapes."""

    count: int = 0
    _previous: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


@dataclass(frozen=True)
class Progress:
    """What runs and what waits, at one moment."""

    running: tuple[Job, ...]
    waiting: tuple[Job, ...]


class Runner(Protocol):
    """What runs jobs: `run_jobs`, or the tasks of a cluster (`ray_jobs`)."""

    def __call__(
        self,
        jobs: Sequence[Job],
        parallel: int,
        on_end: Callable[[Job, str | None, float, Progress], None],
        lock: int,
        command: Sequence[str] = ...,
        deadline: float | None = ...,
    ) -> bool: ...


def run_jobs(
    jobs: Sequence[Job],
    parallel: int,
    on_end: Callable[[Job, str | None, float, Progress], None],
    lock: int,
    command: Sequence[str] = LUTRA,
    deadline: float | None = None,
) -> bool:
    """Run every job to its last step, `parallel` at a time; whether all have ended. No result depends on how many.

    `on_end(job, error, seconds, progress)` is called after each; `error` is the last line of one that failed. The
    processes hold `lock` (see `exclusive`). Ctrl-C, SIGTERM and the `deadline` (of time.monotonic) let every training
    save a checkpoint; a second signal, or a minute, kills.

    Raises:
        KeyboardInterrupt: it was stopped; no process is left.
    """
    waiting = deque(jobs)
    running: dict[subprocess.Popen[bytes], tuple[Job, float]] = {}
    with Stop() as stop:
        try:
            while (waiting or running) and not stop.count and not is_late(deadline):
                ended = [(process, *running.pop(process)) for process in list(running) if process.poll() is not None]
                while waiting and len(running) < parallel:
                    job = waiting.popleft()
                    running[_start(job, command, lock)] = (job, time.monotonic())
                left = Progress(tuple(job for job, _ in running.values()), tuple(waiting))
                for process, job, started in ended:
                    on_end(job, failure(job.files.root, process.returncode), time.monotonic() - started, left)
                time.sleep(_POLL_S)
        finally:
            _end(list(running), stop)
        if stop.count:
            raise KeyboardInterrupt
    return not (waiting or running)


def is_late(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _start(job: Job, command: Sequence[str], lock: int) -> subprocess.Popen[bytes]:
    with (job.files.root / OUTPUT_NAME).open("wb") as output:
        return children.start(
            [*command, *arguments_of(job)],
            stdout=subprocess.DEVNULL,
            stderr=output,
            # Its threads are the recipe's and may be more than cores are free: they must not wait awake.
            env={"OMP_WAIT_POLICY": "passive", **os.environ},
            pass_fds=(lock,),
        )


def arguments_of(job: Job) -> list[str]:
    """What the command line is given for a job."""
    files = job.files
    return ["run", str(files.recipe), "--out", str(files.root), "--to", job.last_step, "--json"]


def _end(processes: list[subprocess.Popen[bytes]], stop: Stop) -> None:
    """Ask all to stop, wait until they have, kill those that take too long."""
    _signal(processes, signal.SIGTERM)
    seen, deadline = stop.count, time.monotonic() + GRACE_S
    while any(process.poll() is None for process in processes):
        if stop.count > seen or time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    _signal(processes, signal.SIGKILL)
    for process in processes:
        process.wait()


def _signal(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            process.send_signal(number)  # what it has started ends with it (`lutra.children`)


def failure(root: Path, status: int) -> str | None:
    """Why the process of a run failed, in a line; None if it did not."""
    if status == 0:
        return None
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    text = (root / OUTPUT_NAME).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("lutra: ") if lines else f"exit status {status}, and no message"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Hold `folder` for this process and those that get the yielded file descriptor; free when the last one ends.

    Raises:
        RunDirectoryError: somebody else holds it.
    """
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = describe_holder(folder)
            raise RunDirectoryError(f"{folder}: {holder} works there; wait for its end, or end it") from None
        with naming_holder(folder):
            yield handle
    finally:
        os.close(handle)
