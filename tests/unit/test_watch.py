"""What the source and the connector say, put together for a tick."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from builders import pool_samples, service_samples, service_settings

from planner.clock import VirtualClock
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role, Sample, ServiceSamples, Start
from planner.watch import Watch

P, D = Role.PREFILL, Role.DECODE
NONE, ONE = Sample(0, 5.0), Sample(1, 5.0)
STARTS = (Start("3f2a91bc", 4.0, 90.0),)


class Fleet:
    """A source, and a connector that tells the starts of one pool."""

    async def collect(self, service: str) -> ServiceSamples:
        return service_samples(5.0)

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        return {
            P: ReplicaSamples(ONE, NONE, ONE, NONE, NONE, NONE, failing=ONE, pending_go_first=ONE, starts=STARTS),
            D: ReplicaSamples(ONE, ONE, NONE, NONE, NONE, NONE),
        }

    async def apply(self, plan: Plan) -> Applied:
        raise AssertionError("nobody applies")

    async def close(self) -> None: ...


def test_all_that_a_connector_tells_reaches_the_tick() -> None:
    async def scene() -> ServiceSamples:
        fleet = Fleet()
        watch = Watch(fleet, fleet, VirtualClock(5.0), timeout_s=10)
        await watch.ask(["chat"])
        await asyncio.gather(*watch.under_way())
        return watch.samples({"chat": service_settings()})["chat"]

    samples = asyncio.run(scene())

    untold = Absent("the orchestrator does not tell")
    assert samples.starts == {P: STARTS}
    assert [(pool.ready, pool.starting, pool.failing, pool.pending_go_first) for pool in samples.pools.values()] == [
        (NONE, ONE, ONE, ONE),
        (ONE, NONE, untold, untold),
    ]
    assert samples.pools[D].running == pool_samples(5.0).running
