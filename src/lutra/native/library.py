"""C++ kernels as plain C libraries: compiled on first use, cached, loaded with ctypes (which drops the GIL in calls).

A library is cached under a hash of its sources, the headers beside and below them and beside this file, the flags and
the compiler, so that a stale one is never loaded. A wheel brings libraries that were compiled when it was built
(setup.py). Nothing is compiled for "this machine": kernels carry their target attributes and choose the instruction set
at run time, because a wheel or a cache folder may be shared by different machines.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import tempfile
from pathlib import Path

from lutra import children, settings
from lutra.errors import ToolError

PREBUILT = Path(__file__).parent / "prebuilt"
"""Libraries of a wheel; not there in a source tree."""

# Never -ffast-math: it switches flush-to-zero on for the whole process. No contraction: results equal on every machine.
BASE_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-pthread")


logger = logging.getLogger("lutra")
SHARED_HEADERS = Path(__file__).parent


def compiler() -> tuple[str, ...] | None:
    """How the C++ compiler is called: `$CXX` in words, as a shell splits it, if that is set, else g++, c++ or clang++.

    None if there is none.
    """
    try:
        chosen = shlex.split(settings.CXX.text or "")
    except ValueError:  # a quote that does not end
        return None
    for program, *arguments in [chosen] if chosen else [["g++"], ["c++"], ["clang++"]]:
        if path := shutil.which(program):
            return (path, *arguments)
    return None


def compiler_available() -> bool:
    """Whether `load_library` can compile."""
    return compiler() is not None


def cache_folder() -> Path:
    """Where compiled libraries lie: `$LUTRA_CACHE`, else `~/.cache/lutra`, else (there is no home) a temporary one.

    Raises:
        ToolError: others may write into it: what is loaded from it would be theirs.
    """
    folder = settings.CACHE.path
    if folder is None:
        try:
            folder = Path.home() / ".cache" / "lutra"
        except RuntimeError:
            folder = _temporary_cache()
    require_own(folder)
    return folder


@functools.cache
def _temporary_cache() -> Path:
    made = tempfile.TemporaryDirectory(prefix="lutra-cache-")
    atexit.register(made.cleanup)
    logger.warning("no home folder: compiled code is kept in %s for now; set LUTRA_CACHE to keep it", made.name)
    return Path(made.name)


def require_own(path: Path) -> None:
    """Make sure that nobody but this user and root can have put something into a file or folder, if it is there.

    Raises:
        ToolError: it belongs to somebody else, or others may write to it.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ToolError(f"{path}: cannot look at it ({error.strerror}); set LUTRA_CACHE to a folder") from None
    if status.st_uid not in (0, os.getuid()) or status.st_mode & stat.S_IWOTH:
        raise ToolError(f"{path}: belongs to another user, or others may write to it; set LUTRA_CACHE to your own")


def load_library(name: str, sources: list[Path], flags: list[str]) -> ctypes.CDLL:
    """Load C++ sources, compiled with `BASE_FLAGS + flags` unless prebuilt or cached.

    The `*.h` files beside and below them count as sources.

    Several processes may call this at once: each compiles into its own temporary file and renames it.

    Raises:
        ToolError: no compiler, the cache folder cannot be written, or compiling or loading failed.
    """
    prebuilt = PREBUILT / f"{name}-{_key(sources, flags, '')}.so"
    if prebuilt.exists():
        with contextlib.suppress(OSError):  # built for a newer C library than this machine's
            return _opened(prebuilt)
    compiler_call = _compiler_or_error(name)
    library = cache_folder() / f"{name}-{_key(sources, flags, _version(compiler_call))}.so"
    require_own(library)
    if not library.exists():
        _compile(name, library, _command(compiler_call, sources, flags))
    try:
        return _opened(library)
    except OSError as error:
        raise ToolError(f"{library}: cannot load it ({error}); delete the file to compile it again") from None


_forks: list[int] = []
"""Processes since this module was imported, each a child of the one before: empty where it was imported."""
os.register_at_fork(after_in_child=lambda: _forks.append(os.getpid()))


def _opened(library: Path) -> ctypes.CDLL:
    kernels = ctypes.CDLL(str(library))
    if _forks and hasattr(kernels, "lutra_in_forked_child"):  # only those with threads have it (threads.h)
        kernels.lutra_in_forked_child()
    return kernels


def prebuild(name: str, sources: list[Path], flags: list[str], folder: Path) -> None:
    """Compile a library into `folder`, where `load_library` looks first if it is installed as `PREBUILT`.

    Raises:
        ToolError: no compiler, the folder cannot be written, or compiling failed.
    """
    command = _command(_compiler_or_error(name), sources, flags)
    _compile(name, folder / f"{name}-{_key(sources, flags, '')}.so", command)


def _command(compiler_call: tuple[str, ...], sources: list[Path], flags: list[str]) -> list[str]:
    return [*compiler_call, *BASE_FLAGS, f"-I{SHARED_HEADERS}", *flags, *map(str, sources), "-ldl"]


def _compiler_or_error(name: str) -> tuple[str, ...]:
    compiler_call = compiler()
    if compiler_call is None:
        raise ToolError(f"{name}: no C++ compiler; install g++, or set CXX to one")
    return compiler_call


def _key(sources: list[Path], flags: list[str], compiler_version: str) -> str:
    headers = {
        header for folder in (SHARED_HEADERS, *(source.parent for source in sources)) for header in folder.rglob("*.h")
    }
    digest = hashlib.sha256(repr((BASE_FLAGS, flags, platform.machine(), compiler_version)).encode())
    for file in [*sources, *sorted(headers)]:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


@functools.cache
def _version(compiler_call: tuple[str, ...]) -> str:
    """What the compiler says of itself, and how it is called: arguments in CXX decide what it makes."""
    called = shlex.join(compiler_call)
    try:
        asked = children.run([*compiler_call, "--version"])
    except OSError as error:
        raise ToolError(f"{called}: cannot start it ({error.strerror}); set CXX to a C++ compiler") from None
    if asked.returncode:
        raise ToolError(f"{called} --version failed with status {asked.returncode}; set CXX to a C++ compiler")
    return asked.stdout + " ".join(compiler_call[1:])


def _compile(name: str, library: Path, command: list[str]) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{library.name}.", dir=library.parent)
        os.close(handle)
    except OSError as error:
        raise ToolError(f"{library.parent}: cannot write ({error.strerror}); set LUTRA_CACHE to a folder") from None
    try:
        done = children.run([*command, "-o", temporary])
        if done.returncode != 0:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise ToolError(f"{name}: compiling failed: {first}; the command was: {shlex.join(command)}")
        Path(temporary).chmod(0o755)
        Path(temporary).replace(library)
    finally:
        Path(temporary).unlink(missing_ok=True)
