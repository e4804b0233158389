"""Watches of kinds in namespaces, one for each, that begin and end while they run.

What cannot be watched is tried for ever: a kind that is not served may be installed while we run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from random import Random

from planner.clock import Clock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.discovery import Discovery, Resource, UnknownKindError, collection_of
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.services import Place
from planner.connectors.kubernetes.watches.watched import Watched

RETRY_S = 15.0
PODS = Resource("", "v1", "Pod", "pods", namespaced=True, scalable=False)
"""Served everywhere: not to be looked for."""


class Watches:
    """As many as are wanted. Does nothing until it is run."""

    def __init__(
        self, api: Api, discovery: Discovery, clock: Clock, chance: Random, *, label_selector: str = ""
    ) -> None:
        self._api = api
        self._discovery = discovery
        self._clock = clock
        self._chance = chance
        self._labels = label_selector
        self._wanted: frozenset[Place] = frozenset()
        self._running: asyncio.TaskGroup | None = None
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._watched: dict[Place, Watched] = {}
        self._failures: dict[Place, UnknownKindError | ApiError] = {}
        self._served: dict[tuple[str, str], Resource] = {}

    def want(self, wanted: Iterable[Place]) -> None:
        """Watch these and no others; those that stay are not disturbed."""
        self._wanted = frozenset(wanted)
        for gone in self._tasks.keys() - self._wanted:
            self._tasks.pop(gone).cancel()
            self._watched.pop(gone, None)
            self._failures.pop(gone, None)
        self._begin()

    async def run(self) -> None:
        """Watch what is wanted, until cancelled."""
        async with asyncio.TaskGroup() as running:
            self._running = running
            self._begin()
            try:
                await asyncio.Event().wait()
            finally:
                self._running = None

    @property
    def wanted(self) -> frozenset[Place]:
        """What is to be watched."""
        return self._wanted

    def get(self, key: Place) -> Watched | None:
        """The watch; None while its kind is not found."""
        return self._watched.get(key)

    def served(self, group: str, kind: str) -> Resource | None:
        """How a kind that is watched, or once was, is served."""
        return self._served.get((group, kind))

    def is_unserved(self, key: Place) -> bool:
        """Whether the API server knows no such kind, so that there is nothing of it."""
        return isinstance(self._failures.get(key), UnknownKindError)

    def failure(self, key: Place) -> str | None:
        """Why there is no watch now; None while there is one, or before it is known."""
        watched, failure = self._watched.get(key), self._failures.get(key)
        return watched.failure if watched is not None else None if failure is None else str(failure)

    def failures(self) -> Mapping[Place, str]:
        """What cannot be watched, and why."""
        every = {key: self.failure(key) for key in sorted(self._wanted)}
        return {key: failure for key, failure in every.items() if failure is not None}

    def _begin(self) -> None:
        if self._running is None:
            return
        for key in sorted(self._wanted - self._tasks.keys()):
            self._tasks[key] = self._running.create_task(self._watch(key))

    async def _watch(self, key: Place) -> None:
        group, kind, namespace = key
        while True:
            try:
                resource = PODS if (group, kind) == ("", PODS.kind) else await self._discovery.find(group, kind)
            except (UnknownKindError, ApiError) as error:
                self._failures[key] = error
                await self._clock.sleep_until(self._clock.now_s() + RETRY_S)
                continue
            break
        self._failures.pop(key, None)
        self._served[group, kind] = resource
        where = collection_of(resource, namespace)
        self._watched[key] = Watched(
            self._api, where, clock=self._clock, chance=self._chance, label_selector=self._labels
        )
        await self._watched[key].run()
