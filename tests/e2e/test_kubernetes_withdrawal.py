"""What is relied on when replicas that find no GPU are given back: real controllers take those, and no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cluster import Cluster
from kubernetes_fleet import TARGET, fleet
from kubernetes_hands import PATIENCE_S, Hands, Read, hands, said

from planner.clock import WallClock
from planner.scaling.types import Absent, Role, Start

D = Role.DECODE


def ready(one: Hands, namespace: str) -> set[str]:
    """Names of the pods that are Ready."""
    pods = one.watches.pods(namespace, "app=engine")
    assert not isinstance(pods, Absent)
    return {
        pod["metadata"]["name"]
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    }


def starts(seen: Read) -> tuple[Start, ...]:
    told = seen[D].starts
    assert not isinstance(told, Absent)
    return told


def counts(seen: Read) -> tuple[float | str, ...]:
    pool = seen[D]
    return tuple(said(each) for each in (pool.wanted, pool.ready, pool.starting, pool.pending, pool.pending_go_first))


def test_a_deployment_gives_back_what_waits_and_its_probe_takes_the_next_gpu(cluster: Cluster, tmp_path: Path) -> None:
    here = fleet(cluster, tmp_path, gpus=3)
    here.deploy(3)

    async def story() -> None:
        async with hands(here.kubeconfig, here.namespace, {D: TARGET}, clock=WallClock()) as one:
            await one.until("three serve", lambda seen: counts(seen) == (3, 3, 0, 0, 1))
            await one.until_applied({D: 8})
            await one.until("five have no room", lambda seen: counts(seen) == (8, 3, 0, 5, 1))
            serving = ready(one, here.namespace)

            await one.until_applied({D: 4})
            seen = await one.until("one waits", lambda seen: counts(seen) == (4, 3, 0, 1, 1))
            assert ready(one, here.namespace) == serving
            assert len(starts(seen)) == 3

            here.node(1)
            seen = await one.until("it has room", lambda seen: counts(seen) == (4, 4, 0, 0, 1))
            assert len({start.replica for start in starts(seen)}) == 4
            assert all(0 <= start.took_s < PATIENCE_S for start in starts(seen))

    asyncio.run(story())
