"""Costly estimates, made once for the data they rest on.

Each forecaster serves one series, whose refit window changes a few times an hour, so the newest estimate is the only
one that will be asked for again: memory is bounded by one, and a thousand services do not evict one another.
Remembering changes cost and never results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from planner.scaling.forecast.types import Series

R = TypeVar("R")


class Newest(Generic[R]):
    """A pure function of a series and its interval, which remembers its newest result."""

    def __init__(self, compute: Callable[[Series, float], R]) -> None:
        self._compute = compute
        self._newest: tuple[Series, float, R] | None = None

    def __call__(self, points: Series, interval_s: float) -> R:
        """The result for `points`, remembered or computed."""
        newest = self._newest  # read once: another thread may replace it, but never half of it
        if newest is not None and newest[0] == points and newest[1] == interval_s:
            return newest[2]
        result = self._compute(points, interval_s)
        self._newest = (points, interval_s, result)
        return result
