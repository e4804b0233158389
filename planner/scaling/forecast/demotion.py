"""A model that has been wrong is set aside, and the forecast says so.

Judged on the recent forecasts that it and the last value would both have made, over the same horizon. It has no memory:
the same history gives the same verdict, and a model that has recovered is used again.
"""

from __future__ import annotations

import numpy as np

from planner.scaling.forecast.grid import Floats, Grid

CLEARLY_WORSE = 1.1
"""Mean absolute error, over the last value's, above which a model is set aside; a tenth more may be chance."""

JUDGED_FORECASTS = 40
"""The latest ones only, so that a model slow to take a step is set aside some ten cells after it."""

FEWEST_FORECASTS = 20
"""Fewer forecasts in common say nothing about which is better."""


def why_set_aside(model: str, path: Floats, last_values: Floats, grid: Grid, steps: int) -> str | None:
    """Both mean absolute errors in a sentence, when those of `path` are clearly worse than those of `last_values`.

    Both hold the forecast made at each cell for `steps` cells later.
    """
    came = grid.values[steps:]
    misses = np.abs(np.stack((came - path[:-steps], came - last_values[:-steps])))
    misses = misses[:, np.isfinite(misses).all(axis=0)][:, -JUDGED_FORECASTS:]
    count = misses.shape[1]
    if count < FEWEST_FORECASTS:
        return None
    mine, simple = misses.mean(axis=1).tolist()
    if mine <= CLEARLY_WORSE * simple:
        return None
    return f"{model} set aside: mean absolute error {mine:.4g} over {count} forecasts, the last value's is {simple:.4g}"
