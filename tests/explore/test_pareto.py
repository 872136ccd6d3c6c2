"""The Pareto set against its definition, pair by pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.explore.pareto import pareto_set


def beats(one: list[float], other: list[float], maximise: list[bool]) -> bool:
    signed = [(a, b) if high else (-a, -b) for a, b, high in zip(one, other, maximise, strict=True)]
    return all(a >= b for a, b in signed) and any(a > b for a, b in signed)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[bool]]:
    maximise = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    values = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))
    width = len(maximise)
    return draw(st.lists(st.lists(values, min_size=width, max_size=width), max_size=25)), maximise


@given(problems())
def test_it_keeps_exactly_the_points_that_no_other_beats(problem):
    points, maximise = problem
    unbeaten = [
        position for position, point in enumerate(points) if not any(beats(other, point, maximise) for other in points)
    ]
    assert pareto_set(points, maximise) == unbeaten


def test_equal_points_stay_together():
    assert pareto_set([(1, 5), (1, 5), (0, 5)], (True, False)) == [0, 1]


@pytest.mark.parametrize("points", [[(1.0, float("nan"))], [(1.0,)]])
def test_a_point_without_its_numbers_is_refused(points):
    with pytest.raises(ValueError, match="every point needs 2 numbers"):
        pareto_set(points, (True, False))
