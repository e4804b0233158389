"""An API server that is only pretended: Deployments and pods that are listed, watched and scaled, and Events."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from kubernetes_pretended import deployment, pod

from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.api.listing import Listing
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.selectors import selects
from planner.connectors.kubernetes.objects.services import ROLE, SERVICE

SERVED: Mapping[str, dict[str, Any]] = {
    "/apis/apps": {"versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}},
    "/apis/apps/v1": {
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
        ]
    },
    "/apis": {"groups": [{"name": "apps"}]},
}

Follower: TypeAlias = "tuple[str, str, asyncio.Queue[dict[str, Any] | None]]"
"""Who watches: path, selector, and what is still to be told."""


class WatchedServer:
    """In place of `api.Api`. Objects are set by `apply` and `remove`; whoever watches is told at once."""

    def __init__(self) -> None:
        self.refused: dict[str, ApiError] = {}
        """What is answered to lists and watches of these paths."""
        self.watching: list[str] = []
        """Paths that are watched now, with their selectors."""
        self.lists: list[str] = []
        self.patches: list[tuple[str, Object]] = []
        self.events: list[str] = []
        """Notes of Events."""
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._version = 10
        self._changes: dict[int, tuple[str, dict[str, Any] | None, dict[str, Any] | None]] = {}
        """By version: the path, and the object before and after."""
        self._queues: list[Follower] = []

    def deploy(
        self, name: str, role: str | None = "aggregated", *, service: str | None = None, namespace: str = "llm",
        **annotations: str,
    ) -> None:  # fmt: skip
        """A Deployment of a service; without a role it has no labels. `sla__ttft` is the annotation sla.ttft."""
        labels = {} if role is None else {SERVICE: service or name, ROLE: role}
        ours = {f"sla-planner.io/{key.replace('__', '.')}": text for key, text in annotations.items()}
        known = self._objects.get((_deployments(namespace), name))
        replicas = 1 if known is None else known["spec"]["replicas"]
        self.apply(deployment(name, replicas, namespace=namespace, labels=labels, annotations=ours))

    def apply(self, said: dict[str, Any]) -> dict[str, Any]:
        """Put an object in, at a new version."""
        where, name = _deployments(said["metadata"]["namespace"]), said["metadata"]["name"]
        self._set(where, name, said)
        self._start(said["metadata"]["namespace"], name, said["spec"]["replicas"])
        return copy.deepcopy(said)

    def remove(self, name: str, namespace: str = "llm") -> None:
        """Delete a Deployment and its pods."""
        self._start(namespace, name, 0)
        self._set(_deployments(namespace), name, None)

    def replicas(self, name: str, namespace: str = "llm") -> int:
        """That a Deployment asks for."""
        asked: int = self._objects[_deployments(namespace), name]["spec"]["replicas"]
        return asked

    def cut(self) -> None:
        """Every watch ends."""
        for _, _, queue in self._queues:
            queue.put_nowait(None)

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        if path in SERVED:
            return SERVED[path]
        raise ApiError(404, "NotFound")

    async def items(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        if path in self.refused:
            raise self.refused[path]
        self.lists.append(f"{path}?{label_selector}")
        matches = _matching(label_selector)
        found = [each for (where, _), each in self._objects.items() if where == path]
        chosen = tuple(copy.deepcopy(each) for each in found if matches(each["metadata"].get("labels", {})))
        return Listing(chosen, str(self._version))

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str | int], *, silence_s: float
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        if path in self.refused:
            raise self.refused[path]
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        selector = str(params.get("labelSelector", ""))
        follower = path, selector, queue
        for version, change in self._changes.items():
            if version > int(params["resourceVersion"]):
                self._tell(follower, *change, version)
        self._queues.append(follower)
        self.watching.append(f"{path}?{selector}")
        try:
            yield _events(queue)
        finally:
            self._queues.remove(follower)
            self.watching.remove(f"{path}?{selector}")

    async def patch(self, path: str, body: Object) -> dict[str, Any]:
        self.patches.append((path, body))
        where, name, _ = path.rsplit("/", 2)
        target = copy.deepcopy(self._objects[where, name])
        target["spec"]["replicas"] = body["spec"]["replicas"]
        target["metadata"]["managedFields"] = []
        return self.apply(target)

    async def create(self, path: str, body: Object) -> dict[str, Any]:
        self.events.append(str(body["note"]))
        return dict(body)

    async def close(self) -> None: ...

    def _start(self, namespace: str, name: str, replicas: int) -> None:
        """Pods of a Deployment, Ready at once."""
        where = f"/api/v1/namespaces/{namespace}/pods"
        names = [f"{name}-{number}" for number in range(replicas)]
        mine = [each for path, each in self._objects if path == where and each.rsplit("-", 1)[0] == name]
        for gone in set(mine) - set(names):
            self._set(where, gone, None)
        for number, new in enumerate(names):
            if new not in mine:
                self._set(where, new, pod(name, number))

    def _set(self, where: str, name: str, said: dict[str, Any] | None) -> None:
        self._version += 1
        before = self._objects.pop((where, name), None)
        if said is not None:
            said["metadata"]["resourceVersion"] = str(self._version)
            self._objects[where, name] = said
        change = where, before, said
        self._changes[self._version] = change
        for follower in self._queues:
            self._tell(follower, *change)

    def _tell(
        self,
        follower: Follower,
        path: str,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        version: int | None = None,
    ) -> None:
        where, selector, queue = follower
        if where != path:
            return
        matches = _matching(selector)
        was = before is not None and matches(before["metadata"].get("labels", {}))
        now = after is not None and matches(after["metadata"].get("labels", {}))
        if after is not None and now:
            queue.put_nowait({"type": "MODIFIED" if was else "ADDED", "object": copy.deepcopy(after)})
        elif before is not None and was:
            gone = copy.deepcopy(before)
            gone["metadata"]["resourceVersion"] = str(version or self._version)
            queue.put_nowait({"type": "DELETED", "object": gone})


async def _events(queue: asyncio.Queue[dict[str, Any] | None]) -> AsyncGenerator[dict[str, Any], None]:
    while (event := await queue.get()) is not None:
        yield event


def _matching(selector: str) -> Callable[[Mapping[str, str]], bool]:
    return selects(selector) if selector else lambda labels: True


def _deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"
