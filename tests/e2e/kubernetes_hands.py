"""The planner's hands on a real cluster within the test's process: API client, watches and connector, as `planner run`
puts them together, but for the lease: what is tested here is the only writer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from planner.clock import Clock, WallClock
from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.connector import KubernetesConnector, Pool
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.kubernetes.objects.writers import Policy
from planner.connectors.kubernetes.watches.cluster import Cluster
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role, Sampled

PATIENCE_S = 30.0
SERVICE = "chat"

Read = Mapping[Role, ReplicaSamples]


class Recorded:
    """An API client that notes down what it wrote, and what it was not let write."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.done: list[Object] = []
        """Bodies of patches that the API server took."""
        self.tried = 0
        """Patches sent, taken or not."""

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read one object."""
        return await self._api.get(path, **params)

    async def patch(self, path: str, body: Object) -> dict[str, Any]:
        """Merge into an object."""
        self.tried += 1
        answer = await self._api.patch(path, body)
        self.done.append(body)
        return answer

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()


@dataclass(frozen=True)
class Hands:
    """One service's."""

    connector: KubernetesConnector
    watches: Cluster
    writes: Recorded

    async def read(self) -> Read:
        """What is known now."""
        return await self.connector.read(SERVICE)

    async def plan(self, replicas: Mapping[Role, int]) -> Applied:
        """Hand over a plan."""
        return await self.connector.apply(Plan(SERVICE, replicas, "1"))

    async def tick(self, replicas: Mapping[Role, int]) -> Applied:
        """Read, and hand over a plan."""
        await self.read()
        return await self.plan(replicas)

    async def until(self, what: str, check: Callable[[Read], bool]) -> Read:
        """Read until it is as it should be. Raises AssertionError with what was seen last."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            seen = await self.read()
            if check(seen):
                return seen
            assert time.monotonic() < deadline_s, f"waited in vain until {what}; last seen: {seen}"
            await asyncio.sleep(0.02)

    async def outcome(self, replicas: Mapping[Role, int]) -> Applied:
        """Tick until the plan did not fail: controllers write an object's status at any moment, which is a conflict."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (done := await self.tick(replicas)).status == "failed":
            assert time.monotonic() < deadline_s, f"it still fails: {done}"
            await asyncio.sleep(0.02)
        return done

    async def until_applied(self, replicas: Mapping[Role, int]) -> list[Applied]:
        """Tick until the plan is taken; returns what became of it before."""
        deadline_s = time.monotonic() + PATIENCE_S
        before: list[Applied] = []
        while (done := await self.tick(replicas)).status != "applied":
            before.append(done)
            assert time.monotonic() < deadline_s, f"never applied; last: {done}"
            await asyncio.sleep(0.1)
        return before


@asynccontextmanager
async def hands(
    kubeconfig: Path,
    namespace: str,
    targets: Mapping[Role, str],
    *,
    gpus: int = 1,
    policy: Policy | None = None,
    clock: Clock | None = None,
    deadline_s: float = 5.0,
    loads: Mapping[str, float] | None = None,
) -> AsyncIterator[Hands]:
    """Watching already; `gpus` are those of a replica of each pool, `deadline_s` is that of a call.

    With `loads`, requests by pod, the idlest go first.
    """
    api = Api(Access(kubeconfig), deadline_s=deadline_s)
    time_of_day = clock or WallClock()
    pools = {
        role: Pool(target_of(text, namespace), gpus, idlest_first=loads is not None) for role, text in targets.items()
    }
    watches = Cluster(api, {pool.target.object for pool in pools.values()}, time_of_day, Random(1))
    writes = Recorded(api)
    policies = {SERVICE: policy or Policy()}

    async def loads_of(service: str, role: Role) -> Mapping[str, float]:
        return loads or {}

    connector = KubernetesConnector(writes, watches, {SERVICE: pools}, policies, time_of_day, lambda: None, loads_of)
    running = asyncio.create_task(watches.run())
    try:
        yield Hands(connector, watches, writes)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await connector.close()


def said(sampled: Sampled) -> float | str:
    """The figure, or why there is none."""
    return sampled.cause if isinstance(sampled, Absent) else sampled.value
