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
    projected: float | None = None
    """As the paper computes it, of one layer and from its own figures; for tables that have such a column."""

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
        return Table(self.title, self._header, tuple(self._cells(row) for row in self.rows))

    def to_markdown(self) -> str:
        """The table as Markdown, with its notes below."""
        lines = [f"**{escape.markdown(self.title)}**", "", f"| {' | '.join(self._header)} |"]
        lines.append(f"| --- | --- |{' ---: |' * (len(self._header) - 3)} --- |")
        lines += [f"| {' | '.join(map(escape.markdown, self._cells(row)))} |" for row in self.rows]
        lines += ["", *(f"- {escape.markdown(note)}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    @property
    def _projects(self) -> bool:
        return any(row.projected is not None for row in self.rows)

    @property
    def _header(self) -> tuple[str, ...]:
        projected = ("as the paper projects it",) if self._projects else ()
        return ("quantity", "unit", "paper", *projected, "ours", "ours / paper", "remark")

    def _cells(self, row: Row) -> tuple[str, ...]:
        projected = (_number(row.projected),) if self._projects else ()
        figures = (_number(row.ours), _number(row.ratio, 3))
        return (row.quantity, row.unit, _number(row.paper), *projected, *figures, row.remark)

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
