"""Reading files that may hold anything: regular ones, of bounded size, JSON within bounds."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from lutra.limits import JSON_DEPTH, JSON_DIGITS
from lutra.names import shown


def read_bytes(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes; nothing is read of a larger one.

    Raises:
        OSError: it cannot be read, or is larger, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would otherwise be waited for
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > largest:
            raise OSError(errno.EFBIG, f"has {status.st_size:,} bytes, at most {largest:,} are read", str(path))
        with os.fdopen(handle, "rb", closefd=False) as opened:
            content = opened.read()
    finally:
        os.close(handle)
    for journal in _journals:
        journal.read(path, content)
    return content


class Journal:
    """What a step reads, and what it writes itself, by the SHA-256 of the content at that moment."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.digests: dict[str, str] = {}
        """Of what was read, by path relative to the folder; the first time counts."""
        self.written: dict[str, str | None] = {}
        """Of what was written; None for what was removed."""

    def read(self, path: Path, content: bytes) -> None:
        """Note what was read of a file."""
        if (name := self._name(path)) is not None and name not in self.written:
            self.digests.setdefault(name, hashlib.sha256(content).hexdigest())

    def wrote(self, path: Path) -> None:
        """Note a file that was just written, or removed."""
        if (name := self._name(path)) is not None:
            self.written[name] = digest(path) if path.is_file() else None

    def _name(self, path: Path) -> str | None:
        place = path.parent.resolve() / path.name
        return place.relative_to(self._root).as_posix() if place.is_relative_to(self._root) else None


_journals: list[Journal] = []


@contextlib.contextmanager
def keeping_journal(root: Path) -> Iterator[Journal]:
    """Note what this process reads and writes below the folder `root`, in all of its threads."""
    journal = Journal(root)
    _journals.append(journal)
    try:
        yield journal
    finally:
        _journals.remove(journal)


def note_written(*paths: Path) -> None:
    """Tell the journals that this process has written, or removed, files."""
    for journal in _journals:
        for path in paths:
            journal.wrote(path)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parse_json(content: bytes) -> Any:
    """JSON as RFC 8259 has it, within the limits of `lutra.limits`, every key of an object once.

    Raises:
        ValueError: anything else, in a few words.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:  # whose text holds all of `content`
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    depth = 0
    for token in _STRUCTURE.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > JSON_DEPTH:
            raise ValueError(f"more than {JSON_DEPTH} objects or lists inside each other")
    value = json.loads(
        text,
        parse_int=_integer,
        parse_float=_real,
        parse_constant=_no_constant,
        object_pairs_hook=_object,
    )
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair, which is no character") from None
    return value


def _integer(digits: str) -> int:
    if len(digits) > JSON_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if len(digits) > JSON_DIGITS or not math.isfinite(value):
        raise ValueError(f"the number {digits[:20]}{'...' if len(digits) > 20 else ''} is too long or too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shown(next(name for name in names if names.count(name) > 1))} comes twice")
    return found
