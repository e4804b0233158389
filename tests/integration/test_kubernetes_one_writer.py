"""One writer and its Events against a real API server: processes that are killed, and stopped and continued."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster

from planner.clock import WallClock
from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.events.events import Events
from planner.connectors.kubernetes.events.notes import EventReason, Note
from planner.connectors.kubernetes.events.series import Target
from planner.connectors.kubernetes.lease.lease import monotonic_s

PATIENCE_S = 60.0
CANDIDATE = Path(__file__).with_name("lease_candidate.py")
NUMBERS = count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new one."""
    name = f"one-writer-{next(NUMBERS)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


class Candidate:
    """A process, and what it said so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.wrote_s: list[float] = []

    async def next_after(self, at_s: float) -> str:
        """What it said first after `at_s`."""
        while True:
            told, told_s = await self._said()
            if told_s > at_s:
                return told

    async def writes_after(self, at_s: float) -> float:
        """When it wrote first after `at_s`."""
        while True:
            told, told_s = await self._said()
            if told == "wrote" and told_s > at_s:
                return told_s

    async def refused_for(self, lines: int) -> None:
        for _ in range(lines):
            assert (await self._said())[0] == "refused"

    def send(self, number: signal.Signals) -> float:
        """When that was."""
        self._process.send_signal(number)
        return monotonic_s()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        # Until the pipe is read to its end, its transport is not closed.
        await self._process.communicate()

    async def _said(self) -> tuple[str, float]:
        assert self._process.stdout is not None
        told, at_s = (await self._process.stdout.readline()).split()
        if told == b"wrote":
            self.wrote_s.append(float(at_s))
        return told.decode(), float(at_s)


@asynccontextmanager
async def two_candidates(cluster: Cluster, namespace: str) -> AsyncIterator[tuple[Candidate, Candidate]]:
    """The first leads."""
    made: list[Candidate] = []

    async def candidate() -> Candidate:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CANDIDATE), str(cluster.kubeconfig), namespace, stdout=PIPE
        )
        made.append(Candidate(process))
        return made[-1]

    try:
        async with asyncio.timeout(PATIENCE_S):
            first = await candidate()
            await first.writes_after(0.0)
            second = await candidate()
            await second.refused_for(20)
            yield first, second
    finally:
        for each in made:
            await each.end()


def test_a_leader_that_is_stopped_beyond_its_lease_and_continued_writes_nothing(
    cluster: Cluster, namespace: str
) -> None:
    async def script() -> None:
        async with two_candidates(cluster, namespace) as (first, second):
            stopped_s = first.send(signal.SIGSTOP)
            taken_s = await second.writes_after(stopped_s)
            continued_s = first.send(signal.SIGCONT)

            assert await first.next_after(continued_s) == "refused"
            await first.refused_for(50)
            assert max(first.wrote_s) < stopped_s < taken_s

    asyncio.run(script())


def test_a_leader_that_is_killed_is_followed_by_the_standby(cluster: Cluster, namespace: str) -> None:
    async def script() -> None:
        async with two_candidates(cluster, namespace) as (first, second):
            killed_s = first.send(signal.SIGKILL)

            assert await second.writes_after(0.0) > killed_s

    asyncio.run(script())


def test_events_are_kept_on_their_target_and_counted(cluster: Cluster, namespace: str) -> None:
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "decode", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "decode"}},
            "template": {
                "metadata": {"labels": {"app": "decode"}},
                "spec": {"containers": [{"name": "e", "image": "e"}]},
            },
        },
    }
    cluster.apply(deployment)
    target = Target.of(cluster.get(deployment))

    async def script() -> list[dict[str, Any]]:
        # Its seconds pass fast: five minutes, after which a count is told anew, are half a second.
        api, clock = Api(Access(cluster.kubeconfig)), WallClock(speed=600.0)
        events = Events(api, clock, "planner-0")
        telling = asyncio.create_task(events.run())
        said = 0
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    events.say(target, [Note(EventReason.BUDGET_LIMITED, f"decode: {said} wanted, 1 fits — alas")])
                    said += 1
                    await clock.sleep_until(clock.now_s() + 30.0)
                    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
                    kept = [each for each in (await api.get(path))["items"] if each["reason"] == "BudgetLimited"]
                    if kept and "series" in kept[0]:
                        return kept
        finally:
            telling.cancel()
            await asyncio.wait((telling,))
            await api.close()

    (event,) = asyncio.run(script())

    assert event["note"] == "decode: 0 wanted, 1 fits — alas"
    assert event["type"] == "Warning"
    assert event["reportingController"] == "sla-planner.io/planner"
    assert event["series"]["count"] > 1
    assert event["regarding"]["uid"] == target.uid
