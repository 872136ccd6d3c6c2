"""Elements of the systolic array in standard cells: one counted up against a grid that is mapped whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lutra.accelerators.systolic.standard_cells import (
    map_edge,
    map_requantiser,
    map_selector,
    measure_edge,
    measure_element,
    measure_grid,
    operands,
)
from lutra.errors import MismatchError

RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.integers(-128, 128, (8, 32)), RNG.integers(-128, 128, (32, 4))


def test_every_tile_of_the_product_is_seen():
    given = operands(LEFT, RIGHT, size=2, tiles=8, simulations=64)
    assert given.left.shape == given.right.shape == (256, 2, 64)
    product = LEFT @ RIGHT  # 4 x 2 tiles
    tiles = {
        tuple(product[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()) for row, column in np.ndindex(4, 2)
    }
    sums = given.sums()  # (tiles, 2, 2, simulations)
    for simulation in range(64):
        assert {tuple(tile.ravel()) for tile in sums[..., simulation]} == tiles


def total_w(measured):
    return measured["power_measured"]["total_w"]


@pytest.mark.slow
def test_elements_count_up_to_a_grid(tmp_path, standard_cells):
    asic, given = standard_cells(False), operands(LEFT, RIGHT, size=2, tiles=4, simulations=64)
    element = measure_element(asic, tmp_path / "element", given)
    grid = measure_grid(asic, tmp_path / "grid", given)
    selector = map_selector(asic, tmp_path / "selector", rows=2)
    counted_mm2 = 4 * element["area_mm2"] + 2 * selector["area_mm2"]
    assert grid["area_mm2"] == pytest.approx(counted_mm2, rel=0.05)
    assert min(each["slack_ns"] for each in (element, grid, selector)) > 0
    assert 0.95 <= total_w(grid) / (4 * total_w(element)) <= 1.12
    with pytest.raises(MismatchError, match="element: the mapped gates compute something else in cycle 33"):
        measure_element(
            asic, tmp_path / "element", replace(given, right=given.right + (given.restart[:, None, None] == 0))
        )


def test_an_edge_feeds_what_was_written(tmp_path, standard_cells):
    stream = RNG.integers(-128, 128, (12, 64))
    written = measure_edge(standard_cells(False), tmp_path / "written", 2, stream, writes=True)
    assert written["slack_ns"] > 0


@pytest.mark.slow
def test_what_is_mapped_for_its_timing(tmp_path, standard_cells):
    asic = standard_cells(False)
    shallow, deep = (map_edge(asic, tmp_path / f"edge_{depth}", depth) for depth in (2, 16))
    assert shallow["area_mm2"] < deep["area_mm2"] / 4
    requantiser = map_requantiser(asic, tmp_path / "requantiser", multiplier_bits=16, shift=24)
    assert requantiser["slack_ns"] < deep["slack_ns"] < shallow["slack_ns"]


def test_a_gated_clock_that_never_pulses_draws_less(tmp_path, standard_cells):
    stream = RNG.integers(-128, 128, (32, 64))
    plain, gated = (
        measure_edge(standard_cells(gate), tmp_path / str(gate), 8, stream, writes=False) for gate in (False, True)
    )
    assert total_w(gated) < 0.9 * total_w(plain)
