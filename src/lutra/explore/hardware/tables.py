"""What a search of hardware found: in words, as tables, as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from lutra import escape
from lutra.accelerators.bat.search import PARALLELISMS
from lutra.explore.hardware.search import NAMES, pareto_points
from lutra.explore.table import markdown_table
from lutra.report.tables import UNKNOWN, Table

_CSV = ("method", "p_pe", "p_softmax", "sums", "accuracy", "robustness", "cycles", "milliseconds")
_COSTS = ("lut", "ff", "bram", "dsp", "needs", "energy_j", "bytes_per_second")


def shown_column(record: dict[str, Any]) -> str:
    """The column of resources that limits and choices go by, as far as it is there."""
    wanted: str = record["space"]["resources"]
    return wanted if wanted in record["columns"] else record["columns"][0]


def in_words(record: dict[str, Any]) -> tuple[str, ...]:
    """Sentences: what was searched, what is best, and how the marked point compares; one paragraph each."""
    return (_searched(record), *_chosen(record), *_compared(record))


def _searched(record: dict[str, Any]) -> str:
    entries = [entry for entry in record["entries"] if not entry["compared"]]
    built = sum(entry["buildable"] for entry in entries)
    column = shown_column(record)
    feasible = sum(entry["columns"][column]["feasible"] for entry in entries)
    fraction = record["space"]["limits"]["fraction"]
    return (
        f"{record['points']:,} points in {record['cpu_seconds']:.1f} seconds of a processor and "
        f"{record['peak_mib']:.0f} MiB: {built:,} can be built, {feasible:,} of these stay below "
        f"{100 * fraction:.0f} % of the {record['device']['name']} and within all other limits of hardware, by "
        f"{NAMES[column]}."
    )


def _chosen(record: dict[str, Any]) -> list[str]:
    column, words = shown_column(record), []
    chosen = record["chosen"][column]
    if fastest := chosen["fastest"]:
        words.append(f"The fastest of all: {_point(fastest)}.")
    if not chosen["constrained"]:
        return words
    least = record["constraints"]
    bounds = [f"{name} of at least {bound:.2f}" for name, bound in least.items() if bound is not None]
    found = "none" if chosen["best"] is None else _point(chosen["best"])
    return [*words, f"The fastest with {' and '.join(bounds)}: {found}."]


def _compared(record: dict[str, Any]) -> list[str]:
    """The marked point beside the fastest of all and, for its own model, the fastest, a smaller and an equal one."""
    words = []
    for column in record["columns"]:
        for entry in (entry for entry in record["entries"] if entry["columns"][column].get("marked")):
            marked, frontier = entry["columns"][column]["marked"], entry["columns"][column]["frontier"]
            text = [f"By {NAMES[column]} {record['space']['marked']['name']} takes {_amount(marked)}."]
            if frontier:
                text.append(f"For the same model under the same limits {_faster(marked, frontier[0])}.")
            equal = [point for point in frontier if point["lut"] <= marked["lut"]]
            if equal and marked["cycles"] > 1.05 * equal[0]["cycles"]:
                text.append(f"With no more LUTs {_faster(marked, equal[0])}.")
            smaller = [point for point in frontier if point["cycles"] <= 1.01 * marked["cycles"]]
            if smaller and smaller[-1]["lut"] < marked["lut"]:
                point = smaller[-1]
                text.append(f"{_lanes(point)} is at most 1 % slower than it, but smaller: {_amount(point)}.")
            if fastest := record["chosen"][column]["fastest"]:
                ratio = marked["cycles"] / fastest["cycles"]
                text.append(f"The fastest point of all ({fastest['method']}) is {ratio:.1f} times faster.")
            words.append(" ".join(text))
    return words


def _faster(marked: dict[str, Any], point: dict[str, Any]) -> str:
    ratio = marked["cycles"] / point["cycles"]
    return f"{_lanes(point)} is {ratio:.2f} times faster: {_amount(point)}"


def _point(point: dict[str, Any]) -> str:
    scores = "no training" if point["accuracy"] is None else f"{point['accuracy']:.2f} points"
    return f"{point['method']} ({scores}) in {_amount(point)} with {_lanes(point)}, p_pe {point['p_pe']}"


def _amount(point: dict[str, Any]) -> str:
    return f"{point['milliseconds']:.2f} ms and {100 * point['needs']:.0f} % of the device ({point['lut']:,} LUTs)"


def _lanes(point: dict[str, Any]) -> str:
    modules = (("MHA", point["attention"]), ("FFN", point["feed_forward"]))
    return ", ".join(f"{name} <{', '.join(map(str, lanes))}>" for name, lanes in modules)


def hardware_tables(record: dict[str, Any]) -> list[Table]:
    """Of every method the fastest within the limits; sizes of both columns."""
    column = shown_column(record)
    entries = [entry for entry in record["entries"] if not entry["compared"]]
    ordered = sorted(
        entries, key=lambda entry: (not entry["columns"][column]["frontier"], _first_cycles(entry, column))
    )
    header = ("model", "p_pe", "accuracy", "R", "ms", "MHA, FFN: p_dpu p_quan p_vu p_ln", "LUTs", "device", "mJ")
    return [
        Table(f"The fastest within the limits, by {NAMES[column]}", header, tuple(_row(e, column) for e in ordered)),
        _sets(record),
    ]


def _first_cycles(entry: dict[str, Any], column: str) -> int:
    frontier = entry["columns"][column]["frontier"]
    return int(frontier[0]["cycles"]) if frontier else 0


def _row(entry: dict[str, Any], column: str) -> tuple[str, ...]:
    frontier = entry["columns"][column]["frontier"]
    accuracy, robustness = (UNKNOWN if entry[n] is None else f"{entry[n]:.2f}" for n in ("accuracy", "robustness"))
    head = entry["method"], str(entry["p_pe"]), accuracy, robustness
    if not frontier:
        return *head, UNKNOWN, "nothing fits", UNKNOWN, UNKNOWN, UNKNOWN
    first = frontier[0]
    lanes = ", ".join(" ".join(map(str, first[name])) for name in ("attention", "feed_forward"))
    costs = f"{first['lut']:,}", f"{100 * first['needs']:.0f} %", f"{1e3 * first['energy_j']:.0f}"
    return *head, f"{first['milliseconds']:.2f}", lanes, *costs


def _sets(record: dict[str, Any]) -> Table:
    rows = []
    for column in record["columns"]:
        entries = [entry for entry in record["entries"] if not entry["compared"]]
        counts = [sum(entry["columns"][column]["feasible"] for entry in entries), len(pareto_points(record, column))]
        rows.append((NAMES[column], *(f"{count:,}" for count in counts)))
    return Table("Points by column of resources", ("resources from", "within the limits", "Pareto set"), tuple(rows))


def pareto_csv(record: dict[str, Any]) -> str:
    """The Pareto sets of both columns, a point a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    modules = [f"{name}_{part}" for name in ("attention", "feed_forward") for part in PARALLELISMS]
    writer.writerow(["resources", *_CSV, *modules, *_COSTS])
    for column in record["columns"]:
        for point in pareto_points(record, column):
            lanes = [*point["attention"], *point["feed_forward"]]
            writer.writerow([column, *(point[n] for n in _CSV), *lanes, *(point[n] for n in _COSTS)])
    return text.getvalue()


def hardware_markdown(record: dict[str, Any]) -> str:
    """Words and tables as a document."""
    parts = [f"# {escape.markdown(record['name'])}", *map(escape.markdown, in_words(record))]
    parts += [markdown_table(table) for table in hardware_tables(record)]
    parts.append("Energy: the power of the paper's Table 6, scaled by lanes; no power is predicted without Vivado.")
    return "\n\n".join(parts) + "\n"
