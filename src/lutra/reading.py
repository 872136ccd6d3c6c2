"""Reading files that may hold anything: regular ones, of bounded size, JSON within bounds."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
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
            return opened.read()
    finally:
        os.close(handle)


_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parse_json(content: bytes) -> Any:
    """JSON as RFC 8259 has it, within the limits of `lutra.limits`, every key of an object once.

    Raises:
        ValueError: anything else, in a few words.
    """
    text = content.decode("utf-8")
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
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no character
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
