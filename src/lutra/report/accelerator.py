"""What a run of a BERT's chain shows of BAT: what was simulated, what agreed, how long a sentence takes."""

from __future__ import annotations

from typing import Any

from lutra.report.build import Section
from lutra.report.tables import UNKNOWN, Table, count, number

HOST = "Embedding, pooler and classifier run on the host and are not in these cycles."


def simulation_table(evidence: dict[str, Any]) -> Table | None:
    """One row per method that the accelerator takes."""
    rows = [
        (
            method,
            str(len(each["config"]["modules"])),
            count(each["sentences"]),
            count(each["values"]),
            count(each["mismatches"]),
            "yes" if each["cycles_match"] else "no",
            count(round(each["cycles"] / each["sentences"])),
            number(1e3 * each["seconds_per_sentence"], 3),
            _per_cent(each["utilisation"]),
        )
        for method, each in evidence["designs"].items()
    ]
    header = (
        *("method", "modules", "sentences", "values compared", "that differ", "cycles as predicted"),
        *("cycles per sentence", "ms per sentence", "of the engines' peak"),
    )
    return Table("Accelerator (BAT) in simulation, against golden", header, tuple(rows)) if rows else None


def blocks_table(method: str, design: dict[str, Any]) -> Table:
    """The verdict per block of a method."""
    rows = [
        (block, count(each["values"]), count(each["differing"]))
        for block, each in sorted(design["blocks"].items(), key=_order)
    ]
    return Table(f"{method}: values of every block", ("block", "compared", "that differ"), tuple(rows))


def groups_table(method: str, design: dict[str, Any]) -> Table:
    """Cycles of the sentences that ran at the same time."""
    rows = [
        (
            " and ".join(map(str, group["tokens"])),
            UNKNOWN if group["cycles_measured"] is None else count(group["cycles_measured"]),
            count(group["cycles_predicted"]),
            "equal" if group["problem"] is None else group["problem"],
        )
        for group in design["groups"]
    ]
    return Table(f"{method}: sentences", ("tokens", "cycles", "predicted", "values"), tuple(rows))


def accelerator_section(evidence: dict[str, Any] | None, run: str) -> Section:
    """Of the page."""
    if evidence is None:
        return Section("accelerator", "Accelerator", missing=f"Not run: lutra simulate {run}")
    table = simulation_table(evidence)
    refused = tuple(f"{method}: {reason}" for method, reason in evidence["refused"].items())
    if table is None:
        return Section(
            "accelerator", "Accelerator", paragraphs=("No method of this run fits the accelerator.",), points=refused
        )
    designs = evidence["designs"]
    clock = next(iter(designs.values()))["clock_hz"]
    return Section(
        key="accelerator",
        title="Accelerator",
        paragraphs=(
            "The binarized model in SystemVerilog (BAT): sentences of the development set went through all layers in "
            "simulation, and every number and code that a unit handed over was compared with the golden model's, bit "
            f"for bit. Milliseconds are cycles at {clock / 1e6:g} MHz; no tool has placed the design. {HOST}",
        ),
        tables=(
            table,
            *(blocks_table(method, design) for method, design in designs.items()),
            *(groups_table(method, design) for method, design in designs.items()),
        ),
        points=refused,
    )


def _order(block: tuple[str, Any]) -> tuple[int, str]:
    _, index, name = block[0].split(".")
    return int(index), name


def _per_cent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{number(100 * share, 1)} %"
