"""Half precision: every rounding is the correct one, so that any exact implementation gives the same bits."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exact_half import nearest_half
from lutra.frozen import binary16

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]
MARGIN = 2.0**-44
"""Far above the relative error of any float64 library."""


def wide(function):
    def guarded(x):
        try:
            return function(x)
        except OverflowError:
            return math.inf

    return guarded


@pytest.mark.parametrize(
    ("ours", "exact", "in_torch", "domain"),
    [
        (binary16.exp, math.exp, torch.exp, FINITE),
        (binary16.tanh, math.tanh, torch.tanh, FINITE),
        (binary16.reciprocal_root, lambda x: 1 / math.sqrt(x), torch.rsqrt, FINITE[FINITE > 0]),
        (binary16.gelu, lambda x: x / 2 * math.erfc(-x / math.sqrt(2)), lambda x: x * torch.special.ndtr(x), FINITE),
    ],
    ids=["exp", "tanh", "reciprocal_root", "gelu"],
)
def test_no_value_lies_so_near_to_a_tie_that_libraries_could_differ(ours, exact, in_torch, domain):
    with np.errstate(over="ignore"):
        found = ours(domain)
        expected = np.array([wide(exact)(float(x)) for x in domain])
        for margin in (-MARGIN, MARGIN):
            np.testing.assert_array_equal(found, (expected * (1 + margin)).astype(np.float16))
        theirs = in_torch(torch.from_numpy(domain).double()).numpy().astype(np.float16)
    if ours is binary16.gelu:  # the distribution function loses its relative precision where it is tiny
        found, theirs = found[domain > -2], theirs[domain > -2]
    np.testing.assert_array_equal(found, theirs)


@given(st.integers(-(2**24), 2**24), st.integers(0, 30))
def test_sums_become_the_nearest_half(integer, exponent):
    with np.errstate(over="ignore"):
        found = binary16.from_integer(np.float64(integer), exponent)
    assert found == nearest_half(Fraction(integer, 2**exponent))


@given(st.sampled_from(FINITE.tolist()), st.integers(0, 30))
def test_float64_becomes_half_in_one_rounding(value, depth):
    between = (value + float(np.nextafter(np.float16(value), np.float16(0)))) / 2
    just_off = between + between * 2.0 ** -(20 + depth)
    with np.errstate(over="ignore"):
        assert np.float64(just_off).astype(np.float16) == nearest_half(Fraction(just_off))


@given(st.sampled_from(FINITE.tolist()), st.sampled_from(FINITE.tolist()))
def test_arithmetic_of_halfs_rounds_once(a, b):
    x, y = np.float16(a), np.float16(b)
    with np.errstate(over="ignore", divide="ignore"):
        assert x + y == nearest_half(Fraction(a) + Fraction(b))
        assert x * y == nearest_half(Fraction(a) * Fraction(b))
        if b:
            assert x / y == nearest_half(Fraction(a) / Fraction(b))


@given(st.sampled_from(FINITE.tolist()), st.sampled_from(FINITE.tolist()), st.sampled_from([20, 24]))
def test_products_on_a_grid_round_half_up(a, b, bits):
    exact = Fraction(a) * Fraction(b) * 2**bits
    assert binary16.on_grid(np.float64(a) * np.float64(b), bits) == math.floor(exact + Fraction(1, 2))


@given(st.integers(1, 2**40))
def test_exponent_is_the_smallest_that_keeps_sums_in_range(largest):
    exponent = binary16.sum_exponent(largest)
    assert largest <= 65504 * 2**exponent
    assert exponent == 0 or largest > 65504 * 2 ** (exponent - 1)
