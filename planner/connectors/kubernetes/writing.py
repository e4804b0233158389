"""A plan as patches: one for each object that it changes, each checked right before, and sent only by the leader.

Those that get fewer replicas come first, so that what is freed is free. What was written is known at once.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping

from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.changing import Change, View, obstacle
from planner.connectors.kubernetes.lease.lease import NotLeadingError
from planner.connectors.kubernetes.marking import Loads, Patches, mark
from planner.connectors.kubernetes.memory import Memory
from planner.connectors.kubernetes.objects.kinds import Kind, TargetError, part_of, patch_of, replicas_of
from planner.connectors.kubernetes.objects.paths import Object, at, path, read, write
from planner.connectors.kubernetes.objects.targets import ObjectRef, TargetRef
from planner.connectors.kubernetes.objects.writers import wrote
from planner.connectors.types import Applied, Status
from planner.scaling.types import Absent

SelectorOf = Callable[[TargetRef, Kind, Object], Awaitable[str | Absent]]


class Writer:
    """Changes targets, and remembers what it wrote."""

    def __init__(
        self, api: Patches, cluster: View, fence: Callable[[], None], selector: SelectorOf, memory: Memory
    ) -> None:
        """`fence` raises NotLeadingError when this process must not write; `selector` finds a target's pods."""
        self._api = api
        self._cluster = cluster
        self._fence = fence
        self._selector = selector
        self._memory = memory

    async def change_all(self, changes: Mapping[ObjectRef, Mapping[str, Change]]) -> Applied:
        """One patch for each object, those that get fewer GPUs first. Raises nothing for what the API server does."""
        found = {ref: self._cluster.find(ref) for ref in changes}
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
            known = self._memory.of(TargetRef(ref, component))
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
