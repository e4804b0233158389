"""Knowing what comes: rates and mean lengths of every window to be and how clumped arrivals are, but no single request.

At each tick it orders the most that any window from now until start-up time plus one interval needs, sized by the same
model as the planner, with factors of 1 and the trace's own burstiness, within the same bounds and budget; it lowers at
once. What it gains over the planner is what better forecasts could gain at most; what it still misses is the sizing's,
or comes before the first order can be Ready. Traced over the objective it gives a frontier of cost and service.

Limit: it sizes each window for itself, so it knows no backlog, and is no strict upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from planner.scaling.cap import Claim, PoolClaim, cap
from planner.scaling.settings import PlannerSettings, PoolSettings, ServiceSettings
from planner.scaling.size import Factors, size
from planner.scaling.types import Absent, Role, ServiceSamples
from planner.sim.baselines.windows import arrival_cv2, demands
from planner.sim.loads import Request
from planner.sim.policies import Cause, Order

_ROUNDING = 1e-9


def needs(requests: Iterable[Request], service: ServiceSettings) -> Sequence[Mapping[Role, int]]:
    """Replicas each pool needs in every window of one interval, in order, within the pool's bounds.

    `requests` is read twice.
    """
    idle = {role: pool.min_replicas for role, pool in service.pools.items()}
    needed: list[Mapping[Role, int]] = []
    clumped = arrival_cv2(requests, service.interval_s)
    known_cv2 = service.sizing.arrival_cv2 if clumped is None else clumped
    for window, demand in demands(requests, service.interval_s, known_cv2):
        needed.extend(idle for _ in range(window - len(needed)))
        sizing = size(demand, Factors(), service)
        needed.append({role: _bounded(sizing.pools[role].replicas, pool) for role, pool in service.pools.items()})
    return needed


class ClairvoyantPolicy:
    """Orders for the windows that a replica ordered now will meet."""

    def __init__(self, settings: PlannerSettings, requests: Mapping[str, Iterable[Request]]) -> None:
        self._settings = settings
        self._needs = {name: needs(requests[name], service) for name, service in settings.services.items()}

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """The most each service needs until an order of the next tick would be Ready, within the budget of all."""
        services = self._settings.services
        wanted = {name: self._ahead(service, now_s) for name, service in services.items()}
        claims = {}
        for name, service in services.items():
            pools = {}
            for role, pool in service.pools.items():
                seen = samples[name].pools[role]
                if isinstance(seen.wanted, Absent) or isinstance(seen.draining, Absent):
                    return {}
                current = round(seen.wanted.value)
                committed = current + round(seen.draining.value)
                pools[role] = PoolClaim(
                    current, committed, wanted[name][role], pool.min_replicas, pool.gpus_per_replica
                )
            claims[name] = Claim(service.priority, pools)
        grants, _ = cap(claims, self._settings.budget_gpus)
        return {
            name: Order(
                {role: grants[name, role].now for role in service.pools},
                tuple(_cause(service, role, wanted[name][role]) for role in service.pools),
            )
            for name, service in services.items()
        }

    def _ahead(self, service: ServiceSettings, now_s: float) -> Mapping[Role, int]:
        first = math.floor(now_s / service.interval_s + _ROUNDING)
        after = math.ceil((now_s + _reach_s(service)) / service.interval_s - _ROUNDING)
        windows = self._needs[service.name][first:after]
        return {
            role: max((window[role] for window in windows), default=pool.min_replicas)
            for role, pool in service.pools.items()
        }


def _reach_s(service: ServiceSettings) -> float:
    return service.startup_s + service.interval_s


def _cause(service: ServiceSettings, role: Role, wanted: int) -> Cause:
    return Cause("clairvoyant", f"{role}: at most {wanted} needed within {_reach_s(service):.0f} s", role)


def _bounded(replicas: int, pool: PoolSettings) -> int:
    most = replicas if pool.max_replicas is None else min(replicas, pool.max_replicas)
    return max(most, pool.min_replicas)
