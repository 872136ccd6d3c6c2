"""The figure of the MLPs' shares: bars that are full, in the order and with the values of the table."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from lutra.papers.quweit.shares import figure_workloads, quweit_figure_1
from lutra.report.shares_figure import shares_figure

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_full_and_show_the_shares_of_the_table(tmp_path):
    models = figure_workloads()
    root = ElementTree.fromstring(shares_figure(models))
    widths = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")][3:]  # behind the legend
    bars = [widths[start : start + 3] for start in range(0, len(widths), 3)]
    assert len(bars) == 2 * len(models)
    assert all(sum(bar) == pytest.approx(300, abs=0.2) for bar in bars)
    shares = [row.ours for row in quweit_figure_1(tmp_path).rows]
    drawn = [100 * bar[0] / 300 for pair in zip(bars[: len(models)], bars[len(models) :], strict=True) for bar in pair]
    assert drawn == pytest.approx(shares, abs=0.05)
    labels = [text.text for text in root.iter(f"{SVG}text")]
    assert set(models) < set(labels) and "GPT-3 175B" in labels
