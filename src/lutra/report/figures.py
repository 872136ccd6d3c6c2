"""Figures as SVG text that follows the page's colours: light and dark, wide and narrow.

Every colour is a CSS variable named as in `PALETTE`, set by the page or, in a file of its own, by `standalone`.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutra import escape
from lutra.frozen.graph import WeightlessBlock

PALETTE = {
    "light": {
        "ours": "#0b6e69",
        "mlp": "#b0522a",
        "none": "#77716a",
        "ink": "#1d1c1a",
        "muted": "#67625b",
        "rule": "#ddd7cd",
        "card": "#ffffff",
        "paper": "#faf8f5",
    },
    "dark": {
        "ours": "#52c5bd",
        "mlp": "#e8946a",
        "none": "#a19b93",
        "ink": "#edeae5",
        "muted": "#a8a29a",
        "rule": "#3a3733",
        "card": "#211f1d",
        "paper": "#181716",
    },
}
FONTS = "font-family=\"system-ui, 'Helvetica Neue', Arial, sans-serif\""
SERIES_LABELS = {"ours": "ours", "mlp": "MLP", "none": "no MLP"}


def css_variables(theme: str) -> str:
    """The palette of a theme as CSS declarations."""
    return " ".join(f"--{name}: {colour};" for name, colour in PALETTE[theme].items())


def standalone(svg: str) -> str:
    """An SVG that carries its own palette, for a file; dark where the reader's system is dark."""
    style = (
        f"<style>svg {{ {css_variables('light')} }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {css_variables('dark')} }} }}</style>"
    )
    head, body = svg.split(">", 1)
    return f"{head}>{style}{body}\n"


@dataclass(frozen=True)
class BlockShape:
    """The sizes of a weightless block that its picture shows."""

    input_width: int
    input_bits: int
    thermometer_bits: int
    luts: tuple[int, ...]
    lut_inputs: tuple[int, ...]
    sum_sources: tuple[int, ...]
    groups: int
    output_width: int
    output_bits: int

    @classmethod
    def of(cls, block: WeightlessBlock) -> BlockShape:
        """The shape of a frozen block."""
        written = [block.thermometer.output, *(layer.output for layer in block.lut_layers)]
        return cls(
            input_width=block.graph.input_width,
            input_bits=block.graph.input_type.bits,
            thermometer_bits=block.thermometer.thresholds.shape[1],
            luts=tuple(layer.width for layer in block.lut_layers),
            lut_inputs=tuple(layer.connections.shape[1] for layer in block.lut_layers),
            sum_sources=tuple(written.index(name) for name in block.summation.inputs),
            groups=block.summation.groups,
            output_width=block.graph.output_width,
            output_bits=block.requantise.type.bits,
        )

    @property
    def summed_bits(self) -> int:
        """How many bits the summation reads."""
        widths = (self.input_width * self.thermometer_bits, *self.luts)
        return sum(widths[source] for source in self.sum_sources)


@dataclass(frozen=True)
class _Stage:
    title: str
    lines: tuple[str, str]
    glyph: str


_BOX_WIDTH, _BOX_HEIGHT, _WIDE_GAP, _NARROW_GAP = 144, 128, 28, 26
_NARROW_HEIGHT, _NARROW_WIDTH = 74, 330


def block_picture(shape: BlockShape, narrow: bool = False) -> str:
    """The weightless block from left to right (or top to bottom when `narrow`), with its sizes."""
    stages = _stages(shape)
    boxes = []
    step = _NARROW_HEIGHT + _NARROW_GAP if narrow else _BOX_WIDTH + _WIDE_GAP
    tap = 30 if len(shape.sum_sources) > 1 or shape.sum_sources[0] != len(shape.luts) else 0
    length = step * len(stages) - (_NARROW_GAP if narrow else _WIDE_GAP)
    for position, stage in enumerate(stages):
        place = position * step + 1
        boxes.append(_box(stage, 1 if narrow else place, place if narrow else 1, narrow))
        if position:
            boxes.append(_arrow(place, narrow))
    last_layer, sum_stage = len(shape.luts) + 1, len(shape.luts) + 2
    for source in shape.sum_sources:
        if source + 1 != last_layer:
            boxes.append(_tap(source + 1, sum_stage, step, narrow))
    width, height = (_NARROW_WIDTH + tap, length) if narrow else (length, _BOX_HEIGHT + tap)
    label = f"Weightless block: {'; '.join(f'{s.title}, {s.lines[0]}, {s.lines[1]}' for s in stages)}"
    return svg_picture(width + 2, height + 2, label, boxes)


def _stages(shape: BlockShape) -> list[_Stage]:
    bits = shape.input_width * shape.thermometer_bits
    stages = [
        _Stage("Input", (f"{shape.input_width:,} values", f"int{shape.input_bits}"), "input"),
        _Stage("Thermometer", (f"{shape.thermometer_bits} thresholds each", f"{bits:,} bits"), "thermometer"),
    ]
    for number, (luts, inputs) in enumerate(zip(shape.luts, shape.lut_inputs, strict=True), start=1):
        stages.append(_Stage(f"LUT layer {number}", (f"{luts:,} LUT{inputs}", f"{luts:,} bits"), "table"))
    groups = f" in {shape.groups} groups" if shape.groups > 1 else ""
    matrix = f"{shape.summed_bits:,} × {shape.output_width:,} int8"
    stages.append(_Stage("Conditional sum", (matrix, f"add or skip{groups}"), "sum"))
    stages.append(_Stage("Requantise", (f"{shape.output_width:,} values", f"int{shape.output_bits}"), "requantise"))
    return stages


def _box(stage: _Stage, x: float, y: float, narrow: bool) -> str:
    width, height = (_NARROW_WIDTH, _NARROW_HEIGHT) if narrow else (_BOX_WIDTH, _BOX_HEIGHT)
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="var(--card)" stroke="var(--rule)"/>'
    glyph_x, glyph_y = (x + 42, y + height / 2) if narrow else (x + width / 2, y + 58)
    if narrow:
        places = [(x + 96, y + 25), (x + 96, y + 44), (x + 96, y + 61)]
    else:
        places = [(x + width / 2, y + 24), (x + width / 2, y + 98), (x + width / 2, y + 115)]
    anchor = "start" if narrow else "middle"
    texts = [
        svg_text(*places[0], stage.title, anchor, 13, "ink", weight=600),
        svg_text(*places[1], stage.lines[0], anchor, 12, "ink"),
        svg_text(*places[2], stage.lines[1], anchor, 12, "muted"),
    ]
    return frame + _glyph(stage.glyph, glyph_x, glyph_y) + "".join(texts)


def _glyph(kind: str, x: float, y: float) -> str:
    """A 48 by 40 drawing centred on (x, y)."""
    parts = []
    if kind in ("input", "requantise"):
        heights = (9, 22, 14, 28, 18, 11) if kind == "input" else (12, 18, 24, 20, 26, 16)
        colour = "muted" if kind == "input" else "ours"
        for index, height in enumerate(heights):
            parts.append(_rect(x - 24 + 8 * index, y + 15 - height, 6, height, colour))
    elif kind == "thermometer":
        for column, level in enumerate((1, 3, 2, 4, 2, 1)):
            for row in range(4):
                parts.append(_rect(x - 24 + 8 * column, y + 9 - 8 * row, 6, 6, "ours" if row < level else "rule"))
    elif kind == "table":
        ones = (0, 3, 5, 6, 9, 10, 11, 14, 16, 19, 22)
        for cell in range(24):
            parts.append(
                _rect(x - 24 + 8 * (cell % 6), y - 15 + 8 * (cell // 6), 6, 6, "ours" if cell in ones else "rule")
            )
    else:
        parts.append(svg_text(x, y + 13, "Σ", "middle", 38, "ours", weight=400))
    return "".join(parts)


def _arrow(place: float, narrow: bool) -> str:
    if narrow:
        x, y = _NARROW_WIDTH / 2, place
        line, head = (x, y - _NARROW_GAP + 4, x, y - 6), f"{x - 4},{y - 9} {x + 4},{y - 9} {x},{y - 2}"
    else:
        x, y = place, _BOX_HEIGHT / 2
        line, head = (x - _WIDE_GAP + 5, y, x - 8, y), f"{x - 10},{y - 4} {x - 10},{y + 4} {x - 3},{y}"
    x1, y1, x2, y2 = line
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="var(--muted)" stroke-width="1.5"/>'
        f'<polygon points="{head}" fill="var(--muted)"/>'
    )


def _tap(source: int, target: int, step: int, narrow: bool) -> str:
    """A wire past the stages between, from the bits that the summation also reads."""
    if narrow:
        start, end, side = source * step + _NARROW_HEIGHT / 2, target * step + _NARROW_HEIGHT / 2, _NARROW_WIDTH
        path = f"M{side + 1},{start} h20 V{end} h-13"
        head = f"{side + 10},{end - 4} {side + 10},{end + 4} {side + 3},{end}"
    else:
        start, end = source * step + _BOX_WIDTH / 2, target * step + _BOX_WIDTH / 2
        path = f"M{start},{_BOX_HEIGHT + 1} v20 H{end} v-13"
        head = f"{end - 4},{_BOX_HEIGHT + 10} {end + 4},{_BOX_HEIGHT + 10} {end},{_BOX_HEIGHT + 3}"
    return (
        f'<path d="{path}" fill="none" stroke="var(--muted)" stroke-width="1.5"/>'
        f'<polygon points="{head}" fill="var(--muted)"/>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="1" fill="var(--{colour})"/>'


def svg_text(x: float, y: float, text: str, anchor: str, size: int, colour: str, weight: int = 400) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="var(--{colour})">{escape.html(text)}</text>'
    )


def svg_picture(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape.html(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" {FONTS}>' + "".join(parts) + "</svg>"
    )


Curve = Sequence[tuple[float, float]]
"""(iteration, loss) points."""

PLOT_COLOURS = {name: f"#0{index}0e0f" for index, name in enumerate(PALETTE["light"])}
"""What to draw a matplotlib figure with, by name of the palette; `page_svg` turns each into its CSS variable."""


@contextlib.contextmanager
def plotting(salt: str) -> Iterator[None]:
    """Matplotlib set up for a figure of the page. Figures with different `salt` can stand on one page."""
    import matplotlib

    matplotlib.use("svg")
    settings: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a name with two $ in it is no formula
        "svg.hashsalt": salt,
        "font.size": 9.5,
        "text.color": PLOT_COLOURS["ink"],
        "axes.edgecolor": PLOT_COLOURS["rule"],
        "axes.labelcolor": PLOT_COLOURS["muted"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": PLOT_COLOURS["rule"],
        "grid.linewidth": 0.6,
        "xtick.color": PLOT_COLOURS["rule"],
        "ytick.color": PLOT_COLOURS["rule"],
        "xtick.labelcolor": PLOT_COLOURS["muted"],
        "ytick.labelcolor": PLOT_COLOURS["muted"],
    }
    with matplotlib.rc_context(settings):
        yield


def page_svg(figure: Any, label: str) -> str:
    """Close a matplotlib figure drawn within `plotting` and return it as SVG text that follows the page's colours."""
    from matplotlib import pyplot

    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    for name, colour in PLOT_COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    attributes = f'{namespaces} role="img" aria-label="{escape.html(label)}" {FONTS}'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', lambda found: f"<svg {attributes} {found[1]}>", svg, count=1)


def training_curves(curves: Mapping[str, Curve], narrow: bool = False) -> str:
    """Validation loss over iterations, one line per model (keys of `SERIES_LABELS`), labelled at its end."""
    with plotting(f"lutra-{narrow}"):
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(4.0, 3.6) if narrow else (8.0, 3.6), layout="constrained")
        axes.grid(axis="y")
        axes.set_xlabel("iteration")
        axes.set_ylabel("validation loss (nats per token)")
        for name, points in curves.items():
            iterations, losses = zip(*points, strict=True)
            style = {"ours": "-", "mlp": "--", "none": ":"}[name]
            axes.plot(iterations, losses, style, color=PLOT_COLOURS[name], linewidth=2 if name == "ours" else 1.6)
        _label_ends(axes, curves)
        ends = ", ".join(f"{SERIES_LABELS[name]} {points[-1][1]:.3f}" for name, points in curves.items())
        return page_svg(figure, f"Validation loss during training; at the end {ends}")


def _label_ends(axes: Any, curves: Mapping[str, Curve]) -> None:
    """Write each line's name and last value at its right end, pushed apart where they would touch."""
    low, high = axes.get_ylim()
    distance = (high - low) * 0.065
    place = float("-inf")
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        iteration, loss = points[-1]
        place = max(loss, place + distance)
        axes.annotate(
            f"{SERIES_LABELS[name]} {loss:.3f}",
            (iteration, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=PLOT_COLOURS[name],
            annotation_clip=False,
        )
