"""The shape-preserving curve, held against scipy's."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from planner.scaling.profile.curves import resampled

VALUES = st.floats(-100, 100).map(lambda value: round(value, 3))


@given(
    st.lists(st.tuples(st.integers(1, 50), VALUES), min_size=2, max_size=12),
    st.lists(st.floats(-10, 700), min_size=1, max_size=40),
)
def test_it_is_scipys_between_the_points_and_level_beyond_them(
    steps_and_values: list[tuple[int, float]], asked: list[float]
) -> None:
    x = np.cumsum([step for step, _ in steps_and_values]).astype(np.float64)
    y = np.array([value for _, value in steps_and_values])
    grid = np.array(asked)

    expected = PchipInterpolator(x, y)(np.clip(grid, x[0], x[-1]))
    np.testing.assert_allclose(resampled(x, y, grid), expected, rtol=1e-9, atol=1e-9)


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), min_size=2, max_size=12))
@example([(1, 0.0), (1, 5e-300), (1, 1.0)])
@example([(1, 0.0), (1, 1e-310), (1, 5.0)])
def test_it_passes_through_the_points_and_never_falls_where_they_rise(rises: list[tuple[int, float]]) -> None:
    x = np.cumsum([step for step, _ in rises]).astype(np.float64)
    y = np.cumsum([rise for _, rise in rises])

    np.testing.assert_allclose(resampled(x, y, x), y, rtol=1e-12, atol=1e-12)
    drawn = resampled(x, y, np.linspace(x[0], x[-1], 500))
    assert np.all(np.diff(drawn) >= -1e-9)
