"""Tells the controller of a pool that is to be lowered which pods are the idlest. A plan never fails over it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.victims import marked, marks

log = logging.getLogger("planner.kubernetes")

MARK_S = 3.0
"""All of it; a plan waits for no longer."""

Loads = Callable[[], Awaitable[Mapping[str, float]]]
"""Requests in work and waiting, by pod."""


class Patches(Protocol):
    """What of `api.Api` is needed here."""

    async def patch(self, path: str, body: Object) -> dict[str, Any]:
        """Merge into an object, and answer it."""
        ...


async def mark(
    api: Patches, fence: Callable[[], None], namespace: str, pods: Sequence[Object], fewer: int, loads: Loads
) -> None:
    """Mark the pods that are to go. Raises what `fence` raises; other failures are logged."""
    try:
        async with asyncio.timeout(MARK_S):
            costs = marks(pods, fewer, await loads())
            fence()
            pod = f"/api/v1/namespaces/{namespace}/pods/"
            done = await asyncio.gather(
                *(api.patch(pod + name, marked(cost)) for name, cost in costs.items()), return_exceptions=True
            )
    except TimeoutError:
        log.warning("the idlest pods of %s could not be marked within %g s", namespace, MARK_S)
        return
    for failure in done:
        # A pod that is gone meanwhile is one fewer.
        if isinstance(failure, ApiError) and failure.status != 404:
            log.warning("the idlest pods of %s could not be marked: %s", namespace, failure)
            return
        if isinstance(failure, BaseException) and not isinstance(failure, ApiError):
            raise failure
