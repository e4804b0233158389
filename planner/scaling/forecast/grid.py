"""History on a regular grid, and the part of it on which costly work is done.

Units: seconds on the history's own clock. The grid is anchored at the last point, so its last cell is always observed
and describes now. A cell without a point is NaN: a gap is not zero. Points that share a cell are averaged.

Limit: points closer to a cell's edge than their jitter may change cells; edges lie half a spacing from the last point,
so that jitter below half a spacing moves nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.scaling.forecast.types import Series

Floats = NDArray[np.float64]

_SMALL = 16
"""Cells below which every point counts and estimating anew costs little."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Cells of `interval_s`, the last one at `end_s`; NaN where nothing was observed."""

    values: Floats
    end_s: float
    interval_s: float

    @property
    def times_s(self) -> Floats:
        """The end of each cell."""
        times_s: Floats = self.end_s - self.interval_s * np.arange(len(self.values) - 1, -1, -1, dtype=np.float64)
        return times_s


def regular(history: Series, interval_s: float) -> Grid:
    """`history` in cells of `interval_s`. Needs at least one point."""
    at_s = np.asarray(history.at_s)
    spacing_s = interval_s
    if len(at_s) > 1:
        gaps_s = np.diff(at_s)
        half = len(gaps_s) // 2
        spacing_s = min(interval_s, float(np.partition(gaps_s, half)[half]))
    back = np.floor((at_s[-1] - at_s + spacing_s / 2) / interval_s).astype(np.intp)
    cell = back[0] - back
    counts = np.bincount(cell)
    sums = np.bincount(cell, weights=np.asarray(history.values))
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return Grid(means, history.at_s[-1], interval_s)


def recent(history: Series, interval_s: float, cells: int) -> Series:
    """The points of the last `cells` cells, so that work does not grow with what a caller keeps."""
    start = bisect_right(history.at_s, history.at_s[-1] - cells * interval_s)
    return Series(history.at_s[start:], history.values[start:]) if start else history


def settled(history: Series, interval_s: float) -> Series:
    """The points between two refit boundaries: what parameters are estimated on.

    Boundaries lie at absolute multiples of a period of 2^k intervals, an eighth of the history's span or less. Both
    ends lie on one, because a window whose start slides with time would be new at every tick. So the estimate stays
    the same for a whole period, any process finds the same one, and no more than a quarter of the span is left out.
    """
    first, last = history.at_s[0], history.at_s[-1]
    cells = (last - first) / interval_s
    if cells < _SMALL:
        return history
    period_s = interval_s * 2 ** int(math.log2(cells / 8))
    start = bisect_left(history.at_s, math.ceil(first / period_s) * period_s)
    end = bisect_right(history.at_s, math.floor(last / period_s) * period_s)
    return Series(history.at_s[start:end], history.values[start:end])
