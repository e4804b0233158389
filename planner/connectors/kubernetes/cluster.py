"""What is known of the targets and their pods without asking: watches, one for each kind and namespace.

A steady tick makes no call. What cannot be seen is absent with the cause, and is tried for ever.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from random import Random

from planner.clock import Clock
from planner.connectors.kubernetes.api import Api
from planner.connectors.kubernetes.api_errors import ApiError
from planner.connectors.kubernetes.discovery import Discovery, Resource, collection_of, path_of
from planner.connectors.kubernetes.kinds import Kind
from planner.connectors.kubernetes.kinds_paths import Object, path, read
from planner.connectors.kubernetes.kinds_table import kind_of
from planner.connectors.kubernetes.selectors import selects
from planner.connectors.kubernetes.targets import ObjectRef
from planner.connectors.kubernetes.watching import Watched
from planner.errors import UserError
from planner.scaling.types import Absent

RETRY_S = 15.0
"""A target's kind that is not served may be installed while we run."""
UNSERVED_S = 60.0
"""So long a kind of others is taken not to be served: it is asked for with every change."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A kind that the API server serves."""

    resource: Resource
    kind: Kind


class Cluster:
    """The objects `refs` and the pods of their namespaces. Does nothing until it is run."""

    def __init__(self, api: Api, refs: Collection[ObjectRef], clock: Clock, chance: Random) -> None:
        self._api = api
        self._clock = clock
        self._chance = chance
        self._discovery = Discovery(api)
        self._wanted = {(ref.group, ref.kind, ref.namespace) for ref in refs}
        self._found: dict[tuple[str, str], _Found] = {}
        self._unserved_until_s: dict[tuple[str, str], float] = {}
        self._objects: dict[tuple[str, str, str], Watched] = {}
        self._causes: dict[tuple[str, str, str], str] = {}
        self._pods = {
            namespace: self._watched(f"/api/v1/namespaces/{namespace}/pods") for _, _, namespace in self._wanted
        }

    async def run(self) -> None:
        """Find the kinds and watch, until cancelled."""
        async with asyncio.TaskGroup() as watches:
            for pods in self._pods.values():
                watches.create_task(pods.run())
            for group, kind, namespace in self._wanted:
                watches.create_task(self._watch(group, kind, namespace))

    def find(self, ref: ObjectRef) -> tuple[Kind, Object] | Absent:
        """The object as it is now, and what its kind means."""
        key = (ref.group, ref.kind, ref.namespace)
        watched, found = self._objects.get(key), self._found.get((ref.group, ref.kind))
        if watched is None or found is None:
            return Absent(f"{ref}: {self._causes.get(key, 'not looked for yet')}")
        if not watched.synced:
            return Absent(f"{ref}: {watched.failure or 'not listed yet'}")
        target = watched.objects.get((ref.namespace, ref.name))
        if target is None:
            return Absent(f"{ref}: there is no such object; create it, or correct the target")
        return found.kind, target

    def pods(self, namespace: str, selector: str) -> list[Object] | Absent:
        """The namespace's pods that the selector matches."""
        watched = self._pods[namespace]
        if not watched.synced:
            return Absent(f"pods of {namespace}: {watched.failure or 'not listed yet'}")
        matches = selects(selector)
        labelled = ((each, read(each, path(".metadata.labels")) or {}) for each in watched.objects.values())
        return [each for each, labels in labelled if matches(labels)]

    def put(self, ref: ObjectRef, written: Object) -> None:
        """Take in what our own write made of an object."""
        self._objects[ref.group, ref.kind, ref.namespace].put(written)

    def path(self, ref: ObjectRef, sub: str | None = None) -> str:
        """Where the object, which was found, is."""
        return path_of(self._found[ref.group, ref.kind].resource, ref.namespace, ref.name, sub)

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
        resource = await self._served(group, kind)
        if resource is None:
            return ()
        return (await self._api.items(collection_of(resource, namespace))).items

    def failures(self) -> Mapping[str, str]:
        """What cannot be watched, and why."""
        broken = {f"pods of {namespace}": each.failure for namespace, each in self._pods.items()}
        broken |= {f"{kind} of {namespace}": each.failure for (_, kind, namespace), each in self._objects.items()}
        told = {f"{kind} of {namespace}": cause for (_, kind, namespace), cause in self._causes.items()}
        return told | {what: failure for what, failure in broken.items() if failure is not None}

    async def _served(self, group: str, kind: str) -> Resource | None:
        """The kind; None where it is not served, which is asked for once in a while. Raises ApiError."""
        now_s = self._clock.now_s()
        if now_s < self._unserved_until_s.get((group, kind), -math.inf):
            return None
        try:
            return await self._discovery.find(group, kind)
        except UserError:
            self._unserved_until_s[group, kind] = now_s + UNSERVED_S
            return None

    async def _watch(self, group: str, kind: str, namespace: str) -> None:
        key = (group, kind, namespace)
        while True:
            try:
                resource = await self._discovery.find(group, kind)
            except (UserError, ApiError) as error:
                self._causes[key] = str(error)
                await self._clock.sleep_until(self._clock.now_s() + RETRY_S)
                continue
            break
        self._causes.pop(key, None)
        self._found[group, kind] = _Found(resource, kind_of(resource.api_version, kind, resource.plural))
        self._objects[key] = self._watched(collection_of(resource, namespace))
        await self._objects[key].run()

    def _watched(self, where: str) -> Watched:
        return Watched(self._api, where, clock=self._clock, chance=self._chance)
