"""QuWeiT's Fig. 1 drawn: what share of parameters and of MACs the MLPs of common transformers are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lutra.cost.workload import Group, Workload
from lutra.report.figures import svg_picture, svg_text

SEGMENTS: tuple[tuple[str, tuple[Group, ...], str], ...] = (
    ("MLP", ("mlp",), "mlp"),
    ("attention", ("attention",), "none"),
    ("embeddings, norms, head", ("embedding", "norm", "head"), "rule"),
)
"""What a bar is cut into: label, groups of the workload, colour of the palette."""
_LABELS, _BAR, _GAP, _ROW, _TOP = 118, 300, 28, 26, 62


def shares_figure(models: Mapping[str, Workload]) -> str:
    """Two bars per model, of its parameters and of its MACs, each cut into MLP, attention and the rest."""
    columns = (
        ("Parameters", {name: _shares(model.parameters) for name, model in models.items()}),
        ("MACs per sequence", {name: _shares(model.macs_per_sequence) for name, model in models.items()}),
    )
    parts = [_legend()]
    for row, name in enumerate(models):
        parts.append(svg_text(_LABELS - 10, _TOP + _ROW * row + 14, name, "end", 13, "ink"))
    for column, (title, shares) in enumerate(columns):
        left = _LABELS + column * (_BAR + _GAP)
        parts.append(svg_text(left, _TOP - 12, title, "start", 13, "ink", weight=600))
        for row, share in enumerate(shares.values()):
            parts.append(_bar(left, _TOP + _ROW * row, share))
    spoken = "; ".join(
        f"{name} {100 * columns[0][1][name][0]:.0f} % of parameters, {100 * columns[1][1][name][0]:.0f} % of MACs"
        for name in models
    )
    height = _TOP + _ROW * len(models) + 4
    return svg_picture(_LABELS + 2 * _BAR + _GAP + 2, height, f"Share of the MLPs: {spoken}", parts)


def _shares(count: Callable[[Iterable[Group] | None], int]) -> list[float]:
    """The share of each segment in what `count` counts."""
    total = count(None)
    return [count(groups) / total for _, groups, _ in SEGMENTS]


def _legend() -> str:
    parts, left = [], float(_LABELS)
    for label, _, colour in SEGMENTS:
        parts.append(_segment(left, 8, 12, 12, colour))
        parts.append(svg_text(left + 18, 18, label, "start", 12, "muted"))
        left += 18 + 7 * len(label) + 22
    return "".join(parts)


def _bar(left: float, top: float, shares: list[float]) -> str:
    parts, place = [], left
    for share, (_, _, colour) in zip(shares, SEGMENTS, strict=True):
        width = share * _BAR
        parts.append(_segment(place, top, width, 18, colour))
        place += width
    parts.append(svg_text(left + 7, top + 13, f"{100 * shares[0]:.0f} %", "start", 12, "card", weight=600))
    return "".join(parts)


def _segment(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="var(--{colour})"/>'
