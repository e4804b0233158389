"""The mean of the last few cells. Halves the noise of the last value, and lags a ramp by half the window."""

from __future__ import annotations

import numpy as np

from planner.scaling.forecast.grid import Grid
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.types import Series

WINDOW = 5
"""Cells averaged: a longer window is calmer and later; five lag a ramp by two cells."""


class MovingAverage:
    """Foresees the mean of the last `WINDOW` cells; cells without a value are left out, never counted as zero."""

    name = "moving-average"
    reach = 480

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """The trailing mean at every cell."""
        del history, steps
        padded = np.concatenate((np.full(WINDOW - 1, np.nan), grid.values))
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
        seen = np.isfinite(windows)
        counts = seen.sum(axis=1)
        sums = np.where(seen, windows, 0.0).sum(axis=1)
        means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return Projection(self.name, AS_CONFIGURED, means)
