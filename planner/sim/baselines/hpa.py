"""Kubernetes' Horizontal Pod Autoscaler on a metric of the engine, one autoscaler per pool.

The rules of autoscaling/v2 with its default behaviour (kubernetes.io/docs, "Horizontal Pod Autoscaling"):

- desired = ceil(replicas * ratio), ratio = mean of the metric over its target; nothing within a tolerance of 0.1;
- replicas without metrics yet count as at 100 % of the target for a cut and as idle for a raise; when that turns the
  direction round, nothing is done;
- down to the highest recommendation of the last 300 s, a window that begins with what is ordered at the start;
- up at once, in 15 s by at most 100 % or 4 replicas, whichever is more; down without a limit;
- a look every 15 s, or as often as the simulation ticks when that is less often. So a run with ticks of 30 s shows an
  autoscaler half as attentive as the default, and one raise a tick.

Limits: metrics are read at the instant of the tick, not averaged by an adapter; requests in draining replicas are in
them. The autoscalers of two pools know neither each other nor the budget: replicas beyond the GPUs stay pending.
A full decode batch is one at the ITL target. An aggregated replica spends time on prompts, too, and seldom fills it:
there the default target of utilisation is too high, and one must be found by trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner.scaling.settings import PoolSettings, ServiceSettings
from planner.scaling.size.decode import largest_within
from planner.scaling.types import Absent, PoolSamples, Role, ServiceSamples
from planner.sim.policies import Cause, Order

Metric = Literal["utilisation", "queue"]

DEFAULT_TARGETS: Mapping[Metric, float] = {"utilisation": 0.7, "queue": 1.0}
"""Share of its capacity that a replica runs; requests that wait per replica."""

TOLERANCE = 0.1
SYNC_S = 15.0
STABILISATION_DOWN_S = 300.0
MOST_UP_REPLICAS = 4
MOST_UP_FACTOR = 2

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Reading:
    """One pool's metric: replicas ordered, those that report, and the metric summed over these."""

    wanted: int
    ready: int
    total: float

    @property
    def mean(self) -> float:
        """Per reporting replica, of which there is at least one."""
        return self.total / self.ready


def recommend(reading: Reading, target: float) -> int:
    """Replicas for a metric of `target` each, before windows and limits; `target` in the metric's own unit."""
    current, ready = reading.wanted, reading.ready
    if ready == 0:
        return current
    ratio = reading.mean / target
    without = max(0, current - ready)
    counted = ready + without
    filled = (reading.total + without * target * (ratio < 1)) / (counted * target)
    turned = (ratio < 1) != (filled < 1)
    if abs(filled - 1) <= TOLERANCE + _ROUNDING or turned:
        return current
    desired = math.ceil(filled * counted - _ROUNDING)
    return min(desired, current) if filled < 1 else max(desired, current)


class HpaPolicy:
    """An autoscaler per pool of one service."""

    def __init__(self, service: ServiceSettings, budget_gpus: int, metric: Metric, target: float) -> None:
        self._service = service
        self._budget_gpus = budget_gpus
        self._metric = metric
        self._targets = {role: target * _unit(role, service, metric) for role in service.pools}
        self._recommended: dict[Role, list[tuple[float, int]]] = {}
        self._synced_s = -math.inf

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """Every pool's order; none between two looks."""
        if now_s - self._synced_s < SYNC_S - _ROUNDING:
            return {}
        self._synced_s = now_s
        replicas: dict[Role, int] = {}
        causes: list[Cause] = []
        for role, pool in self._service.pools.items():
            reading = self._read(samples[self._service.name].pools[role])
            if reading is not None:
                replicas[role], text = self._decide_pool(pool, reading, now_s)
                causes.append(Cause(f"hpa-{self._metric}", text, role))
        return {self._service.name: Order(replicas, tuple(causes))}

    def _read(self, pool: PoolSamples) -> Reading | None:
        gauge = pool.running if self._metric == "utilisation" else pool.waiting
        if isinstance(pool.wanted, Absent) or isinstance(pool.ready, Absent) or isinstance(gauge, Absent):
            return None
        return Reading(round(pool.wanted.value), round(pool.ready.value), gauge.value)

    def _decide_pool(self, pool: PoolSettings, reading: Reading, now_s: float) -> tuple[int, str]:
        target = self._targets[pool.role]
        desired = recommend(reading, target)
        window = self._recommended.setdefault(pool.role, [(now_s, reading.wanted)])
        window.append((now_s, desired))
        window[:] = [(at_s, count) for at_s, count in window if at_s > now_s - STABILISATION_DOWN_S]
        ordered = min(reading.wanted, max(count for _, count in window)) if desired < reading.wanted else desired
        ordered = min(ordered, max(MOST_UP_FACTOR * reading.wanted, reading.wanted + MOST_UP_REPLICAS))
        ordered = max(pool.min_replicas, min(ordered, self._most(pool)))
        what = "running" if self._metric == "utilisation" else "waiting"
        shown = f"{reading.mean:.1f} requests {what} per replica" if reading.ready else "no replica reports"
        return ordered, f"{pool.role}: {shown}, target {target:.1f}: {desired} recommended, {ordered} ordered"

    def _most(self, pool: PoolSettings) -> int:
        if pool.max_replicas is not None:
            return pool.max_replicas
        others = (other for other in self._service.pools.values() if other is not pool)
        held = sum(other.min_replicas * other.gpus_per_replica for other in others)
        return (self._budget_gpus - held) // pool.gpus_per_replica


def _unit(role: Role, service: ServiceSettings, metric: Metric) -> float:
    """What a target of 1 means in requests per replica: for utilisation, as many as keep the ITL target."""
    if metric == "queue" or role is Role.PREFILL:
        return 1.0
    return largest_within(service.targets.itl_s, service.targets.context_tokens, service.profile.decode)
