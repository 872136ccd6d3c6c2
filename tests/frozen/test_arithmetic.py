"""The shared arithmetic against Python's integers, over all of the domain or its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import frozen_ops
from lutra.frozen.arithmetic import clamp, exact_matmul, isqrt, recip, round_shift
from lutra.frozen.types import TensorType


def test_isqrt_of_every_small_number_and_around_every_square_of_a_power():
    small = np.arange(2**20)
    roots = isqrt(small)
    assert ((roots * roots <= small) & ((roots + 1) ** 2 > small)).all()
    powers = np.concatenate([2 ** np.arange(26), 2 ** np.arange(1, 27) - 1])
    sides = np.concatenate([powers, np.random.default_rng(0).integers(1, 2**26, 20000)])
    for offset in (-1, 0, 1):
        numbers = sides**2 + offset
        numbers = numbers[(numbers >= 0) & (numbers < 2**52)]
        assert isqrt(numbers).tolist() == [math.isqrt(number) for number in numbers.tolist()]
    assert isqrt(np.array([2**52 - 1]))[0] == 2**26 - 1


def test_recip_of_every_sum_of_a_softmax_and_around_every_power_of_two():
    numbers = np.arange(1, 2**17)
    factor, exponent = recip(numbers)
    assert exponent.tolist() == [number.bit_length() - 1 for number in numbers.tolist()]
    assert (factor == (1 << 16 + exponent) // numbers).all()
    assert factor.min() == 2**15 and factor.max() == 2**16
    edges = np.array([2**power + offset for power in range(1, 36) for offset in (-1, 0, 1)])
    assert [tuple(map(int, pair)) for pair in zip(*recip(edges), strict=True)] == [
        frozen_ops.recip(int(edge)) for edge in edges
    ]


@pytest.mark.parametrize("multiplier", [1, 2**15, 65535])
def test_round_shift_of_every_16_bit_sum(multiplier):
    sums = np.arange(-(2**15), 2**15) * multiplier
    for shift in range(0, 41):
        halves = np.floor(sums.astype(np.float64) / 2.0**shift + (0.5 if shift else 0))
        assert (round_shift(sums, shift) == halves).all()


def test_clamp_is_into_the_type():
    assert clamp(np.array([-9, -8, 7, 8]), TensorType(True, 4)).tolist() == [-8, -8, 7, 7]
    assert clamp(np.array([-1, 16]), TensorType(False, 4)).tolist() == [0, 15]


@settings(deadline=None)
@given(st.integers(1, 40), st.sampled_from([2**7, 2**12, 2**20]), st.integers(0, 2**32))
def test_products_are_exact_in_either_float_type(inner, limit, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-limit, limit, (3, inner)), rng.integers(-limit, limit, (inner, 2))
    assert (exact_matmul(a, b, inner * limit * limit) == a @ b).all()
