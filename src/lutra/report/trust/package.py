"""What can be trusted of the folder of an IP core: its files belong together, and to its build hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lutra.errors import InputError
from lutra.escape import brief
from lutra.hardware.axi.package import MANIFEST, digest_without_hash
from lutra.limits import LOG_BYTES
from lutra.reading import read_bytes
from lutra.runs.schemas.package import PackageManifest
from lutra.runs.typed import read_record
from lutra.sources import require_harmless


def is_package(folder: Path) -> bool:
    """Whether an IP core was written there."""
    return (folder / MANIFEST).is_file()


def checks(folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is looked at, and how; a look raises for what is wrong."""
    yield MANIFEST, lambda: _summary(_manifest(folder))
    yield "files", lambda: _files(folder, _manifest(folder))
    yield "build hash", lambda: _hash(folder, _manifest(folder))
    yield "rtl", partial(_rtl, folder)


def _manifest(folder: Path) -> dict[str, Any]:
    return read_record(folder / MANIFEST, PackageManifest, "package")


def _summary(manifest: dict[str, Any]) -> str:
    return f"{manifest['name']}, build {manifest['build_hash']}, {len(manifest['blocks'])} blocks"


def _content(folder: Path, name: str) -> bytes:
    try:
        return read_bytes(folder / name, LOG_BYTES)
    except FileNotFoundError:
        raise InputError(f"{name} is missing") from None
    except OSError as error:
        raise InputError(f"{name}: cannot read it ({error.strerror})") from None


def _files(folder: Path, manifest: dict[str, Any]) -> str:
    # Tools and Python leave files of their own beside ours, but none among the sources.
    found = {path.relative_to(folder).as_posix() for path in (folder / "rtl").rglob("*") if not path.is_dir()}
    if more := sorted(found - manifest["files"].keys()):
        raise InputError(f"{brief(more[0])} does not belong to the core")
    for name, digest in manifest["files"].items():
        if hashlib.sha256(_content(folder, name)).hexdigest() != digest:
            raise InputError(f"{name} is not what was written")
    return f"{len(manifest['files'])} files as they were written"


def _hash(folder: Path, manifest: dict[str, Any]) -> str:
    files = {name: _content(folder, name) for name in manifest["files"]}
    computed = digest_without_hash(files, manifest["build_hash"])
    if computed != manifest["build_hash"]:
        raise InputError(f"the files are of build {computed}, they say {manifest['build_hash']}")
    return "the digest of all files, which RTL, drivers and vectors carry"


def _rtl(folder: Path) -> str:
    sources = sorted(path for path in (folder / "rtl").rglob("*") if path.suffix in (".sv", ".v", ".svh", ".vh"))
    require_harmless(sources)
    return f"{len(sources)} sources that can do nothing but compute"
