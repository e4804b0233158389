"""Labelled objects as they are seen, and watches that begin and end while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, cast

import pytest
from kubernetes_watched import WatchedServer

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.services import Labelled, Sightings, spelt
from planner.connectors.kubernetes.objects.targets import ObjectRef, target_of
from planner.connectors.kubernetes.watches.cluster import Cluster
from planner.connectors.kubernetes.watches.services import ServiceWatches
from planner.scaling.types import Absent

CHAT = ObjectRef("apps", "Deployment", "llm", "chat")
DEPLOYMENTS = "/apis/apps/v1/namespaces/llm/deployments"
PLACE = ("apps", "Deployment", "llm")


def play(
    script: Callable[[WatchedServer, Any, VirtualClock], Coroutine[Any, Any, None]],
    make: Callable[[Any, VirtualClock], Any],
) -> None:
    """Run `script` beside what `make` made."""

    async def whole() -> None:
        server, clock = WatchedServer(), VirtualClock(1000.0)
        made = make(cast("Any", server), clock)
        running = asyncio.create_task(made.run())
        try:
            await clock.advance(0.0)
            await script(server, made, clock)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def watches(api: Any, clock: VirtualClock) -> ServiceWatches:
    made = ServiceWatches(api, clock, Random(1), ("LeaderWorkerSet",))
    made.want(["llm"], ["Deployment", "LeaderWorkerSet"])
    return made


def test_only_what_a_service_is_made_of_is_seen() -> None:
    async def script(server: WatchedServer, seen: ServiceWatches, clock: VirtualClock) -> None:
        server.deploy("other", None)
        server.deploy("chat", ttft="150")
        await clock.advance(1.0)
        before = seen.seen()
        assert before == Sightings((Labelled(CHAT, "chat", "aggregated", {"ttft": "150"}),))
        assert server.watching == [f"{DEPLOYMENTS}?sla-planner.io/service"]

        await server.patch(f"{DEPLOYMENTS}/chat/scale", {"spec": {"replicas": 5}})
        await clock.advance(1.0)
        assert seen.get(CHAT) is not None
        assert seen.seen() == before

    play(script, watches)


def test_what_was_not_listed_or_is_forbidden_is_not_seen_and_a_kind_that_is_not_served_has_none() -> None:
    async def script(server: WatchedServer, seen: ServiceWatches, clock: VirtualClock) -> None:
        server.refused[DEPLOYMENTS] = ApiError(403, "Forbidden", "deployments is forbidden")
        seen.want(["llm"], ["Deployment", "LeaderWorkerSet", "StatefulSet"])
        server.cut()
        await clock.advance(100.0)
        assert seen.seen().blind == {PLACE}
        assert {what: why.partition(";")[0] for what, why in seen.failures().items()} == {
            "services by label, Deployment of llm": "deployments is forbidden",
            "services by label, StatefulSet of llm": "target: there is no kind 'StatefulSet' in apps",
        }
        server.refused.clear()
        await clock.advance(60.0)
        assert seen.seen() == Sightings()

    play(script, watches)


def test_before_the_first_list_nothing_is_seen() -> None:
    made = watches(cast("Any", WatchedServer()), VirtualClock(0.0))

    assert made.seen().blind == {PLACE, ("leaderworkerset.x-k8s.io", "LeaderWorkerSet", "llm")}


@pytest.mark.parametrize(
    "text", ["Deployment/chat", "LeaderWorkerSet/chat", "Fleet.example.com/chat", "NIMService.nvidia.com/chat"]
)
def test_an_object_is_spelt_as_a_target(text: str) -> None:
    assert target_of(spelt(target_of(text, "llm").object), "llm") == target_of(text, "llm")


def cluster(api: Any, clock: VirtualClock) -> Cluster:
    return Cluster(api, {CHAT}, clock, Random(1))


def test_watches_begin_and_end_with_what_is_wanted_and_the_others_go_on() -> None:
    async def script(server: WatchedServer, known: Cluster, clock: VirtualClock) -> None:
        server.deploy("chat")
        tool = ObjectRef("apps", "Deployment", "tools", "tool")
        await clock.advance(1.0)
        assert not isinstance(known.find(CHAT), Absent)
        assert known.find(tool) == Absent("Deployment tools/tool: not looked for yet")
        lists = list(server.lists)

        known.want({CHAT, tool})
        server.deploy("tool", namespace="tools")
        await clock.advance(1.0)
        assert not isinstance(known.find(tool), Absent)
        assert [each for each in server.lists if "/llm/" in each] == lists

        known.want({tool})
        await clock.advance(1.0)
        assert isinstance(known.find(CHAT), Absent)
        assert known.pods("llm", "app=chat") == Absent("pods of llm: not looked for yet")
        assert all("/tools/" in each for each in server.watching)
        known.put(CHAT, {"kind": "Deployment"})
        assert known.failures() == {}

    play(script, cluster)
