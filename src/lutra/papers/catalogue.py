"""Every table and figure of the papers by name: what builds it, and the experiments whose records it prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lutra.errors import InputError
from lutra.papers.bmt.figures import bmt_figure_10, bmt_figure_11, bmt_figure_12
from lutra.papers.bmt.hardware import bmt_5, bmt_6
from lutra.papers.bmt.modules import bmt_6_modules
from lutra.papers.bmt.scores import bmt_4
from lutra.papers.experiments.bat_precisions import precision_pieces
from lutra.papers.experiments.bat_units import bat_pieces
from lutra.papers.experiments.designs import design_pieces
from lutra.papers.experiments.machine import machine_pieces
from lutra.papers.experiments.run import Piece
from lutra.papers.experiments.table_3 import table_3_pieces
from lutra.papers.quweit.accuracy import quweit_2
from lutra.papers.quweit.hardware import quweit_1, quweit_3, quweit_4
from lutra.papers.quweit.machine import quweit_4_machine
from lutra.papers.quweit.shares import quweit_figure_1
from lutra.papers.quweit.whole_model import quweit_4_model
from lutra.papers.records import Records
from lutra.papers.table import PaperTable


@dataclass(frozen=True)
class TableEntry:
    """One row of the catalogue."""

    build: Callable[[Records], PaperTable]
    """The table from recorded results."""
    experiments: Callable[[], Sequence[Piece]] | None = None
    """The syntheses and simulations behind it that run without a trained model, for `--fresh`."""


TABLES: dict[str, TableEntry] = {
    "quweit-1": TableEntry(quweit_1),
    "quweit-fig1": TableEntry(quweit_figure_1),
    "quweit-2": TableEntry(quweit_2),
    "quweit-3": TableEntry(quweit_3, table_3_pieces),
    "quweit-4": TableEntry(quweit_4, design_pieces),
    "quweit-4-model": TableEntry(quweit_4_model),
    "quweit-4-machine": TableEntry(quweit_4_machine, machine_pieces),
    "bmt-4": TableEntry(bmt_4),
    "bmt-5": TableEntry(bmt_5),
    "bmt-6": TableEntry(bmt_6, bat_pieces),
    "bmt-6-modules": TableEntry(bmt_6_modules, bat_pieces),
    "bmt-fig10": TableEntry(bmt_figure_10, bat_pieces),
    "bmt-fig11": TableEntry(bmt_figure_11, precision_pieces),
    "bmt-fig12": TableEntry(bmt_figure_12),
}


def entry(name: str) -> TableEntry:
    """The row of a table.

    Raises:
        InputError: no such table.
    """
    if name not in TABLES:
        raise InputError(f"no table {name}; there are {', '.join(TABLES)}")
    return TABLES[name]


def table(name: str, records: Records) -> PaperTable:
    """The table called `name`; measured values come from `records`.

    Raises:
        InputError: no such table, or a record that is not JSON.
    """
    return entry(name).build(records)
