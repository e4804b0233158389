"""Least squares with no coefficient below zero.

The active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23): coefficients enter one at
a time, the one whose growth lessens the error most, and leave when the error would want them below zero.

Columns are scaled to unit length first, since those of a step differ by six decades; and the rows are folded by QR into
as many as there are columns, so that the cost of an iteration does not depend on their number. A column that others
already express, or that is zero, stays out with coefficient 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.engine.step import Floats

_ROUNDS_PER_COLUMN = 10
_TOLERANCE = 1e-12
"""Of the target's length: a smaller gain is rounding."""


def nnls(matrix: Floats, target: Floats) -> Floats:
    """The x >= 0 with the least |matrix x - target|.

    Values must be finite. Should rounding keep the method from settling, the best x so far is given.
    """
    lengths = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    scale = np.where(lengths > 0, lengths, 1.0)
    stacked: Floats = np.column_stack([matrix / scale, target])
    folded: Floats = np.linalg.qr(stacked)[1]
    return _active_set(folded[:, :-1], folded[:, -1]) / scale


def condition(matrix: Floats) -> float:
    """How many times an error of the target may grow in the coefficients; infinite when columns express each other.

    Of the columns that are not zero, each scaled to unit length.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    kept = lengths > 0
    return float(np.linalg.cond(matrix[:, kept] / lengths[kept])) if kept.any() else float("inf")


def _active_set(matrix: Floats, target: Floats) -> Floats:
    columns = matrix.shape[1]
    found = np.zeros(columns)
    free = np.zeros(columns, dtype=bool)
    refused = np.zeros(columns, dtype=bool)
    least = _TOLERANCE * float(np.linalg.norm(target))
    for _ in range(_ROUNDS_PER_COLUMN * columns):
        gain = np.where(free | refused, -np.inf, matrix.T @ (target - matrix @ found))
        entering = int(np.argmax(gain))
        if gain[entering] <= least:
            break
        free[entering] = True
        wanted = _solved(matrix, target, free)
        if wanted[entering] <= 0:
            # The gain was rounding: entering again would go on for ever.
            free[entering] = False
            refused[entering] = True
            continue
        while (wanted[free] <= 0).any():
            falling = free & (wanted <= 0)
            way = float(np.min(found[falling] / (found[falling] - wanted[falling])))
            found = found + way * (wanted - found)
            free &= ~(falling & (found <= _TOLERANCE))
            found[~free] = 0.0
            wanted = _solved(matrix, target, free)
        found = wanted
        refused[:] = False
    return found


def _solved(matrix: Floats, target: Floats, free: NDArray[np.bool_]) -> Floats:
    """Least squares over the free columns; 0 elsewhere."""
    solved = np.zeros(len(free))
    solved[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
    return solved
