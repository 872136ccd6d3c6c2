"""What `lutra explore` does with a space of hardware: search it, and write record, tables, CSV and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutra.errors import RunDirectoryError
from lutra.explore.hardware.page import hardware_page
from lutra.explore.hardware.record import RECORD_NAME, read_search
from lutra.explore.hardware.search import search
from lutra.explore.hardware.space import load_hardware_space
from lutra.explore.hardware.tables import hardware_markdown, in_words, pareto_csv
from lutra.papers.records import RECORDED, Records
from lutra.runs.files import write_text

TABLE_NAME, CSV_NAME, PAGE_NAME = "table.md", "pareto.csv", "page.html"


def explore_hardware(path: Path, out: Path | None = None, records: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Search the space of a file; the folder, by default runs/NAME, and the record. `records`: a folder of your own.

    The folder gets `explore.json`, `table.md`, `pareto.csv` and `page.html`.

    Raises:
        RecipeError: not a space of hardware.
        RunDirectoryError: the folder belongs to another exploration, or is in use.
        InputError: a record is damaged.
    """
    found = Records(*filter(None, [records]), RECORDED)
    plan = load_hardware_space(path, found)
    root = out or Path("runs") / plan.space.name
    record = search(plan, root, found)
    write_text(root / TABLE_NAME, hardware_markdown(record))
    write_text(root / CSV_NAME, pareto_csv(record))
    write_text(root / PAGE_NAME, hardware_page(plan, record, in_words(record)))
    return root, record


def load_hardware(root: Path) -> dict[str, Any]:
    """The record of a finished search.

    Raises:
        RunDirectoryError: it has not finished.
    """
    record = read_search(root / RECORD_NAME)
    if not record["finished"]:
        raise RunDirectoryError(f"{root}: the search has not finished; lutra explore SPACE.toml goes on with it")
    return record
