"""Monotone curves through noisy points.

More work cannot take less time, so a time that falls as work grows is noise: `repaired` replaces it by the nearest
non-decreasing sequence (isotonic regression, least squares), and refuses when that would invent rather than repair.
`resampled` draws the shape-preserving cubic (PCHIP: no overshoot, monotone where the points are) once, on a grid that
holds the points themselves, so that a query is one linear interpolation and still passes through every point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from planner.scaling.profile.points import ProfileError, few

Array = NDArray[np.float64]

FILL = 257
"""Grid points over the whole range, beside the measured ones: a piecewise-linear error far below any measurement's."""

LARGEST_REPAIR = 0.25
"""A point that would have to move further than this share of its value is wrong, not noisy."""

_SAME = 1e-9


class Move(NamedTuple):
    """A point that was repaired."""

    point: str
    share: float
    """How far it moved, as a share of its value."""


def repaired(values: Array, what: str, name_point: Callable[[int], str]) -> tuple[Array, tuple[Move, ...]]:
    """The nearest non-decreasing sequence of times in ms, and the points that moved.

    Raises ProfileError when a point would have to move by more than `LARGEST_REPAIR`.
    """
    smooth = np.asarray(isotonic_regression(values).x, dtype=np.float64)
    shares = smooth / values - 1
    if np.abs(shares).max() > LARGEST_REPAIR:
        low = int(np.argmax(np.maximum.accumulate(values) - values))
        high = int(np.argmax(values[:low]))
        raise ProfileError(
            f"{what} falls from {values[high]:g} ms at {name_point(high)} to {values[low]:g} ms at {name_point(low)}, "
            "too far to be noise; measure both points again or remove one"
        )
    moves = tuple(Move(name_point(int(i)), float(shares[i])) for i in np.flatnonzero(np.abs(shares) > _SAME))
    return (smooth, moves) if moves else (values, ())


def described(moves: Iterable[Move]) -> str:
    """The points moved, furthest first, as a warning shows them."""
    return few([f"{move.point} ({move.share:+.2%})" for move in sorted(moves, key=lambda move: -abs(move.share))])


def grid_over(start: float, stop: float, points: Array) -> Array:
    """`FILL` even steps from `start` to `stop` and every point between, ascending."""
    grid = np.union1d(np.linspace(start, stop, FILL), points)
    return grid[(grid >= start) & (grid <= stop)]


def resampled(x: Array, y: Array, grid: Array) -> Array:
    """The shape-preserving curve through (x, y) on the grid, level beyond both ends. At least two points."""
    inside = np.clip(grid, x[0], x[-1])
    return np.asarray(PchipInterpolator(x, y)(inside), dtype=np.float64)


def frozen(values: Array) -> Array:
    """The same array, no longer writable: profiles are shared values."""
    values.setflags(write=False)
    return values
