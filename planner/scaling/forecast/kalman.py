"""Local level, and local level with a damped trend, by the Kalman filter.

    observed_t = level_t + noise                                        variance r
    level_t    = level_{t-1} + D * slope_{t-1} + level shock            variance r * level ratio
    slope_t    = D * slope_{t-1} + slope shock                          variance r * slope ratio

with damping D = 1 - 1/50 per cell; the local level has no slope. Forecast: level + slope * (D + ... + D^steps).

Only the two ratios move the filter, so r stays 1 inside and the forecast scales with the data. The ratios have maximum
likelihood over a fixed grid, with r concentrated out (Durbin & Koopman 2012, Time Series Analysis by State Space
Methods, sections 2.10.2 and 7.4). The likelihood is flat in them; a finer grid changes no forecast that matters.
A gap is exact: the state is predicted and not updated, so the first value after a long one weighs nearly all.

A damped slope is stationary, so it starts from its own long-run law (mean 0) and two points make no steep trend.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from planner.scaling.forecast.grid import Floats, Grid, regular, settled
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.newest import Newest
from planner.scaling.forecast.types import Series

DAMPING = 0.98
"""Share of the slope that lasts to the next cell (half-life 34 cells); see docs/adr/0006-forecast-quantiles.md."""

_LEVEL_RATIOS = 10.0 ** np.arange(-1, 2.6, 0.5)
"""The least is 0.1, not what likelihood finds in an hour of calm: it gives a new value a quarter of the weight, so that
the first step after the calm is taken in a few cells, and loses nearly nothing on recorded traffic."""
_SLOPE_RATIOS = 10.0 ** np.arange(-5, 1.1, 0.5)

_FEWEST_POINTS = 30
"""Before these the likelihood says little, and the ratios below, near those that production traces have, serve. With a
dozen, one step among them passes for a slope that lasts: a load that triples after four minutes of calm had 13 replicas
ordered where 5 do, and has 9 so; on recorded traffic nothing changes but a hundredth of the GPU-hours either way."""
_COLD_LEVEL_RATIO = 0.3
_COLD_SLOPE_RATIO = 0.001


class Kalman:
    """Local level (`trend=False`) or local level with damped trend."""

    reach = 320
    """The 240 errors that count, the longest usual horizon, and cells to forget the start in."""

    def __init__(self, *, trend: bool) -> None:
        self.name = "kalman" if trend else "kalman-level"
        self._trend = trend
        self._ratios = Newest(partial(_likeliest_ratios, trend=trend))

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """Filter once; the filtered state at each cell gives the forecast made there."""
        level_ratio, slope_ratio = self._ratios(settled(history, grid.interval_s), grid.interval_s)
        observed = grid.values.tolist()
        path = _trend(observed, level_ratio, slope_ratio, steps) if self._trend else _level(observed, level_ratio)
        return Projection(self.name, AS_CONFIGURED, np.array(path))


def _level(observed: list[float], level_ratio: float) -> list[float]:
    """Filtered level at each cell, which is the forecast over any horizon. `observed` starts with a value."""
    level, variance = observed[0], 1.0
    path = [level]
    for value in observed[1:]:
        variance += level_ratio
        if not math.isnan(value):
            variance /= variance + 1
            level += variance * (value - level)
        path.append(level)
    return path


def _trend(observed: list[float], level_ratio: float, slope_ratio: float, steps: int) -> list[float]:
    """Forecast `steps` ahead at each cell; the matrices are written out for speed. `observed` starts with a value."""
    reach = sum(DAMPING**step for step in range(1, steps + 1))
    level, slope = observed[0], 0.0
    var_level, cov, var_slope = 1.0, 0.0, slope_ratio / (1 - DAMPING**2)
    path = [level]
    for value in observed[1:]:
        slope *= DAMPING
        level += slope
        cov *= DAMPING
        kept = DAMPING * DAMPING * var_slope
        var_level += 2 * cov + kept + level_ratio
        cov += kept
        var_slope = kept + slope_ratio
        if not math.isnan(value):
            spread = var_level + 1
            surprise = (value - level) / spread
            level += var_level * surprise
            slope += cov * surprise
            var_slope -= cov * cov / spread
            cov /= spread
            var_level /= spread
        path.append(level + reach * slope)
    return path


def _likeliest_ratios(points: Series, interval_s: float, *, trend: bool) -> tuple[float, float]:
    """Variance ratios (level, slope) of maximum likelihood on `points`."""
    if len(points.values) < _FEWEST_POINTS:
        return _COLD_LEVEL_RATIO, _COLD_SLOPE_RATIO
    values = regular(points, interval_s).values
    if not trend:
        best = int(np.argmax(_log_likelihood(values, _LEVEL_RATIOS, np.zeros_like(_LEVEL_RATIOS))))
        return float(_LEVEL_RATIOS[best]), 0.0
    level_ratios, slope_ratios = (side.ravel() for side in np.meshgrid(_LEVEL_RATIOS, _SLOPE_RATIOS))
    best = int(np.argmax(_log_likelihood(values, level_ratios, slope_ratios)))
    return float(level_ratios[best]), float(slope_ratios[best])


def _log_likelihood(values: Floats, level_ratios: Floats, slope_ratios: Floats) -> Floats:
    """Concentrated log-likelihood, up to a constant, of each pair of ratios: `_trend`'s recursion on all pairs at once.

    The first value starts the level (diffuse), so it has no likelihood of its own.
    """
    level, slope = np.full_like(level_ratios, values[0]), np.zeros_like(level_ratios)
    var_level, cov, var_slope = np.ones_like(slope), np.zeros_like(slope), slope_ratios / (1 - DAMPING**2)
    squares, log_spreads, count = np.zeros_like(slope), np.zeros_like(slope), 0
    for value in values[1:].tolist():
        slope = DAMPING * slope
        level = level + slope
        kept = DAMPING * DAMPING * var_slope
        var_level = var_level + 2 * DAMPING * cov + kept + level_ratios
        cov = DAMPING * cov + kept
        var_slope = kept + slope_ratios
        if math.isnan(value):
            continue
        spread = var_level + 1
        error = value - level
        squares += error * error / spread
        log_spreads += np.log(spread)
        count += 1
        level = level + var_level / spread * error
        slope = slope + cov / spread * error
        var_slope = var_slope - cov * cov / spread
        cov = cov / spread
        var_level = var_level / spread
    least = np.finfo(np.float64).eps * float(np.nanmax(np.abs(values))) ** 2 + np.finfo(np.float64).tiny
    likelihood: Floats = -0.5 * (count * np.log(squares / max(count, 1) + least) + log_spreads)
    return likelihood
