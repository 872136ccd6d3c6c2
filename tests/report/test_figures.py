"""Figures: valid SVG, the right sizes in them, colours from the page."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings

from frozen_blocks import block_graphs
from lutra.frozen.graph import as_weightless
from lutra.frozen.random_block import random_block
from lutra.report.figures import PALETTE, BlockShape, block_picture, training_curves

DOCS = Path(__file__).parents[2] / "docs"
draw = runpy.run_path(str(DOCS / "draw.py"))
PAPER_BLOCK: BlockShape = draw["PAPER_BLOCK"]


def texts_of(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]


@settings(max_examples=20, deadline=None)
@given(block_graphs())
def test_every_block_can_be_drawn_within_its_frame(graph):
    shape = BlockShape.of(as_weightless(graph))
    for narrow in (False, True):
        root = ElementTree.fromstring(block_picture(shape, narrow))
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert 0 <= float(rect.attrib["x"]) <= width - float(rect.attrib["width"])
            assert 0 <= float(rect.attrib["y"]) <= height - float(rect.attrib["height"])


def test_the_picture_names_the_sizes():
    texts = texts_of(block_picture(PAPER_BLOCK))
    for text in ("8 thresholds each", "1,536 bits", "768 LUT6", "192 LUT6", "192 × 192 int8", "int16"):
        assert text in texts


def test_a_sum_that_reads_several_layers_counts_their_bits():
    graph = random_block(np.random.default_rng(0), width=10, thermometer_bits=4, luts=(30, 20), sum_sources=(0, 2))
    assert BlockShape.of(as_weightless(graph)).summed_bits == 40 + 20


@pytest.mark.parametrize("narrow", [False, True])
def test_curves_carry_the_last_values_and_only_colours_of_the_page(narrow):
    curves = {"ours": [(0, 4.0), (10, 1.75)], "mlp": [(0, 4.1), (10, 1.749)], "none": [(0, 4.2), (10, 2.5)]}
    svg = training_curves(curves, narrow)
    assert {"ours 1.750", "MLP 1.749", "no MLP 2.500"} <= set(texts_of(svg.replace("xlink:", "")))
    assert set(re.findall(r"var\(--(\w+)\)", svg)) >= {"ours", "mlp", "none", "muted", "rule"}
    assert not re.search(r"#0\d0e0f", svg)


def test_labels_of_close_curves_do_not_touch():
    svg = training_curves({"ours": [(0, 4.0), (10, 1.75)], "mlp": [(0, 4.0), (10, 1.7501)]})
    heights = re.findall(r"translate\([\d.]+ ([\d.]+)\)[^>]*>(?:ours|MLP) 1", svg) or re.findall(
        r'y="([\d.]+)"[^>]*>(?:ours|MLP) 1', svg
    )
    assert len(heights) == 2
    assert abs(float(heights[0]) - float(heights[1])) > 10


def test_palettes_have_the_same_names():
    assert PALETTE["light"].keys() == PALETTE["dark"].keys()


def test_the_pictures_in_the_documentation_are_drawn_by_its_script():
    for name, svg in draw["pictures"]().items():
        ElementTree.fromstring(svg)
        assert DOCS.joinpath(name).read_text(encoding="utf-8") == svg, "run `python docs/draw.py`"
