"""Forecasts against what came, once it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.scaling.forecast.types import Forecast

_ROUNDING = 1e-9
"""Share of an interval by which a horizon may exceed a whole number of them and still be that number."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Over all forecasts whose window was recorded. Rates in requests per second."""

    forecasts: int
    horizon_s: float
    mean_abs_error: float
    """Of the point."""
    mean_rate: float
    """What came, in the windows that were forecast."""
    quantile: float
    """The level sized for."""
    coverage: float
    """Share of windows in which no more came than that quantile said; the level itself when forecasts are honest."""


class Forecasts:
    """Keeps each tick's forecast until the window it is about; one window every `interval_s`, none left out."""

    def __init__(self, quantile: float, interval_s: float) -> None:
        self._quantile = quantile
        self._interval_s = interval_s
        self._due: dict[int, Forecast] = {}
        self._windows = 0
        self._horizon_s = 0.0
        self._count = 0
        self._covered = 0
        self._abs_error = 0.0
        self._rates = 0.0

    def add(self, forecast: Forecast | None, rate_per_s: float | None) -> None:
        """One tick: the forecast it made, and the rate of the window it ends."""
        due = self._due.pop(self._windows, None)
        if due is not None and rate_per_s is not None:
            self._count += 1
            self._abs_error += abs(due.point - rate_per_s)
            self._covered += rate_per_s <= due.quantile(self._quantile)
            self._rates += rate_per_s
        if forecast is not None:
            # As forecasters do: the window that ends at the horizon, or the first one after it.
            ahead = max(1, math.ceil(forecast.horizon_s / self._interval_s - _ROUNDING))
            self._due[self._windows + ahead] = forecast
            self._horizon_s = forecast.horizon_s
        self._windows += 1

    def accuracy(self) -> Accuracy | None:
        """So far; None before the first comparison."""
        if not self._count:
            return None
        return Accuracy(
            forecasts=self._count,
            horizon_s=self._horizon_s,
            mean_abs_error=self._abs_error / self._count,
            mean_rate=self._rates / self._count,
            quantile=self._quantile,
            coverage=self._covered / self._count,
        )
