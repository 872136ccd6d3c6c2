"""One forked child per mutant, so that ten thousand take minutes: time and memory are bounded and measured."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from lutra.errors import LutraError

SECONDS = 10
MEGABYTES = 1024


@dataclass(frozen=True)
class Outcome:
    """How a mutant ended."""

    verdict: str
    """"taken", "refused", or what is wrong."""
    detail: str
    megabytes: int
    """Largest memory beyond what the parent had."""

    @property
    def right(self) -> bool:
        return self.verdict in ("taken", "refused")


def judged(look: Callable[[], None]) -> tuple[str, str]:
    """What reading a mutant came to: it is taken, or refused in one line with status 2."""
    try:
        look()
    except LutraError as error:
        told = str(error)
        if error.exit_status != 2:
            return f"status {error.exit_status}", told
        if not told.isprintable():
            return "not one line", ascii(told)
        return ("refused", told) if len(told) < 4000 else ("endless message", told[:200])
    except MemoryError:
        return "too much memory", "MemoryError"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}", f"{ascii(str(error))[:300]} at {where.filename}:{where.lineno}"
    return "taken", ""


def forked(look: Callable[[], None]) -> Outcome:
    """Run `look` in a child."""
    reading, writing = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pid = os.fork()
    if pid == 0:
        _child(look, writing)
    os.close(writing)
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        if selector.select(SECONDS * 3):  # of wall time, on a machine that does other things, too
            while part := os.read(reading, 65536):
                told += part
    os.close(reading)
    if not told:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    grown = max(0, usage.ru_maxrss - before) // 1024
    if not told:
        return Outcome("hang" if usage.ru_utime + usage.ru_stime < SECONDS else "too slow", f"status {status}", grown)
    verdict, detail = json.loads(told)
    if grown > MEGABYTES:
        return Outcome("too much memory", f"{grown} MB: {detail}", grown)
    if usage.ru_utime + usage.ru_stime > SECONDS:
        return Outcome("too slow", detail, grown)
    return Outcome(verdict, detail, grown)


def _child(look: Callable[[], None], writing: int) -> None:
    try:
        pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
        resource.setrlimit(resource.RLIMIT_AS, (pages + 3 * (MEGABYTES << 20) // 2,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (2 * SECONDS, 2 * SECONDS))
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writing, json.dumps(judged(look)).encode())
    finally:
        sys.stdout.flush()
        os._exit(0)
