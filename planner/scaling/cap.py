"""The GPU budget: what of all wishes may be had.

Two questions, answered in this order and by the same rule:

1. *Fit*: what is the best fleet within the budget? Minima first, then one replica at a time to the service of highest
   priority and, among equals, to the one whose wish is fulfilled least.
2. *Wait*: how much of it may be ordered now? A raise may only use GPUs that nobody holds: starting, pending and
   draining replicas count until they are gone, so the budget is never exceeded on the way either.

Within a service the pool fulfilled least comes first, which cuts prefill and decode in proportion; when its next
replica does not fit, the whole service stops, since more of the other pool would be stranded behind it.

    budget 9 GPUs, one service wants 10 prefill + 5 decode of one GPU each:
    from 1+1 always the pool fulfilled least: 2+1, 3+1 (or 3+2) ... 6+3, both at 60 %.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import UserError
from planner.scaling.types import Role


@dataclass(frozen=True, slots=True)
class PoolClaim:
    """What one pool has and wants; replicas."""

    current: int
    """Ordered at present."""
    committed: int
    """Holding GPUs, or about to: current, starting, pending and draining."""
    wanted: int
    min_replicas: int
    gpus_per_replica: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One service's wishes. A service that cannot be seen wants what it has."""

    priority: int
    pools: Mapping[Role, PoolClaim]


@dataclass(frozen=True, slots=True)
class Grant:
    """What one pool may have."""

    granted: int
    """Its share of the best fleet within the budget."""
    now: int
    """What of that may be ordered at once."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget's use at this tick, in GPUs."""

    gpus: int
    held: int
    wanted: int
    granted: int

    @property
    def exceeded(self) -> bool:
        """More is held than the budget allows: it was lowered, or replicas came from elsewhere."""
        return self.held > self.gpus


Pool = tuple[str, Role]
"""Service name and role."""


def cap(claims: Mapping[str, Claim], budget_gpus: int) -> tuple[dict[Pool, Grant], Budget]:
    """Share `budget_gpus` among the services.

    Raises UserError when the minima alone exceed the budget; nothing is granted then.
    """
    pools = {(service, role): pool for service, claim in claims.items() for role, pool in claim.pools.items()}
    gpus = {key: pool.gpus_per_replica for key, pool in pools.items()}
    minima = {key: pool.min_replicas for key, pool in pools.items()}
    goals = {key: max(pool.wanted, pool.min_replicas) for key, pool in pools.items()}
    floor_gpus = _gpus(minima, gpus)
    if floor_gpus > budget_gpus:
        raise UserError(
            f"budget.gpus: {budget_gpus} is below the {floor_gpus} GPUs that the minima need; "
            "raise the budget or lower min_replicas"
        )
    held_gpus = _gpus({key: pool.committed for key, pool in pools.items()}, gpus)
    granted = _fill(claims, minima, goals, budget_gpus - floor_gpus)
    kept = {key: min(pool.current, granted[key]) for key, pool in pools.items()}
    now = _fill(claims, kept, granted, budget_gpus - held_gpus)
    budget = Budget(budget_gpus, held_gpus, wanted=_gpus(goals, gpus), granted=_gpus(granted, gpus))
    return {key: Grant(granted[key], now[key]) for key in pools}, budget


def _gpus(replicas: Mapping[Pool, int], gpus: Mapping[Pool, int]) -> int:
    return sum(count * gpus[key] for key, count in replicas.items())


def _fill(
    claims: Mapping[str, Claim], start: Mapping[Pool, int], goals: Mapping[Pool, int], free_gpus: int
) -> dict[Pool, int]:
    """From `start` towards `goals`, a replica at a time, with at most `free_gpus` more GPUs."""
    counts = dict(start)
    queue: list[tuple[int, float, str]] = []

    def fulfilled(key: Pool) -> float:
        return counts[key] / goals[key]

    def enqueue(service: str) -> None:
        short = [
            fulfilled((service, role)) for role in claims[service].pools if counts[service, role] < goals[service, role]
        ]
        if short:
            heapq.heappush(queue, (-claims[service].priority, min(short), service))

    for service in claims:
        enqueue(service)
    while queue:
        *_, service = heapq.heappop(queue)
        pools = claims[service].pools
        neediest = min(
            (role for role in pools if counts[service, role] < goals[service, role]),
            key=lambda role: (fulfilled((service, role)), role),
        )
        cost = pools[neediest].gpus_per_replica
        if cost > free_gpus:
            continue  # the service stops here: more of its other pool would be stranded behind this one
        counts[service, neediest] += 1
        free_gpus -= cost
        enqueue(service)
    return counts
