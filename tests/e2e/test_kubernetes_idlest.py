"""Which pods go first, on a real control plane with its own ReplicaSet controller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from kubernetes_fleet import SCALES, TARGET, Fleet, fleet
from kubernetes_hands import hands, said

from planner.connectors.kubernetes.objects.victims import COST
from planner.scaling.types import Role

A = Role.AGGREGATED
MARKS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}


@pytest.fixture(params=[(*SCALES, MARKS)], ids=["allowed"])
def here(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    made = fleet(cluster, tmp_path)
    made.admit()
    made.permit(request.param)
    made.deploy(5)
    yield made
    made.delete()


def ready(here: Fleet) -> list[str]:
    def names() -> list[str]:
        pods = here.cluster.find("v1", "Pod", here.namespace)
        up = [each for each in pods if {"type": "Ready", "status": "True"}.items() <= _condition(each).items()]
        return sorted(each["metadata"]["name"] for each in up) if len(up) == 5 else []

    found: list[str] = here.cluster.until("five pods are ready", names)
    return found


def _condition(pod: dict[str, object]) -> dict[str, object]:
    status = pod["status"]
    assert isinstance(status, dict)
    every: list[dict[str, object]] = status.get("conditions", [])
    return next((each for each in every if each["type"] == "Ready"), {})


def left(here: Fleet, count: int) -> dict[str, str | None]:
    """The pods that stay, with their deletion costs."""

    def stay() -> dict[str, str | None]:
        pods = [
            each
            for each in here.cluster.find("v1", "Pod", here.namespace)
            if "deletionTimestamp" not in each["metadata"]
        ]
        found = {each["metadata"]["name"]: (each["metadata"].get("annotations") or {}).get(COST) for each in pods}
        return found if len(found) == count else {}

    found: dict[str, str | None] = here.cluster.until(f"{count} pods are left", stay)
    return found


async def lowered(here: Fleet, loads: dict[str, float], replicas: int) -> str:
    async with hands(here.kubeconfig, here.namespace, {A: TARGET}, loads=loads) as made:
        # Before the pods are known there is nobody to mark.
        await made.until("five pods are seen", lambda seen: said(seen[A].ready) == 5)
        return (await made.outcome({A: replicas})).status


def test_the_idlest_pods_go_and_the_busy_ones_stay(here: Fleet) -> None:
    names = ready(here)
    idle, busy = names[1::2], names[::2]
    loads = dict.fromkeys(busy, 30.0) | dict.fromkeys(idle, 2.0)

    assert asyncio.run(lowered(here, loads, 3)) == "applied"

    assert left(here, 3) == dict.fromkeys(busy)


@pytest.mark.parametrize("here", [SCALES], ids=["not-allowed"], indirect=True)
def test_without_the_permission_the_pool_is_lowered_all_the_same(here: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    names = ready(here)

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(lowered(here, dict.fromkeys(names, 1.0), 3)) == "applied"

    assert len(left(here, 3)) == 3
    assert "could not be marked" in caplog.text
    assert 'cannot patch resource "pods"' in caplog.text
