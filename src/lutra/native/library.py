"""C++ kernels as plain C libraries: compiled on first use, cached, loaded with ctypes (which drops the GIL in calls).

A library is cached under a hash of its sources, the headers beside them and beside this file, the flags and the
compiler, so that a stale one is never loaded. A wheel brings libraries that were compiled when it was built (setup.py).
Nothing is compiled for "this machine": kernels carry their target attributes and choose the instruction set at run
time, because a wheel or a cache folder may be shared by different machines.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lutra import settings
from lutra.errors import ToolError

PREBUILT = Path(__file__).parent / "prebuilt"
"""Libraries of a wheel; not there in a source tree."""

# Never -ffast-math: it switches flush-to-zero on for the whole process. No contraction: results equal on every machine.
BASE_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-pthread")


SHARED_HEADERS = Path(__file__).parent


def compiler() -> str | None:
    """Path of the C++ compiler: `$CXX` if that is set, else g++, c++ or clang++ from PATH; None if there is none."""
    if chosen := settings.CXX.text:
        return shutil.which(chosen)
    return next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)


def compiler_available() -> bool:
    """Whether `load_library` can compile."""
    return compiler() is not None


def cache_folder() -> Path:
    """Where compiled libraries lie: `$LUTRA_CACHE`, else `~/.cache/lutra`."""
    return settings.CACHE.path or Path("~/.cache/lutra").expanduser()


def load_library(name: str, sources: list[Path], flags: list[str]) -> ctypes.CDLL:
    """Load C++ sources (and the `*.h` files beside them), compiled with `BASE_FLAGS + flags` unless prebuilt or cached.

    Several processes may call this at once: each compiles into its own temporary file and renames it.

    Raises:
        ToolError: no compiler, the cache folder cannot be written, or compiling or loading failed.
    """
    prebuilt = PREBUILT / f"{name}-{_key(sources, flags, '')}.so"
    if prebuilt.exists():
        with contextlib.suppress(OSError):  # built for a newer C library than this machine's
            return ctypes.CDLL(str(prebuilt))
    path = _compiler_or_error(name)
    library = cache_folder() / f"{name}-{_key(sources, flags, _version(path))}.so"
    if not library.exists():
        _compile(name, library, _command(path, sources, flags))
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise ToolError(f"{library}: cannot load it ({error}); delete the file to compile it again") from None


def prebuild(name: str, sources: list[Path], flags: list[str], folder: Path) -> None:
    """Compile a library into `folder`, where `load_library` looks first if it is installed as `PREBUILT`.

    Raises:
        ToolError: no compiler, the folder cannot be written, or compiling failed.
    """
    command = _command(_compiler_or_error(name), sources, flags)
    _compile(name, folder / f"{name}-{_key(sources, flags, '')}.so", command)


def _command(compiler_path: str, sources: list[Path], flags: list[str]) -> list[str]:
    return [compiler_path, *BASE_FLAGS, f"-I{SHARED_HEADERS}", *flags, *map(str, sources), "-ldl"]


def _compiler_or_error(name: str) -> str:
    path = compiler()
    if path is None:
        raise ToolError(f"{name}: no C++ compiler; install g++, or set CXX to one")
    return path


def _key(sources: list[Path], flags: list[str], compiler_version: str) -> str:
    headers = {
        header for folder in (SHARED_HEADERS, *(source.parent for source in sources)) for header in folder.glob("*.h")
    }
    digest = hashlib.sha256(repr((BASE_FLAGS, flags, platform.machine(), compiler_version)).encode())
    for file in [*sources, *sorted(headers)]:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


@functools.cache
def _version(compiler_path: str) -> str:
    try:
        return subprocess.run([compiler_path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"{compiler_path} --version failed ({error}); set CXX to a C++ compiler") from None


def _compile(name: str, library: Path, command: list[str]) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{library.name}.", dir=library.parent)
        os.close(handle)
    except OSError as error:
        raise ToolError(f"{library.parent}: cannot write ({error.strerror}); set LUTRA_CACHE to a folder") from None
    try:
        done = subprocess.run([*command, "-o", temporary], capture_output=True, text=True)
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise ToolError(f"{name}: compiling failed: {first}; the command was: {shlex.join(command)}")
        Path(temporary).chmod(0o755)
        Path(temporary).replace(library)
    finally:
        Path(temporary).unlink(missing_ok=True)
