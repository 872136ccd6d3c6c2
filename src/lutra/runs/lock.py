"""One process at a time in a run directory."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from lutra.errors import LutraError, RunDirectoryError
from lutra.escape import brief
from lutra.reading import parse_json, read_bytes
from lutra.runs.files import HOLDER_NAME, LOCK_NAME, cannot_write, write_json
from lutra.schema import Strict

_LARGEST_NOTE = 10_000
_held: set[Path] = set()
"""What this process holds; a command takes the lock for a whole run, and each of its steps again."""


class Holder(Strict):
    """Who works in a folder; written for whoever comes second."""

    process: int
    host: str
    command: str
    since: str


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the folder `root`, which exists, for this process.

    The system frees the lock when its holder ends, however it ends, so that none is ever stale.

    Raises:
        RunDirectoryError: another process holds it; the message names it.
        LutraError: the folder cannot be written to.
    """
    place = root.resolve()
    if place in _held:
        yield
        return
    try:
        lock = FileLock(root / LOCK_NAME, timeout=0)
        lock.acquire()
    except Timeout:
        raise RunDirectoryError(f"{root}: {describe_holder(root)} works there; wait for its end, or end it") from None
    except OSError as error:
        raise LutraError(cannot_write(root, error)) from None
    try:
        _held.add(place)
        with naming_holder(root):
            yield
    finally:
        _held.discard(place)
        lock.release()


@contextlib.contextmanager
def naming_holder(root: Path) -> Iterator[None]:
    """Say in `root`, whose lock the caller holds, who holds it."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    here = Holder(process=os.getpid(), host=socket.gethostname(), command=command[:200], since=_now())
    write_json(root / HOLDER_NAME, here.model_dump())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (root / HOLDER_NAME).unlink()


def describe_holder(root: Path) -> str:
    """Who holds the folder, as far as it has said so."""
    try:
        holder = Holder.model_validate(parse_json(read_bytes(root / HOLDER_NAME, _LARGEST_NOTE)))
    except (OSError, ValueError, ValidationError):
        return "another process"
    return brief(f"process {holder.process} on {holder.host} (`{holder.command}`, since {holder.since})", 300)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
