"""The connector to Kubernetes: counts from watches, plans as patches.

Reading makes no call, save once for the selector of a kind that tells it only in its Scale. A plan makes one patch for
each object it changes, those that get fewer replicas first; each is checked right before (`changing`), and sent only by
the leader (`fence`). What somebody else set is seen at each read and treated as the service's policy says (`writers`).
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from planner.clock import Clock
from planner.connectors.kubernetes.api_errors import ApiError
from planner.connectors.kubernetes.changing import Change, View, obstacle
from planner.connectors.kubernetes.kinds import (
    WHOLE,
    Kind,
    TargetError,
    part_of,
    patch_of,
    refusal,
    replicas_of,
    selector_of,
)  # fmt: skip
from planner.connectors.kubernetes.kinds_paths import Object, at, path, read, write
from planner.connectors.kubernetes.lease import NotLeadingError
from planner.connectors.kubernetes.marking import Loads, mark
from planner.connectors.kubernetes.pools import pool_state
from planner.connectors.kubernetes.targets import ObjectRef, TargetRef
from planner.connectors.kubernetes.writers import (
    OURS,
    Contention,
    Policy,
    Verdict,
    contend,
    foreign,
    resumed,
    writers_of,
    wrote,
)
from planner.connectors.types import Applied, Plan, Status
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


_GO = Verdict("go")


@dataclass(slots=True)
class _Known:
    """What is remembered of a target from tick to tick."""

    uid: str | None = None
    """Of the object that it is about: one that is made anew by the same name has a count of its own."""
    written: int | None = None
    """What we set last; None before we did."""
    contention: Contention = field(default_factory=Contention)
    verdict: Verdict = _GO
    selector: tuple[str, str] | None = None
    """Of its pods, where only its Scale tells it, for the object with this uid."""


class KubernetesConnector:
    """Replicas of services in a cluster that `cluster` watches."""

    def __init__(
        self,
        api: Writes,
        cluster: View,
        services: Mapping[str, Mapping[Role, Pool]],
        policies: Mapping[str, Policy],
        clock: Clock,
        fence: Callable[[], None],
        loads: LoadsOf = _unknown_loads,
    ) -> None:
        """`fence` raises NotLeadingError when this process must not write, `loads` tells how busy a pool's pods are."""
        self._api = api
        self._cluster = cluster
        self._services = services
        self._policies = policies
        self._clock = clock
        self._fence = fence
        self._loads = loads
        self._changing: set[asyncio.Future[Applied]] = set()
        self._known: dict[TargetRef, _Known] = {
            pool.target: _Known() for pools in services.values() for pool in pools.values()
        }

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """The counts of each pool as the watches have them."""
        pools = self._services.get(service, {})
        return {role: await self._read(pool.target, self._policies[service]) for role, pool in pools.items()}

    async def apply(self, plan: Plan) -> Applied:
        """One patch for each object that is to change. Once the first is sent, the others follow, whoever waits."""
        pools = self._services.get(plan.service, {})
        unknown = [role for role in plan.replicas if role not in pools]
        if not pools or unknown:
            what = f"service {plan.service}" + (f" has no pool {unknown[0]}" if pools else " is unknown")
            return Applied("refused", f"{what}; its targets are those it began with, so restart the planner")
        changes: dict[ObjectRef, dict[str, Change]] = {}
        for role, replicas in plan.replicas.items():
            pool = pools[role]
            loads = partial(self._loads, plan.service, role) if pool.idlest_first else None
            verdict = self._known[pool.target].verdict
            change = Change(role, replicas, pool.gpus_per_replica, pool.configured, verdict, loads)
            changes.setdefault(pool.target.object, {})[pool.target.component] = change
        changing = asyncio.ensure_future(self._change_all(changes))
        self._changing.add(changing)
        changing.add_done_callback(self._changing.discard)
        return await asyncio.shield(changing)

    def target(self, service: str, role: Role) -> Object | None:
        """The object of a pool as it is known now."""
        found = self._cluster.find(self._services[service][role].target.object)
        return None if isinstance(found, Absent) else found[1]

    def conflicts(self, service: str) -> Mapping[Role, str]:
        """Where somebody else set the replicas, and what is done about it."""
        verdicts = {role: self._known[pool.target].verdict for role, pool in self._services[service].items()}
        return {role: verdict.reason for role, verdict in verdicts.items() if verdict.action != "go"}

    def go_on(self, service: str) -> bool:
        """People accept what somebody else set and want the plan to go on; whether it was held back."""
        every = (self._known[pool.target] for pool in self._services[service].values())
        held = [known for known in every if known.verdict != _GO]
        for known in held:
            known.contention, known.verdict = resumed(known.contention), _GO
        return bool(held)

    async def close(self) -> None:
        """Let what was begun end, within its deadlines, and let go of connections."""
        await asyncio.gather(*self._changing, return_exceptions=True)
        await self._api.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read(self, ref: TargetRef, policy: Policy) -> ReplicaSamples:
        found = self._cluster.find(ref.object)
        if isinstance(found, Absent):
            return _unknown(found)
        kind, target = found
        known, part = self._known[ref], part_of(kind, ref.component)
        if part is None:
            why = refusal(kind, target, ref.component)
            wrong = f": {ref.object.kind} has no such component; correct the target"
            return _unknown(Absent(f"{ref}{wrong if why is None else f' is not scaled: {why}'}"))
        if known.uid != (uid := str(read(target, path(".metadata.uid")))):
            known.uid, known.written = uid, None
        now_s = self._clock.now_s()
        steps, wanted = at(part.replicas, ref.component), replicas_of(kind, target, ref.component)
        if isinstance(wanted, int) and any(writer.manager == OURS for writer in writers_of(target, steps)):
            # Also what another of us wrote, and a write of ours whose answer was lost.
            known.written = wanted
        change = foreign(target, steps, known.written)
        known.contention, known.verdict = contend(known.contention, change, policy, now_s)
        selector = await self._selector(ref, kind, target)
        pods = selector if isinstance(selector, Absent) else self._cluster.pods(ref.object.namespace, selector)
        if isinstance(pods, Absent):
            return _unknown(pods)
        return pool_state(pods, target, wanted, now_s, group_by=part.group_by).samples

    async def _selector(self, ref: TargetRef, kind: Kind, target: Object) -> str | Absent:
        told = selector_of(kind, target, ref.component)
        known, uid = self._known[ref], str(read(target, path(".metadata.uid")))
        if isinstance(told, str):
            return told
        if known.selector is None or known.selector[0] != uid:
            try:
                scale = await self._api.get(self._cluster.path(ref.object, "scale"))
            except ApiError:
                return told
            if isinstance(told := selector_of(kind, scale, WHOLE), Absent):
                return told
            known.selector = uid, told
        return known.selector[1]

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _change_all(self, changes: Mapping[ObjectRef, Mapping[str, Change]]) -> Applied:
        found = {ref: self._cluster.find(ref) for ref in changes}
        # Fewer first, so that what is freed is free.
        in_order = sorted(changes, key=lambda ref: _growth(found[ref], changes[ref]))
        return _together([await self._change(ref, found[ref], changes[ref]) for ref in in_order])

    async def _change(
        self, ref: ObjectRef, found: tuple[Kind, Object] | Absent, changes: Mapping[str, Change]
    ) -> Applied:
        if isinstance(found, Absent):
            return Applied("failed", found.cause)
        kind, target = found
        counts = {
            component: change.replicas
            for component, change in changes.items()
            if replicas_of(kind, target, component) != change.replicas
        }
        if not counts:
            return Applied("unchanged", f"{ref} is so already")
        try:
            held = await obstacle(self._cluster, ref, kind, target, changes)
            return held or await self._carry_out(ref, kind, target, counts, changes)
        except NotLeadingError as error:
            return Applied("paused", str(error))
        except TargetError as error:
            return Applied("refused", str(error))
        except ApiError as error:
            return _failed(ref, error)

    async def _carry_out(
        self, ref: ObjectRef, kind: Kind, target: Object, counts: Mapping[str, int], changes: Mapping[str, Change]
    ) -> Applied:
        for component, count in counts.items():
            await self._mark(TargetRef(ref, component), kind, target, count, changes[component].loads)
        return await self._write(ref, kind, self._newest(ref, target), counts)

    async def _mark(self, ref: TargetRef, kind: Kind, target: Object, count: int, loads: Loads | None) -> None:
        now, namespace = replicas_of(kind, target, ref.component), ref.object.namespace
        if loads is None or isinstance(now, Absent) or count >= now:
            return
        selector = await self._selector(ref, kind, target)
        pods = selector if isinstance(selector, Absent) else self._cluster.pods(namespace, selector)
        if not isinstance(pods, Absent):
            await mark(self._api, self._fence, namespace, pods, now - count, loads)

    def _newest(self, ref: ObjectRef, target: Object) -> Object:
        """At its latest version, if it asks for the same: while pods start, its status changes by the second."""
        again = self._cluster.find(ref)
        if isinstance(again, Absent) or again[1].get("spec") != target.get("spec"):
            return target
        return again[1]

    async def _write(self, ref: ObjectRef, kind: Kind, target: Object, counts: Mapping[str, int]) -> Applied:
        patch = patch_of(kind, target, counts)
        scaled = patch.through == "scale"
        where = self._cluster.path(ref, "scale" if scaled else None)
        self._fence()
        answer = await self._api.patch(where, patch.body)
        self._remember(ref, _scaled(kind, target, answer, counts) if scaled else answer, counts)
        words = ", ".join(f"{component or 'replicas'} to {count}" for component, count in counts.items())
        return Applied("applied", f"{ref}: {words}")

    def _remember(self, ref: ObjectRef, written: Object, counts: Mapping[str, int]) -> None:
        """Our own write is known at once, lest its echo, or the count before it, be taken for somebody else's."""
        self._cluster.put(ref, written)
        for component, count in counts.items():
            known = self._known[TargetRef(ref, component)]
            known.written, known.contention = count, wrote(known.contention)


def _scaled(kind: Kind, before: Object, scale: Object, counts: Mapping[str, int]) -> Object:
    """The object as the patch of its Scale has left it."""
    after = copy.deepcopy(dict(before))
    write(after, path(".metadata.resourceVersion"), read(scale, path(".metadata.resourceVersion")))
    for component, count in counts.items():
        part = part_of(kind, component)
        assert part is not None
        write(after, at(part.replicas, component), count)
    return after


def _unknown(cause: Absent) -> ReplicaSamples:
    return ReplicaSamples(cause, cause, cause, cause, cause, cause)


def _growth(found: tuple[Kind, Object] | Absent, changes: Mapping[str, Change]) -> int:
    """GPUs more than now; what cannot be seen comes last."""
    if isinstance(found, Absent):
        return 0
    kind, target = found
    growth = 0
    for component, change in changes.items():
        now = replicas_of(kind, target, component)
        growth += 0 if isinstance(now, Absent) else (change.replicas - now) * change.gpus_per_replica
    return growth


def _failed(ref: ObjectRef, error: ApiError) -> Applied:
    if error.status == 409:
        return Applied("failed", f"{ref} changed meanwhile; decided anew at the next tick")
    if error.status == 403:
        return Applied("refused", f"{ref}: {error}")
    return Applied("failed", f"{ref}: {error}")


_WORST: tuple[Status, ...] = ("failed", "refused", "paused", "applied", "unchanged", "dry-run")


def _together(done: list[Applied]) -> Applied:
    """Of several objects the worst status, and all that is to be said."""
    if not done:
        return Applied("unchanged", "nothing to change")
    status = min((each.status for each in done), key=_WORST.index)
    return Applied(status, "; ".join(each.detail for each in done))
