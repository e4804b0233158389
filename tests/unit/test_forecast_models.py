"""Each model's own arithmetic: what it foresees at a cell, from the cells until then."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.forecast import arima, kalman
from planner.scaling.forecast.arima import Arima
from planner.scaling.forecast.constant import Constant
from planner.scaling.forecast.grid import Floats, Grid, regular
from planner.scaling.forecast.kalman import DAMPING, Kalman
from planner.scaling.forecast.model import Model, Projection
from planner.scaling.forecast.moving_average import MovingAverage
from planner.scaling.forecast.types import Series

NAN = math.nan


def project(model: Model, values: list[float], steps: int = 3) -> Projection:
    """`model` on `values` a minute apart, NaN left out."""
    kept = [cell for cell, value in enumerate(values) if not math.isnan(value)]
    history = Series(tuple(60.0 * cell for cell in kept), tuple(values[cell] for cell in kept))
    return model.project(history, regular(history, 60.0), steps)


def noisy(cells: int, seed: int = 1) -> list[float]:
    """A random walk seen through noise."""
    draw = np.random.default_rng(seed)
    values = 30 + np.cumsum(draw.normal(0, 1, cells)) + draw.normal(0, 2, cells)
    return [abs(float(value)) for value in values]


# --- constant and moving average --------------------------------------------------------------------------------


def test_constant_foresees_each_cell_again() -> None:
    grid = Grid(np.array([1.0, NAN, 3.0]), 0.0, 60.0)

    assert Constant().project(Series((), ()), grid, 2).path is grid.values


def test_moving_average_means_what_was_observed_of_the_last_five_cells() -> None:
    path = project(MovingAverage(), [1.0, 3.0, NAN, 5.0, 7.0, 9.0, 100.0]).path

    assert path.tolist() == [1.0, 2.0, 2.0, 3.0, 4.0, 6.0, 121 / 4]


def test_moving_average_after_a_long_gap_is_the_first_value_since() -> None:
    assert project(MovingAverage(), [1.0, *([NAN] * 9), 8.0]).path[-1] == 8.0


# --- Kalman -----------------------------------------------------------------------------------------------------


def textbook_trend(values: list[float], level_ratio: float, slope_ratio: float, steps: int) -> list[float]:
    """The damped local linear trend in matrices, as textbooks have it."""
    transition = np.array([[1.0, DAMPING], [0.0, DAMPING]])
    design = np.array([1.0, 0.0])
    state, spread = np.array([values[0], 0.0]), np.diag([1.0, slope_ratio / (1 - DAMPING**2)])
    ahead = design @ np.linalg.matrix_power(transition, steps)
    path = [float(ahead @ state)]
    for value in values[1:]:
        state = transition @ state
        spread = transition @ spread @ transition.T + np.diag([level_ratio, slope_ratio])
        if not math.isnan(value):
            gain = spread @ design / (design @ spread @ design + 1)
            state = state + gain * (value - design @ state)
            spread = spread - np.outer(gain, design @ spread)
        path.append(float(ahead @ state))
    return path


gappy = st.builds(
    lambda first, rest: [first, *rest],
    st.floats(0, 1000),
    st.lists(st.one_of(st.floats(0, 1000), st.just(NAN)), max_size=40),
)
ratios = st.floats(1e-5, 1e3)


@given(gappy, ratios, ratios, st.integers(1, 10))
def test_the_trend_filter_is_the_textbook_one(values: list[float], level: float, slope: float, steps: int) -> None:
    expected = textbook_trend(values, level, slope, steps)

    assert kalman._trend(values, level, slope, steps) == pytest.approx(expected, rel=1e-6, abs=1e-4)


@given(gappy, ratios)
def test_the_level_filter_is_the_trend_filter_without_slope(values: list[float], level: float) -> None:
    assert kalman._level(values, level) == pytest.approx(kalman._trend(values, level, 0.0, 1), rel=1e-9, abs=1e-9)


@given(gappy, st.lists(st.floats(0, 1000), min_size=1, max_size=5))
def test_what_comes_later_changes_no_earlier_forecast(values: list[float], later: list[float]) -> None:
    longer = kalman._trend([*values, *later], 0.1, 0.01, 3)

    assert longer[: len(values)] == kalman._trend(values, 0.1, 0.01, 3)


def direct_log_likelihood(values: list[float], level_ratio: float, slope_ratio: float) -> float:
    """Of the one-step errors, with the noise variance at its best, from the filter's own one-step path."""
    spreads, errors = [], []
    path = textbook_trend(values, level_ratio, slope_ratio, 1)
    transition, design = np.array([[1.0, DAMPING], [0.0, DAMPING]]), np.array([1.0, 0.0])
    spread = np.diag([1.0, slope_ratio / (1 - DAMPING**2)])
    for foreseen, value in zip(path, values[1:], strict=False):
        spread = transition @ spread @ transition.T + np.diag([level_ratio, slope_ratio])
        variance = design @ spread @ design + 1
        spreads.append(variance)
        errors.append(value - foreseen)
        spread = spread - np.outer(spread @ design, design @ spread) / variance
    squares = np.square(errors) / spreads
    return float(-0.5 * (len(errors) * np.log(squares.mean()) + np.log(spreads).sum()))


def test_the_likelihood_of_many_ratios_at_once_is_that_of_each() -> None:
    values = noisy(60)
    level, slope = np.array([0.01, 1.0, 30.0]), np.array([1e-4, 0.1, 0.01])

    together = kalman._log_likelihood(np.array(values), level, slope)

    alone = [direct_log_likelihood(values, *pair) for pair in zip(level, slope, strict=True)]
    # Both are up to a constant: sums of squares against their mean.
    assert together - together[0] == pytest.approx(np.array(alone) - alone[0])


@pytest.mark.parametrize(
    ("walk", "noise", "low", "high"),
    [
        pytest.param(1.0, 0.05, 10, 1e3, id="all signal"),
        pytest.param(0.02, 1.0, 0.1, 0.1, id="all noise, but never slower than this"),
        pytest.param(1.0, 1.0, 0.3, 3.2, id="as much of each"),
    ],
)
def test_the_level_ratio_is_found_in_the_data(walk: float, noise: float, low: float, high: float) -> None:
    draw = np.random.default_rng(3)
    values = 100 + np.cumsum(draw.normal(0, walk, 400)) + draw.normal(0, noise, 400)
    history = Series(tuple(60.0 * cell for cell in range(400)), tuple(values.tolist()))

    assert low <= kalman._likeliest_ratios(history, 60.0, trend=False)[0] <= high


# --- ARIMA ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "why"),
    [
        pytest.param(noisy(10), "10 points up to the last refit boundary, an order needs 20", id="too few points"),
        pytest.param([4.0] * 64, "the history is constant", id="constant"),
    ],
)
def test_arima_steps_back_to_the_local_level_and_says_why(values: list[float], why: str) -> None:
    made = project(Arima(), values)

    assert (made.model, made.why) == ("kalman-level", f"arima stepped back: {why}")
    assert made.path.tolist() == project(Kalman(trend=False), values).path.tolist()


def test_arima_steps_back_when_no_order_can_be_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(values: Floats, order: tuple[int, int, int]) -> None:
        raise np.linalg.LinAlgError(f"{len(values)} values, order {order}")

    monkeypatch.setattr(arima, "_sarimax", fails)

    made = project(Arima(), noisy(50, seed=7))

    assert (made.model, made.why) == ("kalman-level", "arima stepped back: no order could be fitted")


def test_arima_chooses_its_order_again_as_the_data_grow() -> None:
    draw = np.random.default_rng(8)
    shocks = draw.normal(0, 1, 300)
    changes = shocks.copy()
    for cell in range(3, 300):
        changes[cell] += 0.7 * changes[cell - 1] - 0.5 * changes[cell - 2]
    values = (100 + np.cumsum(changes)).tolist()

    def order(cells: int) -> tuple[int, int, int]:
        fit = arima._best_fit(Series(tuple(60.0 * cell for cell in range(cells)), tuple(values[:cells])), 60.0)
        assert not isinstance(fit, str)
        return fit.order

    assert order(20) == (0, 1, 2)
    assert order(300) == (2, 1, 0)


def test_arima_foresees_at_each_cell_what_it_foresees_from_the_history_until_then() -> None:
    values = np.array(noisy(80))
    values[30:40] = NAN
    fit = arima._Fit((1, 1, 1), (0.5, -0.3, 1.0)[:2], 30.0)

    path = arima._path(values, fit, 3)

    until = [arima._path(values[: cell + 1], fit, 3)[-1] for cell in (20, 35, 45, 79)]
    assert path[[20, 35, 45, 79]].tolist() == pytest.approx(until)


def test_arima_foresees_what_statsmodels_forecasts() -> None:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # type: ignore[import-untyped, unused-ignore]

    values, parameters = np.array(noisy(80)), (0.5, -0.3)
    results = SARIMAX(values, order=(1, 1, 1), concentrate_scale=True).filter(parameters)

    path = arima._path(values, arima._Fit((1, 1, 1), parameters, 1.0), 4)

    assert path[-1] == pytest.approx(results.forecast(4)[-1])


# --- Prophet ----------------------------------------------------------------------------------------------------


@pytest.mark.needs("prophet")
def test_prophet_learns_the_day_from_two_days() -> None:
    from planner.scaling.forecast.prophet import Prophet

    quarters = np.arange(4 * 24 * 4)
    values = 20 - 15 * np.cos(2 * np.pi * quarters / 96)
    history = Series(tuple(900.0 * quarters), tuple(values))

    made = Prophet().project(history, regular(history, 900.0), steps=12)

    three_hours_on = 20 - 15 * np.cos(2 * np.pi * (quarters[-1] + 12) / 96)
    assert (made.model, made.why) == ("prophet", "as configured")
    assert made.path[-1] == pytest.approx(three_hours_on, abs=1.5)


@pytest.mark.needs("prophet")
def test_prophet_counts_no_forecast_of_what_it_was_fitted_on() -> None:
    from planner.scaling.forecast.prophet import Prophet

    made = project(Prophet(), noisy(65))

    first_held_out = int(np.flatnonzero(np.isfinite(made.path))[0])
    assert 45 <= first_held_out <= 49


@pytest.mark.needs("prophet")
def test_prophet_steps_back_on_few_points() -> None:
    from planner.scaling.forecast.prophet import Prophet

    made = project(Prophet(), noisy(10))

    assert (made.model, made.why) == (
        "kalman-level",
        "prophet stepped back: 10 points before the last refit boundary, 20 needed",
    )
