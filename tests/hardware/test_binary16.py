"""The binary16 units give the bits of NumPy's float16, and their bench finds faults in each."""

from __future__ import annotations

import numpy as np
import pytest

import binary16_units
from binary16_units import DIVISORS, FAULTS, LATENCY, SUM_BITS, variants
from lutra.frozen import binary16

EVERY = np.arange(2**16, dtype=np.uint16)
FINITE = EVERY[np.isfinite(EVERY.view(np.float16))]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return binary16_units.build(tmp_path_factory.mktemp("binary16"))


def run(bench, count, **inputs):
    """Outputs of every variant for inputs (count,), in the places of their inputs."""
    flush = max(LATENCY.values())
    given = {name: np.zeros(count + flush, np.int64) for name in bench.inputs.bits}
    given["divisor"][:] = 1
    for name, values in inputs.items():
        given[name][:count] = values
        given[name][count:] = given[name][count - 1]
    outputs = bench.run(given)
    return {name: outputs[name][LATENCY[unit] : LATENCY[unit] + count] for unit in LATENCY for name in variants(unit)}


def wrong(outputs, unit, expected):
    """How many outputs of each variant of `unit` differ."""
    return np.array([np.count_nonzero(outputs[name] != expected) for name in variants(unit)])


def bits(values):
    return np.asarray(values, np.float16).view(np.uint16).astype(np.int64)


def of_pairs(bench, a, b):
    outputs = run(bench, len(a), a=a, b=b)
    with np.errstate(over="ignore"):
        x, y = a.view(np.float16), b.view(np.float16)
        return {"add": wrong(outputs, "add", bits(x + y)), "multiply": wrong(outputs, "multiply", bits(x * y))}


def assert_found(unit, found):
    assert found[0] == 0, f"{unit}: {found[0]} wrong results"
    missed = [fault for fault, count in zip(FAULTS[unit], found[1:], strict=True) if not count]
    assert missed == []


def test_sums_and_products_of_a_million_pairs(bench):
    found = {"add": 0, "multiply": 0}
    for seed in range(4):
        for unit, counts in of_pairs(bench, *binary16_units.pairs(seed, 250_000)).items():
            found[unit] = found[unit] + counts
    for unit, counts in found.items():
        assert_found(unit, counts)


@pytest.mark.slow
def test_sums_and_products_of_a_hundred_million_pairs(bench):
    for seed in range(100):
        for unit, counts in of_pairs(bench, *binary16_units.pairs(1000 + seed, 1_000_000)).items():
            assert counts[0] == 0, (unit, seed)


def test_zeros_keep_the_sign_that_ieee_gives_them(bench):
    a, b = (
        each.reshape(-1).astype(np.uint16) for each in np.meshgrid([0, 0x8000, 0x3C00, 0xBC00], [0, 0x8000, 0x3C00])
    )
    assert {unit: counts[0] for unit, counts in of_pairs(bench, a, b).items()} == {"add": 0, "multiply": 0}


def test_every_integer_with_every_exponent(bench):
    integers = np.arange(-(2 ** (SUM_BITS - 1)), 2 ** (SUM_BITS - 1), 29)
    found = 0
    for exponent in range(0, 15, 2):
        integers[:2] = -(2 ** (SUM_BITS - 1)), 2 ** (SUM_BITS - 1) - 1
        outputs = run(bench, len(integers), integer=integers, exponent=exponent)
        with np.errstate(over="ignore"):
            found = found + wrong(
                outputs, "from_integer", bits(binary16.from_integer(integers.astype(float), exponent))
            )
    assert_found("from_integer", found)


def test_every_finite_number_on_the_grid(bench):
    outputs = run(bench, len(FINITE), a=FINITE)
    expected = (FINITE.view(np.float16).astype(np.float64) * 2**24).astype(np.int64) % 2**41
    assert_found("to_fixed", wrong(outputs, "to_fixed", expected))


def test_quotients_of_sums_of_all_sizes_and_ties(bench):
    rng, found = np.random.default_rng(3), 0
    for divisor in DIVISORS:
        lengths = rng.integers(1, 52, 20_000)
        free = rng.integers(0, 2**52, 20_000) >> (52 - lengths)
        quotients = rng.integers(0, 2**11, 20_000) << rng.integers(0, 30, 20_000)
        half_units = np.maximum(quotients & -quotients, 1) * divisor  # twice the distance to the tie above
        ties = quotients * divisor + half_units // 2 + rng.integers(-1, 2, 20_000)
        dividends = np.concatenate([free, ties[ties < 2**52], [0, 1, 2**52 - 1]])
        dividends = dividends * rng.choice([-1, 1], len(dividends))
        outputs = run(bench, len(dividends), dividend=dividends, divisor=divisor)
        found = found + wrong(outputs, "divide", [nearest(int(value), divisor) for value in dividends])
    assert_found("divide", found)


def nearest(dividend, divisor):
    """Bits of the binary16 number that is nearest to dividend / divisor * 2**-24, by integers alone."""
    magnitude = abs(dividend)
    places = max((magnitude // divisor).bit_length() - 11, 0)
    whole, rest = divmod(magnitude, divisor << places)
    whole += 2 * rest > divisor << places or (2 * rest == divisor << places and whole & 1)
    return (dividend < 0) << 15 | min((places << 10) + whole, 0x7C00)
