"""The SystemVerilog that lies in a folder, looked at before any tool reads it: it may have come from somebody else.

A simulation of SystemVerilog can call C functions, start commands, and read and write files. What Lutra generates does
none of that, so nothing that could is let through, wherever in a file it stands, comments included. Logic may be
edited as one likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lutra.errors import RunDirectoryError
from lutra.names import shown

FILE_LIST = "filelist.f"
LARGEST_SOURCE = 1 << 30
"""Bytes of one source file; the largest that we write are tens of megabytes."""

SYSTEM_NAMES = frozenset(
    [
        "$bits",
        "$clog2",
        "$countones",
        "$error",
        "$fatal",
        "$info",
        "$isunknown",
        "$onehot",
        "$onehot0",
        "$signed",
        "$unsigned",
        "$warning",
    ]
)
"""Elaboration, types and checks; none reads or writes anything but messages."""
DIRECTIVES = frozenset(
    ["`default_nettype", "`else", "`elsif", "`endif", "`ifdef", "`ifndef", "`resetall", "`timescale"]
)
"""No `define, which can spell any word, and no `include."""
_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:sv|v)", re.ASCII)
_TABLE = re.compile(rb"\$readmemh\((?:[A-Z]\w*), [a-z]\w*\);")
"""How library modules read a table of hexadecimal words: from the file that a parameter names, never a literal."""
_FILE = re.compile(rb'"[^"\n]*[/\\][^"\n]*"')
"""A string that could lead out of the design's folder."""
_SUSPECT = re.compile(rb"\$[\w$]*|`\w*|\b(?:import|export)\b|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def listed_sources(rtl: Path) -> list[str]:
    """The source files that `rtl/filelist.f` names, in order: plain paths of SystemVerilog below `rtl`.

    Raises:
        RunDirectoryError: no file list, or it names no source, or something else than one.
    """
    filelist = rtl / FILE_LIST
    try:
        text = filelist.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunDirectoryError(f"{filelist}: not there; run `lutra rtl` first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{filelist}: cannot read it ({error}); run `lutra rtl` again") from None
    sources = [line for raw in text.splitlines() if (line := raw.split("//")[0].strip())]
    if not sources:
        raise RunDirectoryError(f"{filelist}: names no source; run `lutra rtl` again")
    for source in sources:
        if not _PATH.fullmatch(source) or ".." in source:
            raise RunDirectoryError(f"{filelist}: {shown(source)} is not a source file in it; run `lutra rtl` again")
    return sources


def require_harmless(sources: Iterable[Path]) -> None:
    """Make sure that simulating or synthesising `sources` does nothing but compute.

    Raises:
        RunDirectoryError: a file cannot be read, or holds a system task, directive, import or control character that
            no RTL of ours has; names file, line and word.
    """
    for path in sources:
        try:
            if path.stat().st_size > LARGEST_SOURCE or not path.is_file():
                raise RunDirectoryError(f"{path}: not a source file of a design; run `lutra rtl` again")
            content = path.read_bytes()
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot read it ({error.strerror}); run `lutra rtl` again") from None
        for found in _SUSPECT.finditer(content):
            word = found[0].decode("ascii", errors="replace")
            if word == "$readmemh" and _TABLE.match(content, found.start()) and not _FILE.search(content):
                continue
            if word not in SYSTEM_NAMES and word not in DIRECTIVES:
                line = content.count(b"\n", 0, found.start()) + 1
                raise RunDirectoryError(
                    f"{path}: line {line} has {shown(word)}, which no RTL of Lutra has and which could run commands or "
                    "touch files; nothing was run, `lutra rtl` writes it again"
                )
