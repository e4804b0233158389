"""Prophet: piecewise linear growth with daily and weekly seasons (optional, `pip install sla-planner[prophet]`).

For histories of days. It sees no state, only the calendar, so it does not react between refit boundaries; the verdict
on models (`demotion`) sets it aside where that costs. Timestamps are seconds since the epoch: the day of the season is
the real day, in UTC.

Its own past errors are real ones: a first fit knows nothing of the hold-out (the last quarter before the boundary) and
forecasts it; a second fit knows all up to the boundary and forecasts from there on.

Taylor & Letham 2018, Forecasting at Scale, The American Statistician 72(1).
Raises ModuleNotFoundError (`name == "prophet"`) at the first forecast when the package is not installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.scaling.forecast.errors import RECENT_ERRORS
from planner.scaling.forecast.grid import Floats, Grid, regular, settled
from planner.scaling.forecast.kalman import Kalman
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.newest import Newest
from planner.scaling.forecast.types import Series

FEWEST_POINTS = 20
"""Before these there is neither a trend nor a hold-out to speak of."""

_DAY_S = 86_400.0
_MOST_CHANGEPOINTS = 25
"""Prophet's own default; it wants fewer than 0.8 of the points."""


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Prophet on all points up to `until_s`, seconds since the epoch."""

    prophet: Any
    until_s: float

    def at(self, times_s: Floats) -> Floats:
        """Its forecast for `times_s`."""
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]

        frame = pd.DataFrame({"ds": pd.to_datetime(times_s, unit="s")})
        with _quiet():
            foreseen: Floats = self.prophet.predict(frame)["yhat"].to_numpy(dtype=np.float64)
        return foreseen


class Prophet:
    """Prophet, fitted at refit boundaries."""

    name = "prophet"
    reach = 10_080
    """A week of minutes: seven days to learn a day from, and a bound on the cost of a fit."""

    def __init__(self) -> None:
        self._simpler = Kalman(trend=False)
        self._fits = Newest(_both_fits)

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """The hold-out forecast by the first fit, all later cells by the second."""
        import prophet as installed  # type: ignore[import-not-found, unused-ignore]

        del installed
        points = settled(history, grid.interval_s)
        if len(points.values) < FEWEST_POINTS:
            why = f"prophet stepped back: {len(points.values)} points before the last refit boundary"
            simpler = self._simpler.project(history, grid, steps)
            return Projection(simpler.model, f"{why}, {FEWEST_POINTS} needed", simpler.path)
        first, second = self._fits(points, grid.interval_s)
        made_s = grid.times_s
        path = np.full(len(grid.values), np.nan)
        for fit, mine in (
            (first, (made_s >= first.until_s) & (made_s < second.until_s)),
            (second, made_s >= second.until_s),
        ):
            if mine.any():
                path[mine] = fit.at(made_s[mine] + steps * grid.interval_s)
        return Projection(self.name, AS_CONFIGURED, path)


def _both_fits(points: Series, interval_s: float) -> tuple[_Fit, _Fit]:
    """Prophet without and with the hold-out."""
    grid = regular(points, interval_s)
    observed = np.isfinite(grid.values)
    times_s, values = grid.times_s[observed], grid.values[observed]
    known = len(values) - min(len(values) // 4, RECENT_ERRORS)
    return _fit(times_s[:known], values[:known]), _fit(times_s, values)


def _fit(times_s: Floats, values: Floats) -> _Fit:
    import pandas as pd  # type: ignore[import-untyped, unused-ignore]
    from prophet import Prophet as Package  # type: ignore[import-not-found, unused-ignore]

    days = (times_s[-1] - times_s[0]) / _DAY_S
    prophet = Package(
        n_changepoints=min(_MOST_CHANGEPOINTS, int(0.8 * len(values)) - 1),
        daily_seasonality=days >= 2,
        weekly_seasonality=days >= 14,
        yearly_seasonality=False,
        uncertainty_samples=0,
    )
    with _quiet():
        prophet.fit(pd.DataFrame({"ds": pd.to_datetime(times_s, unit="s"), "y": values}), seed=0)
    return _Fit(prophet, float(times_s[-1]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what Prophet says of pandas, and Stan of every fit: none of it concerns a planner's user."""
    from cmdstanpy import disable_logging  # type: ignore[import-not-found, unused-ignore]

    with disable_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
