"""What a forecaster takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Quantile levels every forecast carries; others are interpolated between them."""


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time: strictly increasing times, finite values. A gap is the absence of points."""

    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A quantity `horizon_s` after `at_s`, as a point and as quantiles from the model's own past errors."""

    model: str
    """The model that made it, which may be simpler than the one asked for."""
    why: str
    """Why this model: "as configured", or what made the configured one step back."""
    at_s: float
    horizon_s: float
    point: float
    quantiles: tuple[tuple[float, float], ...]
    """(level, value), both ascending, levels = LEVELS; never negative."""
    errors: int
    """How many own past errors the quantiles rest on."""
    mean_abs_error: float | None
    """Mean absolute error of those, in the quantity's unit; None before there is one."""

    def quantile(self, level: float) -> float:
        """The value not exceeded with probability `level`, interpolated between the levels carried."""
        before = self.quantiles[0]
        for after in self.quantiles:
            if level <= after[0]:
                if after[0] == before[0]:
                    return after[1]
                share = (level - before[0]) / (after[0] - before[0])
                return before[1] + share * (after[1] - before[1])
            before = after
        return before[1]


class Forecaster(Protocol):
    """A pure function of history: the same history gives the same forecast, in any process."""

    @property
    def name(self) -> str:
        """As users write it."""
        ...

    def forecast(self, history: Series, now_s: float, horizon_s: float) -> Forecast:
        """The quantity at `now_s + horizon_s`.

        Raises ValueError when `history` is empty: there is nothing to say, and nothing must be invented.
        """
        ...
