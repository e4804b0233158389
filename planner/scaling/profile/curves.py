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
    if np.all(np.diff(values) >= 0):
        return values, ()
    # Importing it takes a third of a second, and few profiles need it.
    from scipy.optimize import isotonic_regression

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
    """The shape-preserving curve through (x, y) on the grid, level beyond both ends. At least two points.

    Piecewise cubic Hermite with the slopes of Fritsch and Butland ("A Method for Constructing Local Monotone Piecewise
    Cubic Interpolants", SIAM J. Sci. Stat. Comput. 5(2), 1984, eq. 4). scipy.interpolate has the same; importing it
    takes longer than everything else a planner starts with together.
    """
    inside = np.clip(grid, x[0], x[-1])
    step, secant = np.diff(x), np.diff(y) / np.diff(x)
    slope = _slopes(step, secant)
    left = np.clip(np.searchsorted(x, inside, side="right") - 1, 0, len(x) - 2)
    h, t = step[left], (inside - x[left]) / step[left]
    return np.asarray(
        y[left] * (1 + 2 * t) * (1 - t) ** 2
        + h * slope[left] * t * (1 - t) ** 2
        + y[left + 1] * t**2 * (3 - 2 * t)
        + h * slope[left + 1] * t**2 * (t - 1),
        dtype=np.float64,
    )


def _slopes(step: Array, secant: Array) -> Array:
    """At each point: the weighted harmonic mean of the secants beside it, level where they differ in sign."""
    if len(secant) == 1:
        return np.repeat(secant, 2)
    before, after = secant[:-1], secant[1:]
    heavy, light = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    level = before * after <= 0
    # A secant next to nothing divides to infinity, and its harmonic mean is level, as it should be.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inner = np.where(level, 0.0, (heavy + light) / (heavy / before + light / after))
    ends = (_end_slope(step[:2], secant[:2]), _end_slope(step[:-3:-1], secant[:-3:-1]))
    return np.concatenate([[ends[0]], inner, [ends[1]]])


def _end_slope(step: Array, secant: Array) -> float:
    """Of the parabola through the three outermost points, no steeper than keeps the shape; outermost first."""
    slope = float(((2 * step[0] + step[1]) * secant[0] - step[0] * secant[1]) / (step[0] + step[1]))
    if slope * secant[0] <= 0:
        return 0.0
    if secant[0] * secant[1] <= 0 and abs(slope) > 3 * abs(secant[0]):
        return float(3 * secant[0])
    return slope


def frozen(values: Array) -> Array:
    """The same array, no longer writable: profiles are shared values."""
    values.setflags(write=False)
    return values
