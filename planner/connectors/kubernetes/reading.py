"""The counts of a pool, from its target and its pods as the watches have them.

No call is made, save once for the selector of a kind that tells it only in its Scale. What somebody else set is seen
here, and remembered with what is to be done about it (`objects.writers`).
"""

from __future__ import annotations

from typing import Any, Protocol

from planner.clock import Clock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.changing import View
from planner.connectors.kubernetes.memory import Memory
from planner.connectors.kubernetes.objects.kinds import WHOLE, Kind, part_of, refusal, replicas_of, selector_of
from planner.connectors.kubernetes.objects.paths import Object, at, path, read
from planner.connectors.kubernetes.objects.pools import pool_state
from planner.connectors.kubernetes.objects.targets import TargetRef
from planner.connectors.kubernetes.objects.writers import OURS, Policy, contend, foreign, writers_of
from planner.scaling.types import Absent, ReplicaSamples


class Gets(Protocol):
    """What of `api.Api` is needed here."""

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read one object."""
        ...


class Reader:
    """Reads targets, and remembers who set them."""

    def __init__(self, api: Gets, cluster: View, clock: Clock, memory: Memory) -> None:
        self._api = api
        self._cluster = cluster
        self._clock = clock
        self._memory = memory

    async def read(self, ref: TargetRef, policy: Policy | None) -> ReplicaSamples:
        """The counts of one pool. Without a policy, whoever sets them is not judged."""
        found = self._cluster.find(ref.object)
        if isinstance(found, Absent):
            return _unknown(found)
        kind, target = found
        known, part = self._memory.of(ref), part_of(kind, ref.component)
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
        if policy is not None:
            change = foreign(target, steps, known.written)
            known.contention, known.verdict = contend(known.contention, change, policy, now_s)
        selector = await self.selector(ref, kind, target)
        pods = selector if isinstance(selector, Absent) else self._cluster.pods(ref.object.namespace, selector)
        if isinstance(pods, Absent):
            return _unknown(pods)
        return pool_state(pods, target, wanted, now_s, group_by=part.group_by).samples

    async def selector(self, ref: TargetRef, kind: Kind, target: Object) -> str | Absent:
        """Of the target's pods."""
        told = selector_of(kind, target, ref.component)
        known, uid = self._memory.of(ref), str(read(target, path(".metadata.uid")))
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


def _unknown(cause: Absent) -> ReplicaSamples:
    return ReplicaSamples(cause, cause, cause, cause, cause, cause)
