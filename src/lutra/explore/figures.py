"""Recovery against cost, as one SVG file that needs nothing else."""

from __future__ import annotations

from typing import Any

from lutra.explore.pareto import pareto_set
from lutra.explore.results import COSTS
from lutra.report.figures import PLOT_COLOURS, page_svg, plotting, standalone

_AXES = ("luts", "distinct_comparators", "additions_per_token")
"""Bytes of E are the additions per token again, as long as every value has a byte."""
_MARKERS = "osD^vP*X"
_LOGARITHMIC_FROM = 8.0
"""How far apart the costs of the variants must be for a logarithmic axis."""


def pareto_figure(record: dict[str, Any]) -> str | None:
    """A panel per cost: mean recovery with its standard deviation over seeds, and the line of the best.

    The variants on a line, and the marked ones, carry their row number in the table. None when no variant has a
    recovery and a cost.
    """
    rows = [row for row in record["variants"] if row["recovery"] and row["cost"]]
    if not rows:
        return None
    with plotting("lutra-explore"):
        from matplotlib import pyplot

        figure, panels = pyplot.subplots(1, len(_AXES), figsize=(11.0, 4.0), sharey=True, layout="constrained")
        fronts = [_panel(axes, cost, rows) for axes, cost in zip(panels, _AXES, strict=True)]
        panels[0].set_ylabel("recovery (0: no MLP, 1: the MLP)")
        named = [n for n, row in enumerate(rows) if row["marked"] or any(n in front for front in fronts)]
        for axes, cost in zip(panels, _AXES, strict=True):
            _number(axes, cost, rows, named)
        _legend(figure, rows, named)
        labels = [f"{row['variant']} {row['recovery']['mean']:.3f}" for row in rows]
        return standalone(page_svg(figure, f"Recovery against cost in {record['name']}: {', '.join(labels)}"))


def _panel(axes: Any, cost: str, rows: list[dict[str, Any]]) -> list[int]:
    """Draw the points of one panel; returns the positions of those on its line."""
    from matplotlib.ticker import EngFormatter

    costs = [row["cost"][cost] for row in rows]
    means = [row["recovery"]["mean"] for row in rows]
    front = pareto_set(list(zip(means, costs, strict=True)), (True, False))
    for position, row in enumerate(rows):
        colour = PLOT_COLOURS[_colour(row, position in front)]
        axes.errorbar(
            costs[position],
            means[position],
            yerr=row["recovery"]["standard_deviation"],
            fmt=_marker(rows, row),
            color=colour,
            markersize=8 if row["marked"] else 6,
            markerfacecolor=colour if row["marked"] or position in front else "none",
            elinewidth=1,
            capsize=2,
        )
    line = sorted((costs[position], means[position]) for position in front)
    axes.plot(*zip(*line, strict=True), drawstyle="steps-post", color=PLOT_COLOURS["ours"], linewidth=1.2, zorder=1)
    if min(costs) > 0 and max(costs) >= _LOGARITHMIC_FROM * min(costs):
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(x=0.1)
    axes.grid(axis="y")
    axes.set_xlabel(COSTS[cost])
    return front


def _number(axes: Any, cost: str, rows: list[dict[str, Any]], named: list[int]) -> None:
    for position in named:
        place = rows[position]["cost"][cost], rows[position]["recovery"]["mean"]
        axes.annotate(str(position + 1), place, xytext=(5, 4), textcoords="offset points", fontsize=8)


def _legend(figure: Any, rows: list[dict[str, Any]], named: list[int]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for position in named:
        row = rows[position]
        label = f"{position + 1}  {row['variant']}" + (" (paper)" if row["marked"] else "")
        colour = PLOT_COLOURS[_colour(row, True)]
        handles.append(Line2D([], [], linestyle="none", marker=_marker(rows, row), color=colour, label=label))
    groups = {row["group"]: row for row in rows if row["group"]}
    for group, row in sorted(groups.items()):
        marker, colour = _marker(rows, row), PLOT_COLOURS["muted"]
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, color=colour, markerfacecolor="none", label=f"group {group}"
            )
        )
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8.5)


def _colour(row: dict[str, Any], on_front: bool) -> str:
    return "mlp" if row["marked"] else "ours" if on_front else "muted"


def _marker(rows: list[dict[str, Any]], row: dict[str, Any]) -> str:
    groups = sorted({each["group"] or "" for each in rows})
    return _MARKERS[groups.index(row["group"] or "") % len(_MARKERS)]
