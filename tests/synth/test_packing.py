"""Pairing of small LUTs into two-output LUT6."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.synth.netlist.packing import packed_luts


def nets(*functions: str) -> list[frozenset[int]]:
    """Functions written by the letters of the nets that they read."""
    return [frozenset(map(ord, function)) for function in functions]


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ([], 0),
        (["abcdef"], 1),
        (["abcdef", "abcdef"], 2),  # six inputs never share
        (["abcde", "abcde"], 1),
        (["abcde", "abcdf"], 2),
        (["abcde", "ab"], 1),
        (["abc", "de"], 1),  # five nets together, none in common
        (["abc", "def"], 2),
        (["abcd", "abce", "abcd", "abce"], 2),
        (["a", "a", "a"], 2),
        (["abcd", "efgh", "abce", "efgi", "z"], 3),
    ],
)
def test_pairs(functions, expected):
    assert packed_luts(nets(*functions)) == expected


@settings(deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 12), max_size=6), max_size=60))
def test_bounds_for_any_netlist(functions):
    wide = sum(len(function) == 6 for function in functions)
    packed = packed_luts(functions)
    assert wide + math.ceil((len(functions) - wide) / 2) <= packed <= len(functions)


@settings(deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 4), max_size=5), max_size=40))
def test_any_two_functions_of_five_nets_share(functions):
    assert packed_luts(functions) == math.ceil(len(functions) / 2)


def test_nets_with_thousands_of_readers():
    functions = [frozenset({0, 1 + index, 2 + index}) for index in range(20_000)]
    assert packed_luts(functions) == 10_000
