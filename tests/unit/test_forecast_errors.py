"""Quantiles from own past errors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.forecast.errors import RECENT_ERRORS, TRUSTED_ERRORS, offsets, past_errors
from planner.scaling.forecast.grid import Grid
from planner.scaling.forecast.types import LEVELS

NAN = math.nan


def offset(errors: list[float], level: float, prior_scale: float = 0.0) -> float:
    return offsets(np.array(errors), prior_scale)[LEVELS.index(level)]


def test_an_error_is_what_came_minus_what_was_foreseen_for_that_cell() -> None:
    grid = Grid(np.array([1.0, 2.0, NAN, 7.0, 11.0]), 0.0, 60.0)
    path = np.array([10.0, 20.0, NAN, 30.0, 40.0])

    assert past_errors(grid, path, 1).tolist() == [2.0 - 10.0, 11.0 - 30.0]
    assert past_errors(grid, path, 2).tolist() == [7.0 - 20.0]
    assert past_errors(grid, path, 5).tolist() == []


def test_only_recent_errors_count() -> None:
    values = np.arange(2.0 * RECENT_ERRORS)

    errors = past_errors(Grid(values, 0.0, 60.0), np.zeros_like(values), 1)

    assert errors.tolist() == values[-RECENT_ERRORS:].tolist()


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [
        pytest.param(99, 0.99, 99, id="0.99 of 99 is the largest"),
        pytest.param(99, 0.9, 90, id="0.9 of 99"),
        pytest.param(39, 0.95, 38, id="0.95 of 39"),
        pytest.param(40, 0.95, 39, id="rounded up above the median"),
        pytest.param(40, 0.05, 2, id="rounded down below it"),
        pytest.param(39, 0.5, 20, id="median"),
    ],
)
def test_a_level_is_the_conformal_rank_of_the_errors(count: int, level: float, rank: int) -> None:
    errors = [float(error) for error in range(1, count + 1)]

    assert offset(errors[::-1], level) == rank


def test_beyond_what_the_errors_support_the_tail_is_exponential() -> None:
    errors = [-1.0, 1.0] * 12

    assert offset(errors, 0.95) == 1.0
    assert offset(errors, 0.98) == pytest.approx(1.0 + math.log(1 / (25 * 0.02)))
    assert offset(errors, 0.99) == pytest.approx(1.0 + math.log(1 / (25 * 0.01)))


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0.5, 0.0), (0.75, math.log(2)), (0.9, math.log(5)), (0.05, -math.log(10)), (0.25, -math.log(2))],
)
def test_without_errors_the_spread_is_the_assumed_one(level: float, expected: float) -> None:
    assert offset([], level, prior_scale=3.0) == pytest.approx(3 * expected)


def test_the_assumed_spread_fades_as_errors_come() -> None:
    spreads = [offset([0.0] * count, 0.95, prior_scale=1.0) for count in range(TRUSTED_ERRORS + 1)]

    assert spreads == pytest.approx([math.log(10) * (1 - count / TRUSTED_ERRORS) for count in range(21)])


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.floats(0, 1e6))
def test_offsets_ascend(errors: list[float], prior_scale: float) -> None:
    assert all(low <= high + 1e-6 for low, high in pairwise(offsets(np.array(errors), prior_scale)))


@pytest.mark.parametrize("count", [22, 41, 101])
def test_upper_levels_cover_their_share_of_exchangeable_errors(count: int) -> None:
    errors = np.arange(count, dtype=float) ** 3
    supported = [level for level in LEVELS if level >= 0.5 and level * count <= count - 1]

    for level in supported:
        covered = sum(errors[one] <= offset(np.delete(errors, one).tolist(), level) for one in range(count))
        assert level * count <= covered <= level * count + 1
