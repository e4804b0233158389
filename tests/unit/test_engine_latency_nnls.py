"""Least squares without negative coefficients, held against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls as scipy_nnls

from planner.engine.nnls import condition, nnls


def error(matrix: np.typing.NDArray[np.float64], target: np.typing.NDArray[np.float64], found: object) -> float:
    return float(np.linalg.norm(matrix @ np.asarray(found) - target))


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(6, 60),
    columns=st.integers(1, 6),
    decades=st.integers(0, 6),
)
def test_agrees_with_scipy(seed: int, rows: int, columns: int, decades: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, columns)) * 10.0 ** random.uniform(-decades, 0, columns)
    target = random.normal(size=rows)

    found = nnls(matrix, target)

    wanted, _ = scipy_nnls(matrix / np.linalg.norm(matrix, axis=0), target)
    assert found == pytest.approx(wanted / np.linalg.norm(matrix, axis=0), rel=1e-6, abs=1e-9 * 10.0**decades)
    assert error(matrix, target, found) <= np.linalg.norm(target) * (1 + 1e-12)


@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 6))
def test_finds_coefficients_that_are_not_negative(seed: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.uniform(size=(40, columns))
    truth = random.uniform(size=columns) * (random.uniform(size=columns) < 0.6)

    assert nnls(matrix, matrix @ truth) == pytest.approx(truth, abs=1e-8)


def test_a_column_that_others_express_stays_out() -> None:
    column = np.arange(1.0, 9.0)
    matrix = np.column_stack([np.ones(8), column, column])

    found = nnls(matrix, 2 + 3 * column)

    assert sorted(found[1:]) == pytest.approx([0, 3])
    assert found[0] == pytest.approx(2)


def test_a_column_of_zeros_has_coefficient_zero() -> None:
    assert nnls(np.column_stack([np.ones(4), np.zeros(4)]), np.full(4, 5.0)) == pytest.approx([5, 0])


def test_a_target_that_only_negatives_reach_gives_zeros() -> None:
    assert nnls(np.ones((5, 2)), np.full(5, -1.0)).tolist() == [0, 0]


def test_fewer_rows_than_columns_are_met_exactly() -> None:
    matrix, target = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]), np.array([1.0, 3.0])

    assert error(matrix, target, nnls(matrix, target)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        pytest.param(np.eye(3), 1.0, id="independent"),
        pytest.param(np.eye(3) * [1, 100, 1e6], 1.0, id="of different scale"),
        pytest.param(np.column_stack([np.eye(2), np.zeros(2)]), 1.0, id="one of zeros"),
        pytest.param(np.zeros((2, 2)), np.inf, id="all of zeros"),
    ],
)
def test_condition_tells_independence_and_not_scale(matrix: np.typing.NDArray[np.float64], wanted: float) -> None:
    assert condition(matrix) == pytest.approx(wanted)


def test_condition_of_equal_columns_is_beyond_all_use() -> None:
    column = np.arange(1.0, 9.0)

    assert condition(np.column_stack([column, column])) > 1e12
