"""What a name may be, wherever Lutra reads one: the one place that says so; imports nothing but the errors.

Files come from others. A name out of a file ends up in SystemVerilog, in scripts, in pages and in paths, so it has an
alphabet in which nothing means anything to any of them; `lutra.escape` is the second line of defence.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator

from lutra.errors import InputError

LONGEST_NAME = 200
LONGEST_FILE_NAME = 100
"""Of what becomes a file's or a folder's name: the system allows 255 bytes, and we add endings."""
LONGEST_TEXT = 4000
MOST_NOTES = 100

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHOWN = 40
"""How much of a wrong name a message repeats."""


def shown(text: str) -> str:
    """A piece of text that nobody has checked, quoted for a message: ASCII, on one line, not endless."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def name_problem(text: str) -> str | None:
    """Why `text` is not a name; None if it is one.

    A name is what modules, graphs, values, tensors, tasks and tools are called: ASCII letters, digits, `_`, `.` and
    `-`, beginning and ending with a letter, a digit or `_`, such as "transformer.h.0.mlp".
    """
    if len(text) > LONGEST_NAME:
        return f"has {len(text)} characters, a name has at most {LONGEST_NAME}"
    if not _NAME.fullmatch(text):
        return f"is {shown(text)}; a name has letters, digits, _, . and - only, and does not begin or end with . or -"
    return None


def file_name_problem(text: str) -> str | None:
    """Why `text` cannot name a file or a folder; None if it can. Such a name never leads anywhere else."""
    if len(text) > LONGEST_FILE_NAME:
        return f"has {len(text)} characters, this name has at most {LONGEST_FILE_NAME}"
    if not _FILE_NAME.fullmatch(text):
        return f"is {shown(text)}, not of the pattern of file names: letters, digits, ., _ and -, no sign first"
    return None


def path_problem(text: str) -> str | None:
    """Why `text` is not the path of a file below a folder, such as "rtl/fold_1/my notes.txt"; None if it is.

    People put files of their own beside ours, so that parts are any text of one line, but never lead elsewhere.
    """
    if problem := text_problem(text):
        return problem
    if any(part in ("", ".", "..") for part in text.split("/")):
        return f"is {shown(text)}, which is not a path below the folder"
    return None


def text_problem(text: str) -> str | None:
    """Why `text` is not one line of text for people; None if it is.

    Any letters and signs, but no line ends, control characters, marks that change the direction of writing, or halves
    of surrogate pairs.
    """
    if len(text) > LONGEST_TEXT:
        return f"has {len(text)} characters, there is room for {LONGEST_TEXT}"
    if wrong := next((character for character in text if not is_printable(character)), None):
        return f"has the character U+{ord(wrong):04X} in it, which is not for one line of text"
    return None


def is_printable(character: str) -> bool:
    """Whether a character stands on a line and leaves its neighbours alone."""
    # Cc control, Cf format (marks of direction among them), Cs surrogates, Zl and Zp line ends.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def file_name_of(text: str, default: str) -> str:
    """A file's name that is as near to `text` as the alphabet allows; `default` where nothing is left."""
    kept = "".join(c if re.fullmatch("[A-Za-z0-9._-]", c) else "-" for c in text).strip("-._")
    return kept[:LONGEST_FILE_NAME] or default


def require_name(text: Any, where: str) -> str:
    """`text`, if it is a name.

    Raises:
        InputError: it is not; `where` says what it is the name of.
    """
    if not isinstance(text, str):
        raise InputError(f"{where} must be a name, got {type(text).__name__}")
    if problem := name_problem(text):
        raise InputError(f"{where} {problem}")
    return text


def require_file_name(text: Any, where: str) -> str:
    """`text`, if it can name a file.

    Raises:
        InputError: it cannot; `where` says what it would name.
    """
    if not isinstance(text, str):
        raise InputError(f"{where} must be a name, got {type(text).__name__}")
    if problem := file_name_problem(text):
        raise InputError(f"{where} {problem}")
    return text


def require_identifier(text: str, where: str) -> str:
    """`text`, if it is an identifier of SystemVerilog, C++ and Tcl alike (ASCII letters, digits and `_`).

    Raises:
        InputError: it is not; `where` says what it is the name of.
    """
    if len(text) > LONGEST_NAME or not _IDENTIFIER.fullmatch(text):
        raise InputError(f"{where} is {shown(text)}; write letters, digits and _ only, a letter or _ first")
    return text


def _checked(problem_of: Any) -> AfterValidator:
    def check(text: str) -> str:
        if problem := problem_of(text):
            raise ValueError(problem)
        return text

    return AfterValidator(check)


Name = Annotated[str, _checked(name_problem)]
"""A name in a pydantic model."""
FileName = Annotated[str, _checked(file_name_problem)]
"""A name that becomes that of a file or a folder, in a pydantic model."""
Text = Annotated[str, _checked(text_problem)]
"""One line for people, in a pydantic model."""
PathBelow = Annotated[str, _checked(path_problem)]
"""The path of a file below a folder that the reader knows, in a pydantic model."""
