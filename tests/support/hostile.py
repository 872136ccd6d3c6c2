"""Strings that mean something to some language, and documents with one of their strings replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CANARY = "canary-of-the-tests"
"""A file that an executed string would create, in the working directory of whoever executes it."""

STRINGS = {
    "line break and a module": (
        f'x\nmodule evil; initial $system("touch {CANARY}"); endmodule\nbind lutra_controller evil u_evil ();\n//'
    ),
    "carriage return": f'x\rmodule evil; initial $system("touch {CANARY}"); endmodule',
    "end of a comment": f'x */ initial $system("touch {CANARY}"); /*',
    "quotes": f'x"); system("touch {CANARY}"); //',
    "a shell's substitution": f"$(touch {CANARY})",
    "backticks": f"`touch {CANARY}`",
    "Tcl's substitution": f"[exec touch {CANARY}]",
    "Tcl's brace": f"x}} ; exec touch {CANARY} ; {{",
    "a Yosys command": f"x; exec -- touch {CANARY}",
    "a Makefile's function": f"$(shell touch {CANARY})",
    "a script of a page": "</script><script>alert(1)</script>",
    "an attribute of a page": "\"><img src=x onerror='alert(1)'>",
    "a way out": "../../../escaped",
    "an absolute path": f"/tmp/{CANARY}",
    "markup of a terminal": "[/red][bold]x[/bold]",
    "a terminal's escape": "\x1b]0;owned\x07\x1b[2J",
    "NUL": "x\0y",
    "very long": "x" * 10_000,
    "direction of writing": "x\u202ey\u2066z",
    "line separator": "x\u2028module evil; endmodule",
    "half of a surrogate pair": "x\ud800",
    "a cell of a table": "x | y | z",
    "a formula": "$x$ and $\\frac$",
    "a template": "${__import__('os').system('touch " + CANARY + "')}",
    "a continued line": "x\\",
    "an option": "--exec",
    "nothing": "",
}


def string_places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all strings in a document of JSON or TOML: values, and the keys of objects (as a last `"key"`)."""
    if isinstance(document, str):
        yield place
    elif isinstance(document, dict):
        for key, value in document.items():
            yield (*place, key, KEY)
            yield from string_places(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from string_places(value, (*place, index))


KEY = object()
"""Last part of a path that leads to a key itself."""


def replaced(document: Any, place: tuple[Any, ...], text: str) -> Any:
    """A copy of a document with another string at `place`."""
    changed = copy.deepcopy(document)
    node = changed
    if place[-1] is KEY:
        for part in place[:-2]:
            node = node[part]
        node[text] = node.pop(place[-2])
        return changed
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = text
    return changed


def canaries(*folders: Path) -> list[Path]:
    """Files that something executed has left."""
    return [path for folder in (*folders, Path("/tmp")) for path in folder.glob(f"*{CANARY}*")]
