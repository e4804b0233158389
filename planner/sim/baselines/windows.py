"""A trace as demand per window of one interval: what the baselines that know the trace are told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from planner.scaling.types import Demand
from planner.sim.loads import Request

_FEWEST_GAPS = 10
"""The variance of fewer says little, and too little: it is at most their number less one."""


def demands(requests: Iterable[Request], interval_s: float, arrival_cv2: float = 1.0) -> Iterator[tuple[int, Demand]]:
    """(k, demand) of every window [k, k + 1) * interval that brings requests, in order; silent windows are left out."""
    for window, group in groupby(requests, key=lambda request: int(request.arrival_s // interval_s)):
        lengths = [(request.isl, request.osl) for request in group]
        count = len(lengths)
        isl, osl = (sum(column) / count for column in zip(*lengths, strict=True))
        isl_squared = sum(isl_one**2 for isl_one, _ in lengths) / count
        yield window, Demand(count / interval_s, isl, osl, max(0.0, isl_squared / isl**2 - 1), arrival_cv2)


def arrival_cv2(requests: Iterable[Request], interval_s: float) -> float | None:
    """Squared coefficient of variation of the time between arrivals, within windows; None when too few arrive.

    Each window's gaps are taken in units of their own mean, so that a rate that changes from window to window counts
    for nothing: 1 is Poisson, more is clumps. Windows are weighted by their gaps.
    """
    gaps_seen, weighted = 0, 0.0
    for _, group in groupby(requests, key=lambda request: int(request.arrival_s // interval_s)):
        gaps = [after.arrival_s - before.arrival_s for before, after in pairwise(group)]
        mean = sum(gaps) / len(gaps) if gaps else 0.0
        if len(gaps) < _FEWEST_GAPS or mean == 0:
            continue
        gaps_seen += len(gaps)
        weighted += len(gaps) * (sum(gap**2 for gap in gaps) / len(gaps) / mean**2 - 1)
    return weighted / gaps_seen if gaps_seen else None
