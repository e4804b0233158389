"""Replicas for a demand: the fewest that honour the agreement.

`queueing` (default) keeps the agreement with the objective's probability, so headroom comes from the objective and
not from a knob; `throughput` is the published reference without queues. See each module for its formulas.
"""

from __future__ import annotations

from planner.scaling.profile import Profile
from planner.scaling.settings import ServiceSettings, SizingSettings
from planner.scaling.size.aggregated import size_aggregated
from planner.scaling.size.decode import size_decode
from planner.scaling.size.prefill import size_prefill
from planner.scaling.size.throughput import size_by_throughput
from planner.scaling.size.types import Factors, PoolSizing, Sizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets

__all__ = ["Factors", "PoolSizing", "Sizing", "Step", "size", "size_pool"]


def size(demand: Demand, factors: Factors, service: ServiceSettings) -> Sizing:
    """Replicas of every pool of `service`, before bounds and budget."""
    pools = {
        role: size_pool(role, demand, factors, service.targets, service.profile, service.sizing)
        for role in service.pools
    }
    return Sizing(service.sizing.method, demand, factors, pools)


def size_pool(
    role: Role, demand: Demand, factors: Factors, targets: Targets, profile: Profile, settings: SizingSettings
) -> PoolSizing:
    """Replicas of one pool; at least 1, even for no demand."""
    if settings.method == "throughput":
        return size_by_throughput(role, demand, targets, profile, factors)
    if role is Role.PREFILL:
        return size_prefill(demand, targets, profile.prefill, factors.ttft, settings)
    if role is Role.DECODE:
        return size_decode(demand, targets, profile.decode, factors.itl)
    return size_aggregated(demand, targets, profile, factors, settings)
