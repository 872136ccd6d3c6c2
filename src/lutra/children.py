"""Programs that Lutra starts: they and whatever they start end with it, however it ends.

All of them are in one process group, whose leader does nothing but wait for the end of this process: it holds the
reading end of a pipe that nobody else writes to, and kills the group when the pipe closes, also after a `kill -9`.
A terminal's Ctrl-C therefore reaches this process alone, which ends the group itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LEADER = """
import os, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
while os.read(0, 1):
    pass
os.killpg(os.getpgrp(), signal.SIGKILL)
"""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.2
_OLD_S = 60.0
"""How old a temporary folder without a holder must be: younger ones may still be made."""


class _Group:
    """The process group of this process's children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leader: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._ended = False

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in the group.

        Raises:
            KeyboardInterrupt: this process has been asked to end.
            OSError: the program cannot be started.
        """
        with self._lock:
            if self._ended:
                raise KeyboardInterrupt
            process = subprocess.Popen(command, process_group=self._number(), **options)
            if self._ended:  # since the check above: the program may have joined a group that was just killed
                process.kill()
                process.wait()
                raise KeyboardInterrupt
            return process

    def _number(self) -> int:
        # A forked copy of this process has no part in the pipe, and so needs a group of its own.
        if self._leader is None or self._owner != os.getpid() or self._leader.poll() is not None:
            reading, writing = os.pipe()  # `writing` stays open until this process ends
            null = subprocess.DEVNULL
            self._leader = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LEADER], stdin=reading, stdout=null, stderr=null, process_group=0
            )
            os.close(reading)
            self._owner = os.getpid()
            self._pipe = writing
        return self._leader.pid

    def resume(self) -> None:
        """Let programs start again."""
        self._ended = False

    def end(self, for_good: bool) -> None:
        """Kill all programs; with `for_good`, no other is started in this process."""
        self._ended = self._ended or for_good
        if self._leader is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader.pid, signal.SIGKILL)


_group = _Group()


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, in the group of children; without `stdin`, the program reads nothing.

    Raises:
        KeyboardInterrupt: this process has been asked to end.
        OSError: the program cannot be started.
    """
    return _group.start(command, **{"stdin": subprocess.DEVNULL, **options})


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    output: IO[Any] | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its status with what it printed.

    Both streams go into the file `output` where one is given, else they are text in the result.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than `timeout_s`; it has been killed.
    """
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    if output is not None:
        streams = {"stdout": output, "stderr": subprocess.STDOUT}
    process = start(command, cwd=cwd, env=env, **streams)
    end = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        while True:
            # Python looks at signals between two waits: one that comes just before a wait would not be seen during it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                printed, errors = process.communicate(timeout=_POLL_S)
                break
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(list(command), timeout_s or 0.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    except BaseException:
        _group.end(for_good=False)  # what the program has started in turn, too
        process.wait()
        raise
    return subprocess.CompletedProcess(list(command), process.returncode, printed or "", errors or "")


def concurrently(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | ThreadPoolExecutor
) -> list[Result]:
    """The results of `function` for all items, in order, computed by so many threads, or those of a pool.

    Raises:
        What an item that failed raised; those that have not begun by then are left out.
    """
    if isinstance(workers, int):
        with ThreadPoolExecutor(workers) as pool:
            return concurrently(function, items, pool)
    futures = [workers.submit(function, item) for item in items]
    try:
        while True:
            done, waiting = wait(futures, timeout=_POLL_S, return_when=FIRST_EXCEPTION)  # see `run`
            if not waiting or any(future.exception() for future in done):
                break
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures if not future.cancelled()]


@contextlib.contextmanager
def ending_cleanly() -> Iterator[None]:
    """Take SIGTERM and a closed terminal as Ctrl-C: children end, temporary files go, KeyboardInterrupt rises.

    Signals that were ignored before (nohup) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        _group.resume()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _group.end(for_good=True)
    raise KeyboardInterrupt


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder for the time being; those that killed processes have left are removed on the way.

    Each is held by a lock on a file in it, which the system frees when its process ends.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    made = tempfile.TemporaryDirectory(prefix=f"lutra-{purpose}-", ignore_cleanup_errors=True)
    with made as name, Path(name, ".lock").open("wb") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inside = Path(name, purpose)
        inside.mkdir()
        yield inside


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob("lutra-*-*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _OLD_S or not folder.is_dir():
                continue
            with (folder / ".lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
