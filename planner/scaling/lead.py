"""How long a replica takes to start, learnt from what its orchestrator tells, else from the counts of each tick.

Told, a start-up is exact. A replica counts once, when it is told first: Ready says when a replica became so last, so
one that lost its readiness and got it back tells a start that is too long, and is known by then. Who looks for the
first time knows nobody: then starts far longer than is usual among them are left out, and always those longer than
anything starts.

Counted, an order counts from the tick before the one that sees it; a replica is taken for the oldest one ordered. So a
start-up is measured to within a tick, upwards. What waits for a GPU has not begun to start: its clock stands at 0.
Cancelled starts, rollouts and replicas that come back by themselves measure nothing.

The lead time is the 0.9 quantile of the last start-ups, since a plan must hold for the slow ones, too; all pools of a
service count together, as they load the same model, until one is known by itself and slower.

Units: seconds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Replicas, Role, Start

ENOUGH = 5
"""Start-ups before they are believed more than what was configured."""
KEPT = 32
QUANTILE = 0.9
LONGEST_S = 3600.0
"""No engine loads for longer; what tells more lost its readiness meanwhile."""
FAR = 3.0
"""Times the median of those told at the first look. Cold and warm caches differ by less, days of serving by more."""

_LATE = 0.1
"""Share of an interval by which a tick may come late."""


@dataclass(frozen=True, slots=True)
class Starts:
    """One pool's start-ups: those under way, those seen, and the counts they are told by."""

    at_s: float
    wanted: int
    ready: int
    under_way: tuple[float, ...] = ()
    """When each replica was ordered that is not Ready yet, oldest first."""
    took_s: tuple[float, ...] = ()
    """The last `KEPT`, oldest first."""
    told: Mapping[str, float] | None = None
    """Replicas whose start was told, and when each was placed, in the last `LONGEST_S`; None: none ever was."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How long an order takes to serve."""

    lead_s: float
    starts: int
    """How many start-ups it was measured on; 0: as configured."""


def watched(before: Starts | None, replicas: Replicas, now_s: float, told: tuple[Start, ...] | None = None) -> Starts:
    """What is known with this tick's counts and, where the orchestrator tells them, the starts of what is Ready."""
    after = Starts(now_s, replicas.wanted, replicas.ready)
    if before is not None:
        after = replace(after, took_s=before.took_s, told=before.told)
    if told is not None:
        return _heard(after, told, now_s)
    if before is None or replicas.rolling_out:
        return after
    ordered = replicas.wanted - before.wanted
    under_way = before.under_way + (before.at_s,) * ordered if ordered > 0 else before.under_way
    # The newest starts are those that a cut cancels.
    under_way = under_way[: max(0, len(under_way) + min(ordered, 0))]
    came = max(0, min(replicas.ready - before.ready, len(under_way)))
    took_s = tuple(now_s - ordered_s for ordered_s in under_way[:came])
    waiting = min(replicas.pending, len(under_way) - came)
    starting = under_way[came : len(under_way) - waiting]
    return replace(after, under_way=starting + (now_s,) * waiting, took_s=(before.took_s + took_s)[-KEPT:])


def _heard(known: Starts, told: tuple[Start, ...], now_s: float) -> Starts:
    since_s = now_s - LONGEST_S
    told = tuple(start for start in told if start.took_s <= LONGEST_S)
    if known.told is None:
        usual_s = statistics.median(start.took_s for start in told) if told else 0.0
        new = [start for start in told if start.took_s <= FAR * usual_s]
    else:
        # Who was placed earlier is known, or was: the memory of it reaches no further.
        new = [start for start in told if start.replica not in known.told and start.placed_at_s > since_s]
    took_s = tuple(start.took_s for start in sorted(new, key=lambda start: start.ready_at_s))
    placed = {**(known.told or {}), **{start.replica: start.placed_at_s for start in told}}
    recent = {replica: at_s for replica, at_s in placed.items() if at_s > since_s}
    return replace(known, took_s=(known.took_s + took_s)[-KEPT:], told=recent)


def lead(starts: Mapping[Role, Starts], service: ServiceSettings) -> Lead:
    """The slow start of all pools together, or of one that is slower and known well enough."""
    pools = [starts[role].took_s for role in service.pools if role in starts]
    together = tuple(took_s for pool in pools for took_s in pool)
    known = [each for each in (together, *pools) if len(each) >= ENOUGH]
    if not known:
        return Lead(service.startup_s, 0)
    slow_s = max(sorted(took_s)[math.ceil(QUANTILE * len(took_s)) - 1] for took_s in known)
    # Whole ticks: nothing finer was seen, and a horizon that wavers would have forecasters judge themselves anew.
    return Lead(math.ceil(slow_s / service.interval_s - _LATE) * service.interval_s, len(together))
