"""The last value lasts. No parameters, at once right after any step or gap, always late on a ramp."""

from __future__ import annotations

from planner.scaling.forecast.grid import Grid
from planner.scaling.forecast.model import AS_CONFIGURED, Projection
from planner.scaling.forecast.types import Series


class Constant:
    """Foresees the value last seen, over any horizon."""

    name = "constant"
    reach = 480

    def project(self, history: Series, grid: Grid, steps: int) -> Projection:
        """The grid itself: every cell foresees its own value."""
        del history, steps
        return Projection(self.name, AS_CONFIGURED, grid.values)
