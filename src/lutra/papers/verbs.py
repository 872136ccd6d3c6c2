"""What `lutra table` prints: a table of the papers, of your own model, or from syntheses that run again."""

from __future__ import annotations

import logging
from pathlib import Path

from lutra.errors import InputError
from lutra.papers.catalogue import entry, table
from lutra.papers.records import RECORDED, Records
from lutra.papers.table import PaperTable

log = logging.getLogger("lutra")


def workload_table(name: str, config: Path, tokens: int | None) -> PaperTable:
    """Parameters and operations of the model that a Hugging Face `config.json` describes.

    Raises:
        InputError: `name` is another table, or the file describes no transformer that is known.
    """
    from lutra.cost import huggingface
    from lutra.papers.quweit import shares

    if name != "quweit-1":
        raise InputError(f"--config: the table of a model's workload is quweit-1, not {name}")
    return shares.workload_table(huggingface.shape_of_huggingface(config, tokens))


def recorded_table(name: str, results: Path | None = None) -> PaperTable:
    """The table from the records that come with Lutra; those of the folder `results` take the place of their namesakes.

    Raises:
        InputError: there is no such table, or a record is damaged.
    """
    return table(name, Records(*filter(None, [results]), RECORDED))


def synthesise_again(name: str, results: Path, jobs: int) -> list[Path]:
    """Run the syntheses or simulations behind a table again, `jobs` at the same time; records go to `results`/synth.

    Raises:
        InputError: there is no such table.
        ToolError: a tool is missing, or failed; what has finished stays.
    """
    from lutra.papers.experiments.run import refresh

    if experiments := entry(name).experiments:
        return refresh(experiments(), results, jobs)
    log.info("%s rests on no synthesis or simulation of ours: nothing to run again", name)
    return []


FIGURES = {
    "quweit-fig1": "lutra.papers.quweit.shares:draw_figure_1",
    "bmt-fig10": "lutra.papers.bmt.figures:draw_figure_10",
    "bmt-fig11": "lutra.papers.bmt.figures:draw_figure_11",
    "bmt-fig12": "lutra.papers.bmt.figures:draw_figure_12",
}
"""What draws them, from records to SVG."""


def draw_table(name: str, path: Path, results: Path | None = None) -> None:
    """Write the figure of a table as SVG; records as for `recorded_table`.

    Raises:
        InputError: the table has no figure.
    """
    from lutra.recipes.kinds import load_function
    from lutra.report.figures import standalone
    from lutra.runs.files import write_text

    if name not in FIGURES:
        raise InputError(f"--figure: the tables with a figure are {', '.join(FIGURES)}, not {name}")
    svg = load_function(FIGURES[name])(Records(*filter(None, [results]), RECORDED))
    write_text(path, standalone(svg))
