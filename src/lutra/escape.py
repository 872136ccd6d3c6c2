"""Text for other languages: the one place that knows what each of them takes for an instruction.

Every template and every writer passes what it did not write itself through here, also what `lutra.names` has checked
when it was read: neither relies on the other.
"""

from __future__ import annotations

import html as _html
import re

from lutra.errors import InputError
from lutra.names import is_printable, require_identifier, shown

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+=@%:,-]+", re.ASCII)
_IN_BRACES = re.compile(r"[A-Za-z0-9_./:,+=@\[\] -]*", re.ASCII)
_IN_COMMENT = re.compile(r"[A-Za-z0-9 _.,:;()+=<>\[\]-]", re.ASCII)

LONGEST_MESSAGE = 500
"""Of a message that another part of Lutra has made, around what somebody wrote."""


def comment(text: str) -> str:
    """For a comment to the end of the line in SystemVerilog, C++, Tcl, Yosys scripts and Makefiles.

    Whatever could end the comment, go on in the next line, or be read by a tool that looks into comments is written as
    its number.
    """
    return "".join(each if _IN_COMMENT.fullmatch(each) else f"<{ord(each):04X}>" for each in str(text))


def identifier(text: str) -> str:
    """For the name of a module, a signal, a function: there is no way to write other text as one, so it is refused.

    Raises:
        InputError: not an identifier.
    """
    return require_identifier(str(text), "identifier")


def quoted(text: str) -> str:
    """A string literal of SystemVerilog or C++, with its quotes; other than printable ASCII in octal."""
    plain = set(range(0x20, 0x7F)) - {ord('"'), ord("\\"), ord("?"), ord("%"), ord("`"), ord("$")}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in str(text).encode()) + '"'


def tcl(text: str) -> str:
    """One word of Tcl: no command, variable or backslash in it is looked at.

    Raises:
        InputError: a NUL, which no Tcl string in C can carry.
    """
    text = _without_nul(text)
    if _IN_BRACES.fullmatch(text):
        return f"{{{text}}}"
    return (
        '"'
        + "".join(each if _IN_BRACES.fullmatch(each) and each not in "[] " else _number(each) for each in text)
        + '"'
    )


def _number(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def makefile(text: str) -> str:
    """A word of a Makefile, as a target or in a recipe that the shell does not see.

    Raises:
        InputError: a line end or NUL, which no Makefile can carry in a word.
    """
    text = _without_nul(text)
    if len(text.splitlines()) != 1:
        raise InputError(f"{shown(text)} cannot stand in a Makefile; use a path without line ends")
    return re.sub(r"([\s#:%\\])", r"\\\1", text).replace("$", "$$")


def yosys(text: str) -> str:
    """A file's name in a Yosys script, whose quoting differs from version to version: only plain paths are taken.

    Raises:
        InputError: anything but letters, digits and a few signs in it, or a name that looks like an option.
    """
    if not _PLAIN_PATH.fullmatch(text) or text.startswith("-"):
        raise InputError(f"{shown(text)} cannot be named in a script of Yosys; use letters, digits, ., _, - and /")
    return text


def html(text: str) -> str:
    """Text or the value of an attribute in HTML and SVG; what cannot be seen is shown as its number."""
    return _html.escape(visible(text, keep="\n\t"))


def markdown(text: str) -> str:
    """A cell of a table, or running text on one line, in Markdown: no other cell, line, link or HTML begins in it."""
    return re.sub(r"([|\\])", r"\\\1", visible(text)).replace("](", "]\\(").replace("<", "&lt;")


def visible(text: str, keep: str = "") -> str:
    """For a terminal or a log: no character of `text` moves the cursor, rings, or turns the direction of writing.

    What is not printable and not in `keep` is written as its number.
    """
    return "".join(each if each in keep or is_printable(each) else f"<{ord(each):04X}>" for each in str(text))


def brief(text: str, longest: int = 120) -> str:
    """For a message that repeats what somebody wrote: visible, and not endless."""
    return visible(text if len(text) <= longest else f"{text[:longest]}...")


def toml(text: str) -> str:
    """A basic string of TOML, with its quotes."""
    written = []
    for each in text:
        if each in '"\\':
            written.append(f"\\{each}")
        elif ord(each) < 0x20 or ord(each) == 0x7F:
            written.append(f"\\u{ord(each):04X}")
        elif 0xD800 <= ord(each) < 0xE000:
            raise InputError(f"{shown(text)}: half of a surrogate pair; TOML cannot carry it")
        else:
            written.append(each)
    return f'"{"".join(written)}"'


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise InputError(f"{shown(text)} holds a NUL; use another name")
    return text
