"""The connector to Kubernetes: counts from watches, plans as patches.

Reading makes no call, save once for the selector of a kind that tells it only in its Scale. A plan makes one patch for
each object it changes, those that get fewer replicas first; each is checked right before (`changing`), and sent only by
the leader (`fence`). What somebody else set is seen at each read and treated as the service's policy says
(`objects.writers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from planner.clock import Clock
from planner.connectors.kubernetes.changing import Change, View
from planner.connectors.kubernetes.memory import GO, Memory
from planner.connectors.kubernetes.objects.draining import grace_s
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.targets import ObjectRef, TargetRef
from planner.connectors.kubernetes.objects.writers import Policy, resumed
from planner.connectors.kubernetes.reading import Reader
from planner.connectors.kubernetes.writing import Writer
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role


class Writes(Protocol):
    """What of `api.Api` is needed here."""

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read one object."""
        ...

    async def patch(self, path: str, body: Object) -> dict[str, Any]:
        """Merge into an object, and answer it."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Watches(View, Protocol):
    """What is known of the cluster, as far as it is wanted."""

    def want(self, refs: Collection[ObjectRef]) -> None:
        """Know of these, and of no others."""
        ...


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool of a service: which count, and what a replica of it is believed to hold."""

    target: TargetRef
    gpus_per_replica: int
    configured: bool = True
    """Whether somebody said so, and it is not merely the profile's."""
    idlest_first: bool = False
    """Whether pods may be marked, so that the idlest go first."""


LoadsOf = Callable[[str, Role], Awaitable[Mapping[str, float]]]
"""Requests in work and waiting, by pod, of a service's pool."""


async def _unknown_loads(service: str, role: Role) -> Mapping[str, float]:
    return {}


class KubernetesConnector:
    """Replicas of services in a cluster that `cluster` watches."""

    def __init__(
        self,
        api: Writes,
        cluster: Watches,
        services: Mapping[str, Mapping[Role, Pool]],
        policies: Mapping[str, Policy],
        clock: Clock,
        fence: Callable[[], None],
        loads: LoadsOf = _unknown_loads,
    ) -> None:
        """`fence` raises NotLeadingError when this process must not write, `loads` tells how busy a pool's pods are.

        Replicas of a service without a policy are set by somebody else: they are read, and its plans handed on.
        """
        self._api = api
        self._cluster = cluster
        self._memory = Memory()
        self._reader = Reader(api, cluster, clock, self._memory)
        self._writer = Writer(api, cluster, fence, self._reader.selector, self._memory)
        self._services: Mapping[str, Mapping[Role, Pool]] = {}
        self._policies: Mapping[str, Policy] = {}
        self._loads = loads
        self._changing: dict[asyncio.Future[Applied], frozenset[TargetRef]] = {}
        self.adopt(services, policies)

    def adopt(self, services: Mapping[str, Mapping[Role, Pool]], policies: Mapping[str, Policy]) -> None:
        """Scale these services from now on, with what is known of their targets; plans under way go on to their end."""
        self._services, self._policies = services, policies
        self._forget_the_others()

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """The counts of each pool as the watches have them."""
        pools, policy = self._services.get(service, {}), self._policies.get(service)
        return {role: await self._reader.read(pool.target, policy) for role, pool in pools.items()}

    async def apply(self, plan: Plan) -> Applied:
        """One patch for each object that is to change. Once the first is sent, the others follow, whoever waits."""
        pools = self._services.get(plan.service, {})
        unknown = [role for role in plan.replicas if role not in pools]
        if not pools or unknown:
            what = f"service {plan.service}" + (f" has no pool {unknown[0]}" if pools else " is unknown")
            return Applied("refused", f"{what}; decided anew at the next tick")
        if plan.service not in self._policies:
            words = ", ".join(f"{role} to {replicas}" for role, replicas in plan.replicas.items())
            return Applied("handed-on", f"{words}, for whoever asks for the figure")
        changes: dict[ObjectRef, dict[str, Change]] = {}
        for role, replicas in plan.replicas.items():
            pool = pools[role]
            loads = partial(self._loads, plan.service, role) if pool.idlest_first else None
            verdict = self._memory.of(pool.target).verdict
            change = Change(role, replicas, pool.gpus_per_replica, pool.configured, verdict, loads)
            changes.setdefault(pool.target.object, {})[pool.target.component] = change
        changing = asyncio.ensure_future(self._writer.change_all(changes))
        self._changing[changing] = frozenset(pools[role].target for role in plan.replicas)
        changing.add_done_callback(self._done)
        return await asyncio.shield(changing)

    def grace_s(self, service: str, role: Role) -> int | None:
        """How long a pod of the pool may take to end; None where its target does not say."""
        target = self.target(service, role)
        return None if target is None else grace_s(target, self._services[service][role].target.component)

    def target(self, service: str, role: Role) -> Object | None:
        """The object of a pool as it is known now."""
        pool = self._services.get(service, {}).get(role)
        found = None if pool is None else self._cluster.find(pool.target.object)
        return None if found is None or isinstance(found, Absent) else found[1]

    def conflicts(self, service: str) -> Mapping[Role, str]:
        """Where somebody else set the replicas, and what is done about it."""
        verdicts = {
            role: self._memory.of(pool.target).verdict for role, pool in self._services.get(service, {}).items()
        }
        return {role: verdict.reason for role, verdict in verdicts.items() if verdict.action != "go"}

    def contended(self) -> Mapping[str, Mapping[Role, str]]:
        """The conflicts of all services that have some."""
        return {service: conflicts for service in self._services if (conflicts := self.conflicts(service))}

    def go_on(self, service: str) -> bool:
        """People accept what somebody else set and want the plan to go on; whether it was held back."""
        every = (self._memory.of(pool.target) for pool in self._services.get(service, {}).values())
        held = [known for known in every if known.verdict != GO]
        for known in held:
            known.contention, known.verdict = resumed(known.contention), GO
        return bool(held)

    async def close(self) -> None:
        """Let what was begun end, within its deadlines, and let go of connections."""
        await asyncio.gather(*self._changing, return_exceptions=True)
        await self._api.close()

    def _done(self, changing: asyncio.Future[Applied]) -> None:
        del self._changing[changing]
        self._forget_the_others()

    def _forget_the_others(self) -> None:
        """Targets of no service, and of no plan under way."""
        targets = {pool.target for pools in self._services.values() for pool in pools.values()}
        targets = targets.union(*self._changing.values())
        self._memory.keep(targets)
        self._cluster.want({ref.object for ref in targets})
