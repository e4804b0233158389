"""A model made into a forecaster: grid, projection, bounds, verdict on the model, quantiles.

The forecast concerns the window (now + horizon - interval, now + horizon]: the demand a replica ordered now would meet
first. The level at its end stands for the window, as a cell is one interval long.

Bounds: no forecast, past or present, is negative or above `growth_cap` times the largest value seen until then in the
cells the model reads. All of them count as recent: the cap is to stop a runaway trend, not a morning ramp that climbs
back to where the load was hours ago.

A pure function of history: nothing is kept between calls but memoised estimates.
"""

from __future__ import annotations

import math

import numpy as np

from planner.scaling.forecast.demotion import why_set_aside
from planner.scaling.forecast.errors import PRIOR_SHARE, offsets, past_errors
from planner.scaling.forecast.grid import recent, regular
from planner.scaling.forecast.model import Model
from planner.scaling.forecast.types import LEVELS, Forecast, Series

_ROUNDING = 1e-9
"""Share of an interval by which a horizon may exceed a whole number of them and still be that number."""


class ModelForecaster:
    """Forecasts with `model` on cells of `interval_s` seconds."""

    def __init__(self, model: Model, interval_s: float, growth_cap: float) -> None:
        self._model = model
        self._interval_s = interval_s
        self._growth_cap = growth_cap

    @property
    def name(self) -> str:
        """The model asked for; a forecast names the one that made it."""
        return self._model.name

    def forecast(self, history: Series, now_s: float, horizon_s: float) -> Forecast:
        """The quantity at `now_s + horizon_s`, in seconds. Raises ValueError when `history` is empty."""
        if not history.values:
            raise ValueError("history is empty: without a value there is nothing to forecast")
        points = recent(history, self._interval_s, self._model.reach)
        grid = regular(points, self._interval_s)
        steps = self._steps(grid.end_s, now_s, horizon_s)
        ceilings = self._growth_cap * np.fmax.accumulate(grid.values)

        projection = self._model.project(points, grid, steps)
        model, why = projection.model, projection.why
        # An unobserved cell would have had no tick to forecast at, so it has no forecast to be wrong.
        path = np.where(np.isnan(grid.values), np.nan, np.clip(projection.path, 0.0, ceilings))
        set_aside = why_set_aside(model, path, grid.values, grid, steps)
        if set_aside:
            model, why, path = "constant", set_aside, grid.values

        errors = past_errors(grid, path, steps)
        point, ceiling = float(path[-1]), float(ceilings[-1])
        prior_scale = PRIOR_SHARE * max(point, float(np.nanmean(grid.values)))
        values = (min(max(point + offset, 0.0), ceiling) for offset in offsets(errors, prior_scale))
        return Forecast(
            model=model,
            why=why,
            at_s=now_s,
            horizon_s=horizon_s,
            point=point,
            quantiles=tuple(zip(LEVELS, values, strict=True)),
            errors=len(errors),
            mean_abs_error=float(np.abs(errors).mean()) if len(errors) else None,
        )

    def _steps(self, end_s: float, now_s: float, horizon_s: float) -> int:
        """Cells from the last one to the horizon; a history that ended a while ago is that much further from it."""
        ahead = math.ceil(horizon_s / self._interval_s - _ROUNDING)
        return max(1, ahead + max(0, round((now_s - end_s) / self._interval_s)))
