"""ShiftExp and ShiftGELU: by hand, against exp and GELU within the errors that their published form has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.errors import InputError
from lutra.frozen.shift import LARGEST_GELU_INPUT, gelu_unit, require_gelu_range, shift_exp, shift_gelu


def gelu(x):
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.reshape(-1)]).reshape(x.shape)


def test_shift_exp_by_hand():
    # unit 20: -30 * 1.4375 -> -30 - 15 + 2 = -43; two halvings, rest -3; (-3 + 40) * 2^(15 - 2) / 2.
    assert shift_exp(np.array([-30]), 20, 15)[0] == (37 << 13) >> 1
    assert shift_exp(np.array([0]), 20, 15)[0] == 20 << 15
    assert shift_exp(np.array([-100_000]), 20, 15)[0] == 20


@pytest.mark.parametrize(("scale", "error"), [(0.01, 0.048), (0.05, 0.059), (0.1, 0.081), (0.2, 0.130)])
def test_shift_exp_against_exp(scale, error):
    x = np.arange(-int(12 / scale), 1)
    unit = math.ceil(1 / scale)
    ours = shift_exp(x, unit, 15) * scale / 2**15
    assert np.abs(ours - np.exp(x * scale)).max() == pytest.approx(error, abs=0.002)


@pytest.mark.parametrize(("scale", "rms"), [(0.02, 0.045), (0.04, 0.016)])
def test_shift_gelu_against_gelu(scale, rms):
    x = np.clip(np.rint(np.random.default_rng(0).normal(size=(50, 768)) / scale), -128, 127).astype(np.int64)
    ours = shift_gelu(x, gelu_unit(scale)) * scale / 128
    difference = ours - gelu(x * scale)
    assert np.sqrt((difference**2).mean()) <= rms
    assert np.abs(difference).max() < 0.3


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=40), st.integers(1, 127))
def test_range_sign_and_zero(row, unit):
    x = np.array([row])
    y = shift_gelu(x, unit)
    assert (np.abs(y) <= 127 * np.abs(x)).all()
    assert (y * x >= 0).all()


def test_a_scale_that_would_make_the_sigmoid_zero():
    x = np.array([[5, -5]])
    assert shift_gelu(x, 128, shift=22)[0, 0] > 0
    with pytest.raises(InputError, match="unit 128 is too large for shift 23"):
        shift_gelu(x, 128)


@pytest.mark.parametrize(("largest", "wrong"), [(7, 0), (8, -0.4), (9, -1.9), (10, -3.9)])
def test_one_large_element_spoils_its_row_beyond_the_limit(largest, wrong):
    """The published function at S = 0.1: GELU(-8) is 0, but beside a larger element it comes out as far below."""
    y = shift_gelu(np.array([[largest * 10, -80]]), gelu_unit(0.1)) * 0.1 / 128
    assert y[0, 1] < wrong if largest > LARGEST_GELU_INPUT else y[0, 1] > -0.3


def test_scales_beyond_the_limit_are_refused():
    require_gelu_range(7.5 / 127, "h.0.mlp")
    with pytest.raises(InputError, match=r"^h\.0\.mlp: values before ShiftGELU reach 9\.4, .* table$"):
        require_gelu_range(9.4 / 127, "h.0.mlp")
