"""Fleets that never change: one sized for the peak, and every way to split a number of GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.errors import UserError
from planner.scaling.profile import Profile
from planner.scaling.settings import PoolSettings
from planner.scaling.size.throughput import size_by_throughput
from planner.scaling.size.types import Factors
from planner.scaling.types import Role
from planner.sim.baselines.windows import demands
from planner.sim.loads import Request
from planner.slo.targets import Targets


def static_peak(
    requests: Iterable[Request], roles: Iterable[Role], profile: Profile, targets: Targets, interval_s: float
) -> Mapping[Role, int]:
    """The fewest replicas per pool that the published throughput formula asks for in any interval of the trace.

    It knows the whole trace beforehand, yet leaves no room for queues: the cheapest fixed fleet one would defend.
    Raises UserError when there are no requests.
    """
    roles = tuple(roles)
    peak: dict[Role, int] = {}
    for _, demand in demands(requests, interval_s):
        for role in roles:
            needed = size_by_throughput(role, demand, targets, profile, Factors()).replicas
            peak[role] = max(peak.get(role, 0), needed)
    if not peak:
        raise UserError("trace: no requests to size a peak for; widen the slice or raise the scale")
    return peak


def splits(pools: Mapping[Role, PoolSettings], gpus: int) -> list[Mapping[Role, int]]:
    """Every fleet of at least one replica per pool that uses exactly `gpus` GPUs; empty when there is none."""
    role, *others = pools
    per_replica = pools[role].gpus_per_replica
    if not others:
        return [{role: gpus // per_replica}] if gpus > 0 and gpus % per_replica == 0 else []
    rest = {other: pools[other] for other in others}
    return [
        {role: count, **split}
        for count in range(1, gpus // per_replica + 1)
        for split in splits(rest, gpus - count * per_replica)
    ]
