"""Tables as text of any width: words wrap, columns move below each other, and no word, so no number, is ever cut."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from lutra.escape import visible
from lutra.report.tables import Table

GAP = 2
_ENDLESS = 1 << 30


def output_width() -> int | None:
    """Columns of the terminal, or of the variable COLUMNS; None where neither says (a pipe, a file)."""
    return shutil.get_terminal_size((0, 0)).columns or None


def render(table: Table, width: int | None) -> str:
    """The table with its title, in lines of at most `width` characters wherever single words allow it."""
    header = [visible(cell) for cell in table.header]
    rows = [[visible(cell) for cell in row] for row in table.rows]
    title = _wrap(visible(table.title), width or _ENDLESS)
    parts = [_part(header, rows, columns, width) for columns in _groups(header, rows, width)]
    return "\n\n".join(["\n".join([*title, parts[0]]), *parts[1:]]) + "\n"


def _groups(header: list[str], rows: list[list[str]], width: int | None) -> list[list[int]]:
    """Which columns stand beside each other; the first, which names the rows, begins every group."""
    every = list(range(len(header)))
    if width is None or not every:
        return [every]
    narrow = [_narrowest(_column(header, rows, index)) for index in every]
    groups, used = [[0]], narrow[0]
    for index in every[1:]:
        if used + GAP + narrow[index] > width and len(groups[-1]) > 1:
            groups.append([0])
            used = narrow[0]
        groups[-1].append(index)
        used += GAP + narrow[index]
    return groups


def _part(header: list[str], rows: list[list[str]], columns: list[int], width: int | None) -> str:
    cells = [_column(header, rows, index) for index in columns]
    widths = [max((len(cell) for cell in column), default=0) for column in cells]
    least = [_narrowest(column) for column in cells]
    # The widest column gives first, down to its longest word.
    excess = 0 if width is None else sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0 and any(now > small for now, small in zip(widths, least, strict=True)):
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
    lines = []
    for number, row in enumerate([header, *rows]):
        wrapped = [_wrap(row[index], size) for index, size in zip(columns, widths, strict=True)]
        for line in range(max(map(len, wrapped), default=0)):
            texts = [cell[line] if line < len(cell) else "" for cell in wrapped]
            padded = [
                text.rjust(size) if place else text.ljust(size)
                for place, (text, size) in enumerate(zip(texts, widths, strict=True))
            ]
            lines.append((" " * GAP).join(padded).rstrip())
        if number == 0:
            lines.append((" " * GAP).join("─" * size for size in widths))
    return "\n".join(lines)


def _column(header: list[str], rows: list[list[str]], index: int) -> list[str]:
    return [header[index], *(row[index] for row in rows)]


def _narrowest(column: Sequence[str]) -> int:
    return max((len(word) for cell in column for word in cell.split()), default=0)


def _wrap(text: str, width: int) -> list[str]:
    """Lines of whole words; a word that is longer has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
