"""What a sound configuration means before the first request: doubts, and what it can carry.

Computed from the profile alone, with correction factors of 1: a fleet that has been observed may do better or worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.scaling.settings import PoolSettings, ServiceSettings
from planner.scaling.size import Factors, PoolSizing, size_pool
from planner.scaling.types import Demand, Role

_NO_LOAD_PER_S = 1e-6
"""A rate at which nothing waits: what is out of reach here is out of reach for any number of replicas."""

_PRECISION = 1e-3
"""Of a capacity, as a share."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet of one service for one rate, within its bounds, before the budget."""

    rate_per_s: float
    replicas: dict[Role, int]
    gpus: int


def warnings(service: ServiceSettings) -> Iterator[str]:
    """What an operator should know before trusting this service's plans, a line each."""
    profile = service.profile
    if profile.kind == "estimated":
        yield (
            f"profile {profile.name} is estimated, not measured: expect it to be wrong by tens of per cent, "
            "and leave correction enabled"
        )
    for doubt in profile.warnings:
        yield f"profile {profile.name}: {doubt}"
    for pool in service.pools.values():
        sizing = _sized(service, pool.role, _NO_LOAD_PER_S)
        if sizing.unattainable is not None:
            yield f"{pool.role}: no number of replicas meets the sla: {sizing.unattainable}"
        if sizing.outside is not None:
            yield f"{pool.role}: {sizing.outside}"
        if any(gpus != pool.gpus_per_replica for gpus in _measured_gpus(service, pool)):
            measured = " and ".join(f"{gpus}" for gpus in sorted(_measured_gpus(service, pool)))
            yield (
                f"{pool.role}: a replica has {pool.gpus_per_replica} GPUs, but the profile was measured on {measured}; "
                "sizing takes its latencies as they are"
            )


def capacity_per_s(service: ServiceSettings, role: Role) -> float:
    """Requests per second that one replica of this pool carries within the agreement, at its mean lengths."""
    low, high = 0.0, 1.0
    while _sized(service, role, high).replicas <= 1:
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        if _sized(service, role, middle).replicas <= 1:
            low = middle
        else:
            high = middle
    return low


def fleet_for(service: ServiceSettings, rate_per_s: float) -> Fleet:
    """Replicas for a steady rate at the agreement's lengths."""
    replicas = {
        role: _bounded(pool, _sized(service, role, rate_per_s).replicas) for role, pool in service.pools.items()
    }
    gpus = sum(count * service.pools[role].gpus_per_replica for role, count in replicas.items())
    return Fleet(rate_per_s, replicas, gpus)


def _sized(service: ServiceSettings, role: Role, rate_per_s: float) -> PoolSizing:
    targets = service.targets
    demand = Demand(
        rate_per_s, targets.isl_tokens, targets.osl_tokens, service.sizing.isl_cv2, service.sizing.arrival_cv2
    )
    return size_pool(role, demand, Factors(), targets, service.profile, service.sizing)


def _bounded(pool: PoolSettings, replicas: int) -> int:
    at_least = max(replicas, pool.min_replicas)
    return at_least if pool.max_replicas is None else min(at_least, pool.max_replicas)


def _measured_gpus(service: ServiceSettings, pool: PoolSettings) -> set[int]:
    prefill, decode = service.profile.prefill.gpus, service.profile.decode.gpus
    return {Role.PREFILL: {prefill}, Role.DECODE: {decode}, Role.AGGREGATED: {prefill, decode}}[pool.role]
