"""What is asked of a cluster beside the watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from kubernetes_server import FakeApiServer, deployment, listing, play, refuses, says

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.watches.cluster import UNSERVED_S, Cluster

ALL = "/apis/apps/v1/namespaces/llm/deployments"
APPS = {
    "/apis/apps": {"kind": "APIGroup", "name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                   "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}},
    "/apis/apps/v1": {"kind": "APIResourceList",
                      "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]},
    "/apis": {"kind": "APIGroupList", "groups": []},
}  # fmt: skip
NOWHERE = refuses(404, "NotFound", "the server could not find the requested resource")
FAILS = refuses(500, "InternalError", "it broke")


def asked(folder: Path, script: Any) -> tuple[Any, Counter[str]]:
    """What a script makes of a cluster, and how often each path was asked for."""

    async def played(server: FakeApiServer, api: Api) -> tuple[Any, Counter[str]]:
        for path, document in APPS.items():
            server.script("GET", path, says(document))
        server.script("GET", "/apis/keda.sh", NOWHERE)
        server.script("GET", ALL, says(listing(7, deployment("decode", 7))))
        clock = VirtualClock(1000.0)
        cluster = Cluster(api, (), clock, Random(1))
        return await script(cluster, clock, server), Counter(each.path for each in server.asked)

    answer: tuple[Any, Counter[str]] = play(folder, played)
    return answer


def test_a_question_that_many_put_at_once_is_asked_once_and_anew_afterwards(tmp_path: Path) -> None:
    async def script(cluster: Cluster, clock: VirtualClock, server: FakeApiServer) -> Any:
        together = await asyncio.gather(*(cluster.all("apps", "Deployment", "llm") for _ in range(20)))
        return together, await cluster.all("apps", "Deployment", "llm")

    (together, later), paths = asked(tmp_path, script)

    assert [each["metadata"]["name"] for found in together for each in found] == ["decode"] * 20
    assert len(later) == 1
    assert paths[ALL] == 2


def test_a_kind_that_is_not_served_is_asked_for_once_in_a_while_however_many_want_to_know(tmp_path: Path) -> None:
    async def script(cluster: Cluster, clock: VirtualClock, server: FakeApiServer) -> Any:
        first = await asyncio.gather(*(cluster.all("keda.sh", "ScaledObject", "llm") for _ in range(20)))
        at_once = len(server.asked)
        await clock.advance(UNSERVED_S - 1)
        await cluster.all("keda.sh", "ScaledObject", "llm")
        within_the_while = len(server.asked)
        await clock.advance(1)
        await cluster.all("keda.sh", "ScaledObject", "llm")
        return first, at_once, within_the_while

    (first, at_once, within_the_while), paths = asked(tmp_path, script)

    assert first == [()] * 20
    # A kind that is not found is looked for with care: the group, again, and for what may have been meant.
    assert at_once == within_the_while == 4
    assert paths.total() == 2 * at_once


def test_a_failure_is_everybodys_and_whoever_stops_waiting_takes_it_from_nobody(tmp_path: Path) -> None:
    async def script(cluster: Cluster, clock: VirtualClock, server: FakeApiServer) -> Any:
        server.script("GET", ALL, FAILS)
        asking = [asyncio.create_task(cluster.all("apps", "Deployment", "llm")) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        return await asyncio.gather(*asking, return_exceptions=True)

    (gone, *failures), paths = asked(tmp_path, script)

    assert isinstance(gone, asyncio.CancelledError)
    assert all(isinstance(each, ApiError) and each.status == 500 for each in failures)
    assert paths[ALL] == 1


def test_a_kind_that_its_group_does_not_have_is_none_of_the_namespaces(tmp_path: Path) -> None:
    async def script(cluster: Cluster, clock: VirtualClock, server: FakeApiServer) -> Any:
        return await cluster.all("apps", "deploymnt", "llm"), await cluster.get("apps", "deploymnt", "llm", "any")

    assert asked(tmp_path, script)[0] == ((), None)
