"""A table of a paper beside ours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lutra import escape
from lutra.report.tables import Table


@dataclass(frozen=True)
class Row:
    """One quantity; `paper` or `ours` is None where the paper does not print it or we have not measured it."""

    quantity: str
    unit: str
    paper: float | None
    ours: float | None
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the paper's."""
        return None if not self.paper or self.ours is None else self.ours / self.paper


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper beside ours."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_table(self) -> Table:
        """The same for a terminal, without its notes."""
        rows = [
            (row.quantity, row.unit, _number(row.paper), _number(row.ours), _number(row.ratio, 3), row.remark)
            for row in self.rows
        ]
        return Table(self.title, ("quantity", "unit", "paper", "ours", "ours / paper", "remark"), tuple(rows))

    def to_markdown(self) -> str:
        """The table as Markdown, with its notes below."""
        lines = [f"**{escape.markdown(self.title)}**", "", "| quantity | unit | paper | ours | ours / paper | remark |"]
        lines.append("| --- | --- | ---: | ---: | ---: | --- |")
        for row in self.rows:
            cells = (row.quantity, row.unit, _number(row.paper), _number(row.ours), _number(row.ratio, 3), row.remark)
            lines.append(f"| {' | '.join(map(escape.markdown, cells))} |")
        lines += ["", *(f"- {escape.markdown(note)}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The table as plain values."""
        rows = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in self.rows]
        return {"name": self.name, "title": self.title, "rows": rows, "notes": list(self.notes)}


def _number(value: float | None, significant: int = 4) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) >= 10:
        return f"{int(value):,}"
    return f"{value:.{significant}g}"
