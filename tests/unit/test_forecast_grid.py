"""History on a regular grid, and the window that parameters are estimated on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.forecast.grid import recent, regular, settled
from planner.scaling.forecast.types import Series

NAN = math.nan


@pytest.mark.parametrize(
    ("at_s", "values", "cells"),
    [
        pytest.param((60.0,), (4.0,), [4.0], id="one point"),
        pytest.param((0.0, 60.0, 120.0), (1.0, 2.0, 3.0), [1.0, 2.0, 3.0], id="one per cell"),
        pytest.param((0.0, 60.0, 240.0), (1.0, 2.0, 3.0), [1.0, 2.0, NAN, NAN, 3.0], id="a gap is not zero"),
        pytest.param((0.0, 95.0, 100.0, 180.0), (1.0, 2.0, 4.0, 8.0), [1.0, NAN, 3.0, 8.0], id="a cell shared"),
        pytest.param((3.0, 58.0, 121.0, 179.0), (1.0, 2.0, 3.0, 4.0), [1.0, 2.0, 3.0, 4.0], id="jitter"),
        pytest.param(
            tuple(15.0 * tick for tick in range(9)),
            (0.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0),
            [0.0, 1.0, 5.0],
            id="four ticks to a cell, the last four in the last",
        ),
    ],
)
def test_points_fall_into_cells_that_end_with_the_last_point(
    at_s: tuple[float, ...], values: tuple[float, ...], cells: list[float]
) -> None:
    grid = regular(Series(at_s, values), 60.0)

    assert grid.values.tolist() == pytest.approx(cells, nan_ok=True)
    assert grid.end_s == at_s[-1]
    assert grid.times_s.tolist() == [at_s[-1] - 60.0 * back for back in range(len(cells) - 1, -1, -1)]


@st.composite
def histories(draw: st.DrawFn) -> Series:
    gaps_s = draw(st.lists(st.floats(1, 500), min_size=0, max_size=60))
    values = draw(st.lists(st.floats(0, 1e6), min_size=len(gaps_s) + 1, max_size=len(gaps_s) + 1))
    at_s = np.cumsum([draw(st.floats(0, 2e9)), *gaps_s])
    return Series(tuple(at_s.tolist()), tuple(values))


@given(histories())
def test_no_cell_exceeds_what_was_observed_and_both_ends_are_observed(history: Series) -> None:
    cells = regular(history, 60.0).values

    assert np.isfinite(cells[[0, -1]]).all()
    assert min(history.values) <= np.nanmin(cells) * (1 + 1e-9)
    assert np.nanmax(cells) <= max(history.values) * (1 + 1e-9)


def test_recent_keeps_whole_cells_and_the_same_object_when_nothing_is_older() -> None:
    history = Series((0.0, 60.0, 120.0), (1.0, 2.0, 3.0))

    assert recent(history, 60.0, 2) == Series((60.0, 120.0), (2.0, 3.0))
    assert recent(history, 60.0, 3) is history


def ticks(first: int, last: int) -> Series:
    """One point a minute, jittered by up to a second, minutes `first` to `last`."""
    minutes = range(first, last + 1)
    return Series(tuple(60.0 * minute + math.sin(minute) for minute in minutes), tuple(map(float, minutes)))


def test_a_short_history_is_used_whole() -> None:
    assert settled(ticks(3, 17), 60.0) == ticks(3, 17)


def test_the_window_grows_by_whole_periods_and_stays_between_them() -> None:
    windows = [settled(ticks(1, last), 60.0) for last in range(70, 129)]

    ends = [int(window.values[-1]) // 8 for window in windows]
    assert len(set(windows)) <= 9
    assert ends == sorted(ends)


def test_the_window_of_a_sliding_history_moves_once_a_period_at_each_end() -> None:
    windows = {settled(ticks(last - 400, last), 60.0) for last in range(1000, 1000 + 320)}

    assert len(windows) <= 2 * 320 / 32 + 1


@given(first=st.integers(0, 10_000), span=st.integers(16, 600))
def test_the_window_leaves_out_a_quarter_at_most(first: int, span: int) -> None:
    window = settled(ticks(first, first + span), 60.0)

    assert len(window.values) >= 0.75 * span - 1
