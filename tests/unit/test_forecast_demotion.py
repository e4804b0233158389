"""A model that has been wrong is set aside, visibly."""

from __future__ import annotations

import numpy as np
import pytest

from planner.scaling.forecast.demotion import FEWEST_FORECASTS, why_set_aside
from planner.scaling.forecast.forecaster import ModelForecaster
from planner.scaling.forecast.grid import Grid
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.types import Series


class Stubborn:
    """Foresees the last value and a bit, whatever comes."""

    name = "stubborn"
    reach = 480

    def __init__(self, *more: float) -> None:
        self._more = more

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        del history, steps
        return Projection(self.name, AS_CONFIGURED, grid.values + np.resize(self._more, len(grid.values)))


def alternating(cells: int) -> Series:
    """20, 22, 20, 22 ...: the last value is wrong by 2 one step ahead."""
    return Series(tuple(60.0 * cell for cell in range(cells)), tuple(20.0 + 2 * (cell % 2) for cell in range(cells)))


def test_a_clearly_worse_model_gives_way_to_the_last_value_and_both_errors_are_told() -> None:
    history = alternating(31)

    made = ModelForecaster(Stubborn(5.0), 60.0, 2.0).forecast(history, history.at_s[-1], 60.0)

    assert made.model == "constant"
    assert made.why == "stubborn set aside: mean absolute error 5 over 30 forecasts, the last value's is 2"
    assert (made.point, made.errors, made.mean_abs_error) == (20.0, 30, 2.0)


@pytest.mark.parametrize(
    ("cells", "more"),
    [
        pytest.param(31, (2.0, -2.0), id="better"),
        pytest.param(31, (0.0,), id="as good"),
        pytest.param(31, (-0.1, 0.1), id="worse by a twentieth"),
        pytest.param(FEWEST_FORECASTS, (50.0,), id="too few forecasts to tell"),
    ],
)
def test_any_other_model_is_used(cells: int, more: tuple[float, ...]) -> None:
    history = alternating(cells)

    made = ModelForecaster(Stubborn(*more), 60.0, 10.0).forecast(history, history.at_s[-1], 60.0)

    assert (made.model, made.why) == ("stubborn", AS_CONFIGURED)


def test_only_forecasts_that_both_made_are_compared() -> None:
    values = np.array([20.0, 22.0] * 30)
    path = values + 5.0
    path[: -FEWEST_FORECASTS - 1] = np.nan

    told = why_set_aside("late", path, values, Grid(values, 0.0, 60.0), 1)

    assert told == "late set aside: mean absolute error 5 over 20 forecasts, the last value's is 2"


def test_a_model_that_has_recovered_is_used_again() -> None:
    values = np.array([20.0, 22.0] * 300)
    path = values + 5.0
    path[-260:] = values[-260:]

    assert why_set_aside("back", path, values, Grid(values, 0.0, 60.0), 1) is None
