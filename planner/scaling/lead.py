"""How long a replica takes from its order to Ready, learnt from the counts of each tick.

An order counts from the tick before the one that sees it; a replica is taken for the oldest one ordered. So a start-up
is measured to within a tick, upwards. What waits for a GPU has not begun to start: its clock stands at 0. Cancelled
starts, rollouts and replicas that come back by themselves measure nothing.

The lead time is the 0.9 quantile of the last start-ups, since a plan must hold for the slow ones, too; all pools of a
service count together, as they load the same model, until one is known by itself and slower.

Units: seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Replicas, Role

ENOUGH = 5
"""Start-ups before they are believed more than what was configured."""
KEPT = 32
QUANTILE = 0.9

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


@dataclass(frozen=True, slots=True)
class Lead:
    """How long an order takes to serve."""

    lead_s: float
    starts: int
    """How many start-ups it was measured on; 0: as configured."""


def watched(before: Starts | None, replicas: Replicas, now_s: float) -> Starts:
    """What is known with this tick's counts."""
    after = Starts(now_s, replicas.wanted, replicas.ready, took_s=() if before is None else before.took_s)
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
