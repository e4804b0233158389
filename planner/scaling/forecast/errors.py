"""Quantiles from a model's own past errors: additive, in the quantity's own unit.

An error is what came minus what had been foreseen for that moment. Relative errors are not used: after a quiet hour
they order hundreds of times the fleet.

Level q of n errors is their ceil((n + 1) q)-th smallest (below the median floor, so that both sides are cautious): the
finite-sample rule of split conformal prediction (Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World;
Lei et al. 2018, JASA 113). It covers exactly for exchangeable errors. Those of a time series are not exchangeable, so
here coverage is measured (`benchmarks/bench_forecast.py`), not promised.

Beyond what n errors support, and before there are any, the tail is exponential (Laplace's law): its scale is the mean
absolute error, so each halving of the probability left adds ln 2 mean absolute errors.
"""

from __future__ import annotations

import math

import numpy as np

from planner.scaling.forecast.grid import Floats, Grid
from planner.scaling.forecast.types import LEVELS

RECENT_ERRORS = 240
"""Errors kept: enough for the 0.99 level (99) and few enough to follow the time of day."""

PRIOR_SHARE = 0.2
"""Mean absolute error, as a share of the level, assumed until errors are known.

Cold starts on production traces of minutes, three minutes ahead, err by 0.21 of the level on their first point."""

TRUSTED_ERRORS = 20
"""With n errors fewer than this the prior weighs 1 - n / 20: the first count that supports the 0.95 level by itself."""

_EPSILON = 1e-9
"""So that 20 * 0.95 is 19, not a hair more."""


def past_errors(grid: Grid, path: Floats, steps: int) -> Floats:
    """What came minus what was foreseen, oldest first, of the last `RECENT_ERRORS` forecasts that met a value."""
    errors = grid.values[steps:] - path[:-steps]
    return errors[np.isfinite(errors)][-RECENT_ERRORS:]


def offsets(errors: Floats, prior_scale: float) -> tuple[float, ...]:
    """What to add to the point for each of LEVELS, ascending.

    `prior_scale` is the mean absolute error to assume where `errors` are too few; 0 makes no assumption.
    """
    trust = min(1.0, len(errors) / TRUSTED_ERRORS)
    ranked = np.sort(errors).tolist()
    scale = sum(map(abs, ranked)) / len(ranked) if ranked else 0.0
    return tuple(
        (trust * _ranked_offset(ranked, scale, level) if ranked else 0.0) + (1 - trust) * _laplace(prior_scale, level)
        for level in LEVELS
    )


def _ranked_offset(ranked: list[float], scale: float, level: float) -> float:
    n = len(ranked)
    position = (n + 1) * level
    if level < 0.5:
        rank = math.floor(position + _EPSILON)
        return ranked[rank - 1] if rank >= 1 else ranked[0] + scale * math.log(position)
    rank = math.ceil(position - _EPSILON)
    return ranked[rank - 1] if rank <= n else ranked[-1] - scale * math.log((n + 1) * (1 - level))


def _laplace(scale: float, level: float) -> float:
    return scale * math.log(2 * level) if level < 0.5 else -scale * math.log(2 * (1 - level))
