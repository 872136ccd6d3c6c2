"""The systolic array equals golden products and predicted cycles; differences are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.systolic import bench as systolic
from lutra.accelerators.systolic.array import SystolicConfig
from lutra.accelerators.systolic.bench import Product, simulate_products
from lutra.cost.shapes import preset
from lutra.cost.systolic import Gemm, mlp_gemms
from lutra.errors import InputError
from lutra.hardware.bench.streams import STALLING_PASSES


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((4, 16, 4, False), marks=pytest.mark.slow),
        (8, 32, 2, False),
        (4, 16, 4, True),
        (4, 16, 1, True),
    ],
    ids=str,
)
def bench(request, tmp_path_factory):
    size, depth, lanes, pipelined = request.param
    config = SystolicConfig(size, depth, lanes, shift=20, pipelined=pipelined)
    return systolic.build(config, tmp_path_factory.mktemp("systolic"))


def random_product(rng, rows, inner, columns, largest=128):
    left, right = rng.integers(-largest, largest, (rows, inner)), rng.integers(-largest, largest, (inner, columns))
    return Product(left, right, int(rng.integers(0, 2**16)))


def assert_equal(results):
    assert [result.problem for result in results if result.problem] == []
    for result in results:
        assert result.mismatches == result.mismatches_with_stalls == 0
        assert result.cycles_measured == result.cycles_predicted


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_products_of_any_shape(bench, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    extent = st.integers(1, 3 * bench.config.size + 1)
    shapes = data.draw(st.lists(st.tuples(extent, st.integers(1, bench.config.depth), extent), min_size=1, max_size=4))
    assert_equal(simulate_products(bench, [random_product(rng, *shape) for shape in shapes]))


def test_largest_sums_and_saturation(bench):
    depth, size = bench.config.depth, bench.config.size
    low, high = np.full((size, depth), -128), np.full((size, depth), 127)
    products = [Product(a, b.T, multiplier) for a in (low, high) for b in (low, high) for multiplier in (1, 65535)]
    assert_equal(simulate_products(bench, products))


def test_cycles_are_those_of_the_cost_model(bench):
    rng = np.random.default_rng(1)
    for rows, inner, columns in [(1, 1, 1), (9, 5, 17), (16, 16, 24)]:
        (result,) = simulate_products(bench, [random_product(rng, rows, inner, columns)])
        gemm, config = Gemm("any", rows, inner, columns), bench.config
        # Two registers, and a slot where a tile has no more terms than the array has rows (here: a tile alone).
        later = 2 + (inner <= config.size) if config.pipelined else 0
        assert result.cycles_measured == gemm.cycles(config.size, config.output_lanes) + later


def test_differences_are_named(bench, monkeypatch):
    product = random_product(np.random.default_rng(2), 5, 6, 7, largest=8)
    golden = product.golden(bench.config.shift)
    golden[3, 2] += 1
    monkeypatch.setattr(Product, "golden", lambda self, shift: golden)
    (result,) = simulate_products(bench, [product])
    assert (result.mismatches, result.mismatches_with_stalls) == (1, len(STALLING_PASSES) - 1)
    assert f"result [3, 2] without stalls: RTL {golden[3, 2] - 1}, golden {golden[3, 2]}" in result.problem
    monkeypatch.setattr(systolic, "product_cycles", lambda *arguments: 1)
    golden[3, 2] -= 1
    (result,) = simulate_products(bench, [product])
    assert result.problem == f"{result.cycles_measured} cycles measured, 1 predicted"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"left": np.full((2, 3), 128)}, "int8"),
        ({"left": np.zeros((2, 4), int)}, "cannot multiply"),
        ({"left": np.zeros((2, 64), int), "right": np.zeros((64, 2), int)}, "too large"),
        ({"multiplier": 1 << 16}, "multiplier must have 16 bits"),
    ],
)
def test_products_that_the_array_does_not_take(bench, change, problem):
    product = Product(np.zeros((2, 3), int), np.zeros((3, 2), int), 1)
    with pytest.raises(InputError, match=problem):
        simulate_products(bench, [dataclasses.replace(product, **change)])


@pytest.mark.slow
def test_the_products_of_table_3_at_full_size(tmp_path):
    rng = np.random.default_rng(4)
    bench = systolic.build(SystolicConfig(8, 1024, 1), tmp_path)
    gemms = mlp_gemms(dataclasses.replace(preset("deit-t"), tokens=196))
    results = simulate_products(bench, [random_product(rng, gemm.rows, gemm.inner, gemm.columns) for gemm in gemms])
    assert_equal(results)
    assert [result.cycles_measured for result in results] == [gemm.cycles(8, output_lanes=1) for gemm in gemms]
