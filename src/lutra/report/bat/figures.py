"""Pictures of BAT: the machine with its sizes, and when the steps of a layer run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.report.figures import PLOT_COLOURS, page_svg, plotting, svg_picture, svg_text

BOX_WIDTH, BOX_HEIGHT, GAP, ROW = 118, 62, 22, 104
MARGIN, TITLE = 14, 26
NARROW_WIDTH = 330
STEPS = {
    "attention.query_key_value": "Q, K, V",
    "attention.scores": "scores, softmax",
    "attention.contexts": "contexts",
    "attention.output": "output, norm",
    "feed_forward.hidden": "hidden, ReLU",
    "feed_forward.output": "output, norm",
}


def machine_picture(config: BatConfig, narrow: bool = False) -> str:
    """Memory and modules of a configuration, and the units of each in the order of rows."""
    parts: list[str] = []
    labels = []
    modules = config.modules
    units = [_units(config, module, index, len(modules)) for index, module in enumerate(modules)]
    step = BOX_WIDTH + GAP
    width = NARROW_WIDTH if narrow else 2 * MARGIN + step * max(map(len, units)) - GAP
    place = 0.0
    per_row = 2 if narrow else max(map(len, units))
    for index, boxes in enumerate(units):
        rows = -(-len(boxes) // per_row)
        height = TITLE + rows * (BOX_HEIGHT + GAP) - GAP + 2 * MARGIN
        title = f"Module {index}: {_roles(index, len(modules))}"
        parts.append(_frame(1, place + 1, width, height))
        parts.append(svg_text(MARGIN, place + TITLE, title, "start", 13, "ink", 600))
        labels.append(f"{title}: " + ", ".join(" ".join(box) for box in boxes))
        for number, box in enumerate(boxes):
            row, column = divmod(number, per_row)
            x, y = MARGIN + column * step, place + TITLE + MARGIN + row * (BOX_HEIGHT + GAP)
            parts += _box(box, x, y)
            if number + 1 < len(boxes) and column + 1 < per_row:
                parts.append(_arrow(x + BOX_WIDTH, y + BOX_HEIGHT / 2, GAP))
        place += height + GAP
    memory = (
        f"External memory, {8 * config.memory_bytes_per_beat} bits per module and cycle, first beat after "
        f"{config.memory_latency} cycles"
    )
    texts = [memory] if not narrow else ["External memory", memory.removeprefix("External memory, ")]
    parts.append(_frame(1, place + 1, width, 22 + 18 * len(texts)))
    for number, line in enumerate(texts):
        parts.append(svg_text(MARGIN, place + 26 + 18 * number, line, "start", 12, "muted"))
    labels.append(memory)
    return svg_picture(width + 2, place + 26 + 18 * len(texts), "BAT. " + ". ".join(labels), parts)


def _roles(index: int, modules: int) -> str:
    if modules == 1:
        return "whole layers"
    return "feed-forward blocks" if index else "attention"


def _units(config: BatConfig, module: ModuleConfig, index: int, modules: int) -> list[tuple[str, ...]]:
    """Name and sizes of the units that a row passes."""
    bits = config.activation_bits
    attends, feeds = index == 0, index == modules - 1
    units: list[tuple[str, ...]] = [
        ("Codes of x", f"{module.p_pe} × {bits} bits", f"{config.positions} rows"),
        ("Engine", f"{module.p_dpu} × {module.p_pe} products", f'adds by "{config.sums}"'),
        ("Vector unit", f"{module.p_vu} lanes", "binary16" + (", ReLU" if feeds else "")),
    ]
    if attends:
        units.append(("Softmax", f"{module.p_softmax} lanes", "exact sums"))
    units.append(("Layer norm", f"{module.p_ln} lanes", "exact sums"))
    units.append(("Quantisation", f"{module.p_quan} lanes", f"to {bits} bits"))
    return units


def _frame(x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="var(--card)" '
        'stroke="var(--rule)"/>'
    )


def _box(lines: tuple[str, ...], x: float, y: float) -> list[str]:
    middle = x + BOX_WIDTH / 2
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" fill="var(--paper)" '
        'stroke="var(--ours)"/>',
        *(
            svg_text(middle, y + 20 + 17 * number, line, "middle", 12 if number == 0 else 11, colour, weight)
            for number, (line, colour, weight) in enumerate(
                zip(lines, ("ink", "muted", "muted"), (600, 400, 400), strict=False)
            )
        ),
    ]


def _arrow(x: float, y: float, length: float) -> str:
    end = x + length
    return (
        f'<path d="M{x:g},{y:g} H{end - 6:g}" stroke="var(--muted)" stroke-width="1.5"/>'
        f'<polygon points="{end - 7:g},{y - 4:g} {end - 7:g},{y + 4:g} {end - 1:g},{y:g}" fill="var(--muted)"/>'
    )


def gantt_picture(steps: Sequence[dict[str, Any]], clock_hz: float, narrow: bool = False) -> str:
    """When every module works on which step of one layer, for all sentences that run at the same time."""
    modules = sorted({step["module"] for step in steps})
    first = min(step["start"] for step in steps)
    with plotting(f"lutra-gantt-{narrow}"):
        from matplotlib import pyplot

        size = (4.0, 0.9 + 0.8 * len(modules)) if narrow else (8.0, 0.9 + 0.7 * len(modules))
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        axes.set_xlabel(f"cycles from the layer's first step, at {clock_hz / 1e6:g} MHz")
        said = []
        whole = max(step["end"] for step in steps) - first + 1
        for step in steps:
            length = step["end"] - step["start"] + 1
            colour = PLOT_COLOURS["ours" if step["sentence"] == 0 else "mlp"]
            axes.barh(
                modules.index(step["module"]), length, left=step["start"] - first, height=0.62, color=colour,
                edgecolor=PLOT_COLOURS["card"], linewidth=0.8,
            )  # fmt: skip
            name = STEPS.get(step["step"], step["step"])
            if length > (0.16 if narrow else 0.09) * whole:
                axes.text(
                    step["start"] - first + length / 2, modules.index(step["module"]), name,
                    ha="center", va="center", color=PLOT_COLOURS["card"], fontsize=7.5, clip_on=True,
                )  # fmt: skip
            said.append(
                f"module {step['module']}, sentence {step['sentence']}, {name}: {step['start'] - first:,} to "
                f"{step['end'] - first:,}"
            )
        axes.set_yticks(range(len(modules)), [_roles(index, len(modules)) for index in modules])
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        return page_svg(figure, "; ".join(said))
