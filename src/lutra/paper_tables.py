"""What `lutra table` prints: a table of the papers, of your own model, or from syntheses that run again."""

from __future__ import annotations

import logging
from pathlib import Path

from lutra.cost.table import Table
from lutra.cost.tables import RESULTS_FOLDER
from lutra.cost.tables import table as paper_table
from lutra.errors import InputError

log = logging.getLogger("lutra")


def workload_table(name: str, config: Path, tokens: int | None) -> Table:
    """Parameters and operations of the model that a Hugging Face `config.json` describes.

    Raises:
        InputError: `name` is another table, or the file describes no transformer that is known.
    """
    from lutra.cost import shapes, shares

    if name != "quweit-1":
        raise InputError(f"--config: the table of a model's workload is quweit-1, not {name}")
    return shares.workload_table(shapes.shape_of_huggingface(config, tokens))


def recorded_table(name: str, results: Path | None = None) -> Table:
    """The table from the results recorded in a folder, by default those that come with Lutra.

    Raises:
        InputError: there is no such table, or a record is damaged.
    """
    return paper_table(name, results or RESULTS_FOLDER)


def synthesise_again(name: str, results: Path | None, jobs: int) -> None:
    """Run the syntheses behind a table again and record them, `jobs` at the same time; see `lutra.cost.fresh`.

    Raises:
        ToolError: Yosys is missing, or a synthesis failed; finished ones stay.
    """
    from lutra.cost.fresh import refresh
    from lutra.cost.syntheses import fresh_pieces

    if pieces := fresh_pieces(name):
        refresh(pieces, results or RESULTS_FOLDER, jobs)
    else:
        log.info("%s rests on no synthesis of ours: nothing to run again", name)


def draw_table(name: str, path: Path) -> None:
    """Write the figure of a table as SVG.

    Raises:
        InputError: the table has no figure.
    """
    from lutra.cost.shares import figure_workloads
    from lutra.files import write_text
    from lutra.report.figures import standalone
    from lutra.report.shares_figure import shares_figure

    if name != "quweit-fig1":
        raise InputError(f"--figure: the table with a figure is quweit-fig1, not {name}")
    write_text(path, standalone(shares_figure(figure_workloads())))
