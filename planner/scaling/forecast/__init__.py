"""Demand over the lead time, with quantiles from each model's own past errors.

Built-in models are in one dict; a forecaster of the user's own is named by an import string. Every one is a pure
function of history, so a restart changes nothing: the history is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from planner.errors import UserError
from planner.scaling.forecast.arima import Arima
from planner.scaling.forecast.constant import Constant
from planner.scaling.forecast.forecaster import ModelForecaster
from planner.scaling.forecast.imported import from_import_string
from planner.scaling.forecast.kalman import Kalman
from planner.scaling.forecast.model import Model
from planner.scaling.forecast.moving_average import MovingAverage
from planner.scaling.forecast.prophet import Prophet
from planner.scaling.forecast.types import LEVELS, Forecast, Forecaster, Series

__all__ = ["BUILT_IN", "LEVELS", "Forecast", "Forecaster", "Series", "build"]

BUILT_IN: Mapping[str, Callable[[], Model]] = {
    "constant": Constant,
    "moving-average": MovingAverage,
    "kalman-level": partial(Kalman, trend=False),
    "kalman": partial(Kalman, trend=True),
    "arima": Arima,
    "prophet": Prophet,
}


def build(name: str, interval_s: float, growth_cap: float = 2.0) -> Forecaster:
    """The forecaster called `name`, on cells of `interval_s` seconds.

    `name` is a key of BUILT_IN, or an import string "package.module:attribute" that is called with `interval_s`.
    No built-in forecasts more than `growth_cap` times the largest value in the history it reads. In five of six
    production traces of minutes nothing came, three minutes later, that was twice the largest of eight hours.

    Raises UserError, which names the mistake and the remedy.
    """
    if name in BUILT_IN:
        return ModelForecaster(BUILT_IN[name](), interval_s, growth_cap)
    if ":" in name:
        return from_import_string(name, interval_s)
    known = ", ".join(BUILT_IN)
    raise UserError(f"forecaster: {name!r} is unknown; use one of {known}, or 'package.module:attribute'")
