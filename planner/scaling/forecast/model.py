"""What a model gives: the forecast it makes now, and those it would have made at each earlier cell.

A model sees only observed values and knows nothing of quantiles; `forecaster.ModelForecaster` turns its projection
into a `Forecast`, the same way for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from planner.scaling.forecast.grid import Floats, Grid
from planner.scaling.forecast.types import Series

AS_CONFIGURED = "as configured"


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Forecasts `steps` cells ahead, one per cell of the grid; the last one is the forecast made now."""

    model: str
    why: str
    path: Floats
    """path[i] foresees cell i + steps from cells 0..i alone; NaN where the model made no forecast.

    Parameters (a few numbers) may rest on later cells; the state a forecast starts from never does.
    """


class Model(Protocol):
    """A pure function of history, cheap between refit boundaries."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def reach(self) -> int:
        """How many cells it reads at most, which bounds its cost."""
        ...

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """Forecast `steps` cells ahead of every cell of `grid`, which holds the points of `history`."""
        ...
