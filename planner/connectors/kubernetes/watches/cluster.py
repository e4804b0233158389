"""What is known of the targets and their pods without asking: watches, one for each kind and namespace.

A steady tick makes no call. What cannot be seen is absent with the cause, and is tried for ever.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any, TypeVar

from planner.clock import Clock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.discovery import Discovery, Resource, collection_of, path_of
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.kinds import Kind
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.selectors import selects
from planner.connectors.kubernetes.objects.services import Place, place_of
from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.connectors.kubernetes.watches.state import Key
from planner.connectors.kubernetes.watches.watches import PODS, Watches
from planner.errors import UserError
from planner.scaling.types import Absent

T = TypeVar("T")

UNSERVED_S = 600.0
"""So long a kind of others is taken not to be served: it is asked for with every change."""
_NOT_YET = "not looked for yet"


class Cluster:
    """The objects `refs` and the pods of their namespaces. Does nothing until it is run."""

    def __init__(self, api: Api, refs: Collection[ObjectRef], clock: Clock, chance: Random) -> None:
        self._api = api
        self._clock = clock
        self._discovery = Discovery(api)
        self._watches = Watches(api, self._discovery, clock, chance)
        self._unserved_until_s: dict[tuple[str, str], float] = {}
        self._asking: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self.want(refs)

    def want(self, refs: Collection[ObjectRef]) -> None:
        """Know of these from now on; watches that stay are not disturbed, those that nobody needs end."""
        objects = {place_of(ref) for ref in refs}
        self._watches.want(objects | {_pods_of(ref.namespace) for ref in refs})

    async def run(self) -> None:
        """Find the kinds and watch, until cancelled."""
        await self._watches.run()

    def find(self, ref: ObjectRef) -> tuple[Kind, Object] | Absent:
        """The object as it is now, and what its kind means."""
        objects, resource = self._objects(place_of(ref)), self._watches.served(ref.group, ref.kind)
        if isinstance(objects, Absent) or resource is None:
            return Absent(f"{ref}: {objects.cause if isinstance(objects, Absent) else _NOT_YET}")
        target = objects.get((ref.namespace, ref.name))
        if target is None:
            return Absent(f"{ref}: there is no such object; create it, or correct the target")
        return kind_of(resource.api_version, ref.kind, resource.plural), target

    def pods(self, namespace: str, selector: str) -> list[Object] | Absent:
        """The namespace's pods that the selector matches."""
        objects = self._objects(_pods_of(namespace))
        if isinstance(objects, Absent):
            return Absent(f"pods of {namespace}: {objects.cause}")
        matches = selects(selector)
        labelled = ((each, read(each, path(".metadata.labels")) or {}) for each in objects.values())
        return [each for each, labels in labelled if matches(labels)]

    def put(self, ref: ObjectRef, written: Object) -> None:
        """Take in what our own write made of an object."""
        if (watched := self._watches.get(place_of(ref))) is not None:
            watched.put(written)

    def path(self, ref: ObjectRef, sub: str | None = None) -> str:
        """Where the object, which was found, is."""
        resource = self._watches.served(ref.group, ref.kind)
        assert resource is not None
        return path_of(resource, ref.namespace, ref.name, sub)

    async def get(self, group: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object that is not watched; None when there is none for us: not there, not served or not allowed.

        Raises ApiError.
        """
        resource = await self._served(group, kind)
        if resource is None:
            return None
        try:
            return await self._api.get(path_of(resource, namespace, name))
        except ApiError as error:
            if error.status in (403, 404):
                return None
            raise

    async def all(self, group: str, kind: str, namespace: str) -> tuple[Object, ...]:
        """The namespace's objects of a kind that is not watched; none where it is not served. Raises ApiError."""
        return await self._together(("all", group, kind, namespace), partial(self._all, group, kind, namespace))

    def failures(self) -> Mapping[str, str]:
        """What cannot be watched, and why."""
        return {
            f"{'pods' if kind == PODS.kind else kind} of {namespace}": failure
            for (_, kind, namespace), failure in self._watches.failures().items()
        }

    async def _all(self, group: str, kind: str, namespace: str) -> tuple[Object, ...]:
        resource = await self._served(group, kind)
        if resource is None:
            return ()
        return (await self._api.items(collection_of(resource, namespace))).items

    async def _together(self, what: tuple[str, ...], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to a question that others may have put already: a tick that changes much asks much alike."""
        asking: asyncio.Task[T] | None = self._asking.get(what)
        if asking is None:
            asking = asyncio.create_task(ask())
            self._asking[what] = asking
            asking.add_done_callback(partial(self._answered, what))
        # Whoever stops waiting must not take the answer from the others.
        return await asyncio.shield(asking)

    def _answered(self, what: tuple[str, ...], asking: asyncio.Task[Any]) -> None:
        del self._asking[what]
        # A failure that everybody stopped waiting for is nobody's.
        if not asking.cancelled():
            asking.exception()

    def _objects(self, where: Place) -> Mapping[Key, Object] | Absent:
        """All that is there now."""
        watched = self._watches.get(where)
        if watched is None or not watched.synced:
            return Absent(self._watches.failure(where) or (_NOT_YET if watched is None else "not listed yet"))
        return watched.objects

    async def _served(self, group: str, kind: str) -> Resource | None:
        """The kind; None where it is not served, which is asked for once in a while. Raises ApiError."""
        now_s = self._clock.now_s()
        if now_s < self._unserved_until_s.get((group, kind), -math.inf):
            return None
        try:
            return await self._together(("served", group, kind), partial(self._discovery.find, group, kind))
        except UserError:
            self._unserved_until_s[group, kind] = now_s + UNSERVED_S
            return None


def _pods_of(namespace: str) -> Place:
    return "", PODS.kind, namespace
