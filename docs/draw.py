"""Draw the pictures of the documentation: `python docs/draw.py` writes them beside this file."""

from __future__ import annotations

from pathlib import Path

from lutra.papers.quweit_shares import figure_workloads
from lutra.report.figures import BlockShape, block_picture, standalone, svg_picture, svg_text
from lutra.report.shares_figure import shares_figure
from lutra.runs.files import write_text

PAPER_BLOCK = BlockShape(
    input_width=192,
    input_bits=8,
    thermometer_bits=8,
    luts=(768, 192),
    lut_inputs=(6, 6),
    sum_sources=(2,),
    groups=1,
    output_width=192,
    output_bits=16,
)
"""The block of QuWeiT's I-ViT-T."""


def pictures() -> dict[str, str]:
    """SVG text by file name."""
    return {
        "block.svg": standalone(block_picture(PAPER_BLOCK)),
        "house.svg": standalone(_house()),
        "quweit_fig1.svg": standalone(shares_figure(figure_workloads())),
    }


def _house() -> str:
    """The parts of Lutra, and what flows from one to the next."""
    parts = [
        _panel(1, 1, 178, 318, "imports PyTorch"),
        _panel(199, 1, 690, 318, "NumPy and compilers only"),
        _box(20, 50, 140, 52, "recipe", "one TOML file"),
        _box(20, 138, 140, 52, "train", "nn, models, kernels"),
        _box(20, 226, 140, 52, "freeze", "to integers"),
        _box(222, 50, 118, 228, "frozen", "the exact meaning", strong=True),
        _box(400, 50, 126, 52, "runtime", "fast on a CPU"),
        _box(400, 138, 126, 52, "rtl", "SystemVerilog"),
        _box(586, 50, 126, 52, "simulate", "bit for bit"),
        _box(586, 138, 126, 52, "cost", "cycles, energy"),
        _box(586, 226, 126, 52, "synth", "LUT, FF, area"),
        _box(772, 50, 100, 228, "report", "one page"),
        _arrow((90, 102), (90, 138)),
        _arrow((90, 190), (90, 226)),
        _arrow((160, 252), (222, 252)),
        _arrow((340, 76), (400, 76)),
        _arrow((340, 164), (400, 164)),
        _arrow((526, 164), (586, 164)),
        _arrow((556, 164), (556, 76), (586, 76)),
        _arrow((556, 164), (556, 252), (586, 252)),
        _arrow((649, 102), (649, 138)),
        _arrow((649, 226), (649, 190)),
        _arrow((712, 76), (772, 76)),
        _arrow((712, 164), (772, 164)),
        _arrow((712, 252), (772, 252)),
    ]
    label = (
        "Recipe, train and freeze with PyTorch; frozen model, runtime, rtl, simulate, synth, cost and report without"
    )
    return svg_picture(890, 320, label, parts)


def _panel(x: float, y: float, width: float, height: float, title: str) -> str:
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="var(--paper)" stroke="var(--rule)"/>'
    return frame + svg_text(x + 19, y + 28, title, "start", 12, "muted")


def _box(x: float, y: float, width: float, height: float, title: str, line: str, strong: bool = False) -> str:
    stroke, middle = "ours" if strong else "rule", y + height / 2
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="var(--card)" stroke="var(--{stroke})"/>'
        + svg_text(x + width / 2, middle - 4, title, "middle", 14, "ours" if strong else "ink", weight=600)
        + svg_text(x + width / 2, middle + 14, line, "middle", 11, "muted")
    )


def _arrow(*points: tuple[float, float]) -> str:
    """A line through the points with a head that touches the last one."""
    (x0, y0), (x, y) = points[-2:]
    length = max(abs(x - x0), abs(y - y0))
    dx, dy = (x - x0) / length, (y - y0) / length
    line = " ".join(f"{a:g},{b:g}" for a, b in (*points[:-1], (x - 6 * dx, y - 6 * dy)))
    left, right = (x - 8 * dx - 4 * dy, y - 8 * dy + 4 * dx), (x - 8 * dx + 4 * dy, y - 8 * dy - 4 * dx)
    head = " ".join(f"{a:g},{b:g}" for a, b in (left, right, (x - dx, y - dy)))
    return (
        f'<polyline points="{line}" fill="none" stroke="var(--muted)" stroke-width="1.5"/>'
        f'<polygon points="{head}" fill="var(--muted)"/>'
    )


if __name__ == "__main__":
    for name, svg in pictures().items():
        write_text(Path(__file__).with_name(name), svg)
