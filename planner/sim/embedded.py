"""A simulated fleet behind the seams of the live loop: its metrics as a source, its replicas as a connector.

It plays on the loop's own clock: whenever somebody looks or orders, it first catches up with the time that has passed.
Units: seconds; samples carry the clock's time, the fleet counts from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from planner.clock import Clock
from planner.connectors.types import Applied, Connector, Plan
from planner.scaling.types import PoolSamples, ReplicaSamples, Role, Sample, ServiceSamples
from planner.sim.cluster import Cluster
from planner.sim.loop import Loop
from planner.sim.policies import Order
from planner.sim.run import Result
from planner.sim.stage import Stage, Workload


class EmbeddedFleet:
    """Source and connector of the services in `workloads`. Raises what playing their requests raises."""

    def __init__(self, workloads: Mapping[str, Workload], clock: Clock, gpus: int, seed: int = 0) -> None:
        self._clock = clock
        self._start_s = clock.now_s()
        self._loop = Loop()
        self._cluster = Cluster(gpus)
        self._seed = seed
        self._stages = {
            name: Stage(name, workload, self._loop, self._cluster, seed) for name, workload in workloads.items()
        }

    @property
    def over(self) -> bool:
        """The last request has arrived."""
        return not any(stage.expects_more for stage in self._stages.values())

    async def collect(self, service: str) -> ServiceSamples:
        """What its engines' metrics say now."""
        stage = self._caught_up(service)
        samples, row = stage.read_metrics(), stage.follow(None)
        good = samples.good_share if row.good_share is None else Sample(row.good_share, row.at_s)
        return self._on_the_clock(replace(samples, good_share=good))

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """How many replicas it has now."""
        now_s = self._clock.now_s()
        return {
            role: ReplicaSamples(
                wanted=Sample(counts.wanted, now_s),
                ready=Sample(counts.ready, now_s),
                starting=Sample(counts.starting, now_s),
                pending=Sample(counts.pending, now_s),
                draining=Sample(counts.draining, now_s),
                rolling_out=Sample(0, now_s),
                failing=Sample(0, now_s),
                pending_go_first=Sample(1, now_s),
            )
            for role, counts in self._caught_up(service).counts().items()
        }

    async def apply(self, plan: Plan) -> Applied:
        """Scale now."""
        stage = self._caught_up(plan.service)
        before = {role: counts.wanted for role, counts in stage.counts().items()}
        changes = {role: count for role, count in plan.replicas.items() if before[role] != count}
        if not changes:
            return Applied("unchanged", "the fleet has these replicas")
        stage.follow(Order(plan.replicas))
        return Applied("applied", ", ".join(f"{role} {before[role]} -> {count}" for role, count in changes.items()))

    async def close(self) -> None:
        """There is nothing to let go of."""

    def set(self, service: str, replicas: Mapping[Role, int]) -> None:
        """Have so many replicas, without an order that anybody decided."""
        stage = self._caught_up(service)
        if any(stage.counts()[role].wanted != count for role, count in replicas.items()):
            stage.follow(Order(replicas))

    def result(self, interval_s: float) -> Result:
        """What became of all requests until now, and what it cost."""
        self._catch_up()
        return Result(
            seed=self._seed,
            duration_s=self._loop.now_s,
            interval_s=interval_s,
            peak_gpus=self._cluster.peak_gpus,
            services={name: stage.result() for name, stage in self._stages.items()},
        )

    def _caught_up(self, service: str) -> Stage:
        self._catch_up()
        return self._stages[service]

    def _catch_up(self) -> None:
        self._loop.run_until(max(self._loop.now_s, self._clock.now_s() - self._start_s))

    def _on_the_clock(self, samples: ServiceSamples) -> ServiceSamples:
        pools = {role: PoolSamples(**self._all_shifted(pool)) for role, pool in samples.pools.items()}
        return ServiceSamples(**{**self._all_shifted(samples), "pools": pools})

    def _all_shifted(self, samples: PoolSamples | ServiceSamples) -> dict[str, Any]:
        return {field.name: self._shifted(getattr(samples, field.name)) for field in fields(samples)}

    def _shifted(self, value: object) -> object:
        return replace(value, at_s=value.at_s + self._start_s) if isinstance(value, Sample) else value


class LaunchedFleet:
    """Simulated engines, as many as launchers say are ready: what a launcher can be rehearsed with.

    Source and connector: load and latencies are the simulated fleet's, orders and counts `launchers`'. The fleet should
    start replicas in no time, since one that is reported is ready.
    """

    def __init__(self, fleet: EmbeddedFleet, launchers: Connector) -> None:
        self._fleet = fleet
        self._launchers = launchers

    async def collect(self, service: str) -> ServiceSamples:
        """What the engines of the replicas that are ready say."""
        counts = await self._launchers.read(service)
        ready = {role: round(one.ready.value) for role, one in counts.items() if isinstance(one.ready, Sample)}
        self._fleet.set(service, ready)
        return await self._fleet.collect(service)

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """As the launchers tell."""
        return await self._launchers.read(service)

    async def apply(self, plan: Plan) -> Applied:
        """Ordered of the launchers."""
        return await self._launchers.apply(plan)

    async def close(self) -> None:
        """Both."""
        await self._launchers.close()
        await self._fleet.close()
