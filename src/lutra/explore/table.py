"""The tables of an exploration, from its record: for the terminal and as Markdown."""

from __future__ import annotations

from typing import Any

from lutra import escape
from lutra.explore.results import COSTS, spread
from lutra.report.tables import UNKNOWN, Table
from lutra.runs.exploration import baseline_groups, of_latest_stage, our_loss, whole_in_integers

_HEADER = ("variant", "seeds", "recovery", "range", "loss", *COSTS.values(), "Pareto", "training s")
BASELINE_LABELS = {"mlp": "the MLP, same recipe", "none": "no MLP at all, same recipe"}


def exploration_tables(record: dict[str, Any]) -> list[Table]:
    """What the variants of the latest stage recover, the best first; what they cost; and the baselines' losses.

    Two tables for the variants, so that they fit a terminal.
    """
    whole, losses = _variant_table(record), _HEADER.index("loss")
    recovered = tuple(row[: losses + 1] for row in whole.rows)
    costs = tuple((row[0], *row[losses + 1 :]) for row in whole.rows)
    return [
        Table(whole.title, _HEADER[: losses + 1], recovered),
        Table("Cost, all blocks for one token", (_HEADER[0], *_HEADER[losses + 1 :]), costs),
        _baseline_table(record),
    ]


def markdown(record: dict[str, Any]) -> str:
    """The tables, what they mean, which variants each stage dropped, and what failed."""
    tables = _variant_table(record), _baseline_table(record)
    parts = [f"# {escape.markdown(record['name'])}", *map(markdown_table, tables)]
    whole = whole_in_integers(of_latest_stage(record))
    computed = "of models whole in integers" if whole else "of integer blocks in float models"
    parts.append(
        "Mean ± sample standard deviation over seeds, and the range. Recovery is 0 where the block does nothing and 1 "
        f"where it replaces the MLP. Loss is {computed} on the whole validation text, in nats per token; "
        "costs are of all blocks for one token. Pareto: no other variant is at least as good in recovery and in every "
        "cost and better in one."
    )
    for selection in record["selections"]:
        changes = ", ".join(f"{key} = {value}" for key, value in selection["set"].items()) or "the same recipe"
        kept, dropped = ", ".join(selection["kept"]), ", ".join(selection["dropped"]) or "none"
        parts.append(escape.markdown(f"Stage {selection['stage']} ({changes}) kept {kept}; dropped {dropped}."))
    parts += [escape.markdown(f"Failed: {run['run']}: {run['error']}") for run in failures(record)]
    return "\n\n".join(parts) + "\n"


def failures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs and baselines that failed."""
    return [run for run in (*record["baselines"], *record["runs"]) if run["error"] is not None]


def _variant_table(record: dict[str, Any]) -> Table:
    stages = len(record["space"]["stage"]) + 1
    title = "Variants" + (f", stage {record['stage']} of {stages}" if stages > 1 else "")
    title += "" if record["finished"] else ", not finished"
    return Table(title, _HEADER, tuple(_variant_cells(row) for row in record["variants"]))


def _variant_cells(row: dict[str, Any]) -> tuple[str, ...]:
    planned = len(row["seeds"]) + len(row["failed_seeds"])
    seeds = str(len(row["seeds"])) + (f" of {planned}" if row["failed_seeds"] else "")
    spreads = _with_deviation(row["recovery"], 3), _range(row["recovery"]), _with_deviation(row["loss"], 4)
    costs = [f"{row['cost'][name]:,.0f}" if row["cost"] else UNKNOWN for name in COSTS]
    seconds = UNKNOWN if row["training_seconds"] is None else f"{row['training_seconds']:,.0f}"
    name = row["variant"] + (" (paper)" if row["marked"] else "")
    return name, seeds, *spreads, *costs, "yes" if row["pareto"] else "", seconds


def _baseline_table(record: dict[str, Any]) -> Table:
    """One row per baseline of the latest stage; several where variants differ outside of their blocks."""
    rows, whole = [], whole_in_integers(of_latest_stage(record))
    for group in baseline_groups(record):
        losses = [our_loss(loss, whole) for loss in group.losses]
        name = BASELINE_LABELS[group.ffn] + ("" if group.shared else f" ({', '.join(group.variants)})")
        rows.append((name, str(len(losses)), _with_deviation(spread(losses), 4)))
    return Table("Baselines", ("model", "seeds", "loss"), tuple(rows))


def _with_deviation(values: dict[str, Any] | None, digits: int) -> str:
    if values is None:
        return UNKNOWN
    deviation = values["standard_deviation"]
    return f"{values['mean']:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation is not None else "")


def _range(values: dict[str, Any] | None) -> str:
    if values is None or values["count"] < 2:
        return UNKNOWN
    return f"{values['min']:.3f} to {values['max']:.3f}"


def markdown_table(table: Table) -> str:
    """A table of cells as Markdown."""
    lines = [f"**{escape.markdown(table.title)}**", "", f"| {' | '.join(map(escape.markdown, table.header))} |"]
    lines.append(f"| --- |{' ---: |' * (len(table.header) - 1)}")
    return "\n".join([*lines, *(f"| {' | '.join(map(escape.markdown, row))} |" for row in table.rows)])
