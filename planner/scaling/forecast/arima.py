"""ARIMA(p, 1, q) with the order chosen by the data, and chosen again as they grow.

At each refit boundary every order of p <= 3, q <= 2, 1 <= p + q <= 3 is fitted by maximum likelihood and the smallest
AICc wins (Hyndman & Athanasopoulos 2021, Forecasting: Principles and Practice, sections 9.6-9.7). Always one
difference: traffic has no fixed mean to return to, and on recorded traffic orders without it were never clearly better
and cost ten times the time (docs/adr/0006-forecast-quantiles.md). The random walk is left out: the last value is a
model of its own.

In state-space form one filter pass gives the forecast made at every cell, Z T^h a, with a the filtered state, T the
transition, Z the design. A gap is exact: predicted, not updated.

After long calm the likelihood favours slow smoothing, which takes a step late; `demotion` sets it aside meanwhile.
With too few points, a constant history or no order that fits, the local level steps in and the projection says why.
Cost: a few ms per call, tenths of a second at a boundary, once per eighth to sixteenth of the span.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.scaling.forecast.grid import Floats, Grid, regular, settled
from planner.scaling.forecast.kalman import Kalman
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.newest import Newest
from planner.scaling.forecast.types import Series

FEWEST_POINTS = 20
"""An order chosen on fewer is chance."""

_ORDERS = tuple((p, 1, q) for p in range(4) for q in range(3) if 1 <= p + q <= 3)

_MOST_ITERATIONS = 50
"""The search ends here, converged or not, so that a boundary's cost is bounded."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A chosen order and its parameters, for values divided by `scale`."""

    order: tuple[int, int, int]
    parameters: tuple[float, ...]
    scale: float


class Arima:
    """ARIMA by statsmodels, which is imported when there is enough history for it."""

    name = "arima"
    reach = 480

    def __init__(self) -> None:
        self._simpler = Kalman(trend=False)
        self._fit = Newest(_best_fit)

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """Filter once with the parameters of the last refit boundary, or step back to the local level."""
        fit = self._fit(settled(history, grid.interval_s), grid.interval_s)
        if isinstance(fit, str):
            simpler = self._simpler.project(history, grid, steps)
            return Projection(simpler.model, f"arima stepped back: {fit}", simpler.path)
        return Projection(self.name, AS_CONFIGURED, _path(grid.values, fit, steps))


def _best_fit(points: Series, interval_s: float) -> _Fit | str:
    """The order and parameters to use, or why there are none."""
    if len(points.values) < FEWEST_POINTS:
        return f"{len(points.values)} points up to the last refit boundary, an order needs {FEWEST_POINTS}"
    values = regular(points, interval_s).values
    # Fitted on values around 1, so that tolerances and diffuse variances mean the same in any unit.
    scale = float(np.nanmean(np.abs(values)))
    if np.nanmax(values) - np.nanmin(values) <= 1e-9 * scale:
        return "the history is constant"
    best, best_aicc = None, np.inf
    for order in _ORDERS:
        with warnings.catch_warnings():
            # Poor starting values or an early end show in the AICc, which judges here.
            warnings.simplefilter("ignore")
            try:
                result = _sarimax(values / scale, order).fit(disp=0, maxiter=_MOST_ITERATIONS, cov_type="none")
            except (np.linalg.LinAlgError, ValueError):
                continue
        if result.aicc < best_aicc and np.isfinite(result.params).all():
            best, best_aicc = _Fit(order, tuple(map(float, result.params)), scale), float(result.aicc)
    return best or "no order could be fitted"


def _sarimax(values: Floats, order: tuple[int, int, int]) -> Any:
    from statsmodels.tsa.statespace.sarimax import SARIMAX  # type: ignore[import-untyped, unused-ignore]

    return SARIMAX(values, order=order, concentrate_scale=True)


def _path(values: Floats, fit: _Fit, steps: int) -> Floats:
    """The forecast `steps` ahead at each cell, by one pass of the filter with fixed parameters."""
    filtered = _sarimax(values / fit.scale, fit.order).filter(np.array(fit.parameters), return_ssm=True)
    ahead = np.linalg.matrix_power(filtered.transition[:, :, -1], steps)
    path: Floats = filtered.design[0, :, -1] @ ahead @ filtered.filtered_state * fit.scale
    return path
