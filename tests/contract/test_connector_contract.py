"""What every connector promises, whatever starts and stops the replicas.

A rig is a connector with its outside world, on a virtual clock: one service, "chat", with 2 prefill and 3 decode
replicas, all ready. A new connector joins `RIGS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes_pretended import Pretended, Server, deployment, pod

from planner.clock import VirtualClock
from planner.connectors.dry_run import DryRun
from planner.connectors.kubernetes.connector import KubernetesConnector, Pool
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.kubernetes.objects.writers import Policy
from planner.connectors.types import Connector, Plan
from planner.connectors.virtual import VirtualConnector
from planner.scaling.types import Absent, Role, Sample, Sampled

PREFILL, DECODE = Role.PREFILL, Role.DECODE
BEGINNING = {PREFILL: 2, DECODE: 3}
Counts = Mapping[Role, int]


@dataclass(frozen=True, slots=True)
class Rig:
    """A connector and the means to watch it work."""

    connector: Connector
    settle: Callable[[], Awaitable[None]]
    """Let time pass until whatever was ordered is ready."""
    acts: bool
    """Whether plans are followed."""


async def launch(connector: VirtualConnector, clock: VirtualClock) -> None:
    """A launcher that takes 20 s for an order and reports every 10 s."""
    order_id, ready = None, BEGINNING
    while True:
        order = await connector.orders("chat", order_id, wait_s=10)
        if order is not None:
            order_id = order.id
            await clock.sleep_until(clock.now_s() + 20)
            ready = dict(order.replicas)
            connector.acknowledge("chat", order.id, completed=True, reason=None, ready=ready)
        connector.report("chat", ready)


@asynccontextmanager
async def virtual() -> AsyncIterator[Rig]:
    """Orders, and a launcher that follows them."""
    clock = VirtualClock()
    connector = VirtualConnector({"chat": BEGINNING}, clock, state=None, accept_within_s=60, report_max_age_s=60)
    launcher = asyncio.create_task(launch(connector, clock))
    try:
        yield Rig(connector, lambda: clock.advance(60), acts=True)
    finally:
        launcher.cancel()
        with suppress(asyncio.CancelledError):
            await launcher


@asynccontextmanager
async def dry_run() -> AsyncIterator[Rig]:
    """The same, with nothing applied."""
    async with virtual() as inner:
        yield Rig(DryRun(inner.connector), inner.settle, acts=False)


@asynccontextmanager
async def kubernetes() -> AsyncIterator[Rig]:
    """Deployments, and a controller that makes and removes their pods."""
    clock = VirtualClock()
    cluster = Pretended(*(deployment(role.value, count) for role, count in BEGINNING.items()))
    pools = {role: Pool(target_of(f"Deployment/{role}", "llm"), 1) for role in BEGINNING}
    connector = KubernetesConnector(Server(cluster), cluster, {"chat": pools}, {"chat": Policy()}, clock, cluster.fence)

    async def control() -> None:
        for name, target in cluster.objects.items():
            replicas = target["spec"]["replicas"]
            target["status"] |= {"replicas": replicas, "updatedReplicas": replicas}
            cluster.pods_of[name] = [pod(name, number) for number in range(replicas)]

    await control()
    yield Rig(connector, control, acts=True)


Make = Callable[[], AbstractAsyncContextManager[Rig]]
RIGS: Mapping[str, Make] = {"virtual": virtual, "dry-run": dry_run, "kubernetes": kubernetes}
rigs = pytest.mark.parametrize("make", RIGS.values(), ids=RIGS.keys())


def on(make: Make, play: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Play a scene on a fresh rig."""

    async def scene() -> None:
        async with make() as rig:
            await play(rig)
            await rig.connector.close()

    asyncio.run(scene())


COUNTS = ("wanted", "ready", "starting", "pending", "draining", "rolling_out")


def number(sampled: Sampled) -> float:
    assert isinstance(sampled, Sample)
    return sampled.value


async def counts(rig: Rig, field: str) -> dict[Role, float]:
    pools = await rig.connector.read("chat")
    return {role: number(getattr(pool, field)) for role, pool in pools.items()}


async def everything(rig: Rig) -> Mapping[str, dict[Role, float]]:
    """The counts of all pools that every connector has."""
    return {field: await counts(rig, field) for field in COUNTS}


@rigs
def test_what_is_there_is_read_in_full(make: Make) -> None:
    async def play(rig: Rig) -> None:
        nothing = dict.fromkeys(BEGINNING, 0)
        assert await everything(rig) == {
            "wanted": BEGINNING,
            "ready": BEGINNING,
            **dict.fromkeys(("starting", "pending", "draining", "rolling_out"), nothing),
        }

    on(make, play)


@rigs
@pytest.mark.parametrize("replicas", [BEGINNING, {DECODE: 3}, {}], ids=["all pools", "one pool", "no pool"])
def test_applying_what_is_there_changes_nothing(make: Make, replicas: Counts) -> None:
    async def play(rig: Rig) -> None:
        before = await everything(rig)

        applied = await rig.connector.apply(Plan("chat", replicas, "001"))

        assert applied.status == "unchanged"
        assert await everything(rig) == before

    on(make, play)


@rigs
@pytest.mark.parametrize(
    "replicas", [{PREFILL: 4, DECODE: 6}, {PREFILL: 1, DECODE: 1}, {PREFILL: 1, DECODE: 5}], ids=["up", "down", "both"]
)
def test_a_plan_is_wanted_at_once_and_ready_in_the_end(make: Make, replicas: Counts) -> None:
    async def play(rig: Rig) -> None:
        applied = await rig.connector.apply(Plan("chat", replicas, "001"))
        wanted = await counts(rig, "wanted")
        await rig.settle()

        assert applied.status == ("applied" if rig.acts else "dry-run")
        assert wanted == (replicas if rig.acts else BEGINNING)
        assert await counts(rig, "ready") == (replicas if rig.acts else BEGINNING)
        assert set((await counts(rig, "starting")).values()) == {0}
        assert set((await counts(rig, "draining")).values()) == {0}

    on(make, play)


@rigs
def test_what_was_changed_is_said_everything(make: Make) -> None:
    async def play(rig: Rig) -> None:
        applied = await rig.connector.apply(Plan("chat", {DECODE: 5}, "001"))

        assert "decode" in applied.detail
        assert "5" in applied.detail
        assert "\n" not in applied.detail

    on(make, play)


@rigs
def test_pools_that_a_plan_does_not_name_are_left_alone(
    make: Make,
) -> None:
    async def play(rig: Rig) -> None:
        await rig.connector.apply(Plan("chat", {PREFILL: 7}, "001"))
        await rig.connector.apply(Plan("chat", {DECODE: 5}, "002"))
        await rig.settle()

        assert await counts(rig, "ready") == ({PREFILL: 7, DECODE: 5} if rig.acts else BEGINNING)

    on(make, play)


@rigs
@pytest.mark.parametrize("decision", ["001", "002"], ids=["the same decision", "a later decision"])
def test_applying_twice_changes_nothing_more(make: Make, decision: str) -> None:
    async def play(rig: Rig) -> None:
        first = await rig.connector.apply(Plan("chat", {DECODE: 5}, "001"))
        before = await everything(rig)

        second = await rig.connector.apply(Plan("chat", {DECODE: 5}, decision))

        assert (first.status, second.status) == (("applied", "unchanged") if rig.acts else ("dry-run", "dry-run"))
        assert await everything(rig) == before

    on(make, play)


@rigs
def test_an_unknown_service_has_no_counts_and_no_plan(
    make: Make,
) -> None:
    async def play(rig: Rig) -> None:
        before = await everything(rig)

        pools = await rig.connector.read("search")
        applied = await rig.connector.apply(Plan("search", {DECODE: 5}, "001"))

        unknown = [getattr(pool, field) for pool in pools.values() for field in COUNTS]
        assert [
            sampled for sampled in unknown if not isinstance(sampled, Absent) or "search" not in sampled.cause
        ] == []
        assert applied.status == ("refused" if rig.acts else "dry-run")
        assert "search" in applied.detail
        assert await everything(rig) == before

    on(make, play)


@rigs
def test_a_pool_the_service_does_not_have_is_refused_and_the_others_with_it(
    make: Make,
) -> None:
    async def play(rig: Rig) -> None:
        before = await everything(rig)

        applied = await rig.connector.apply(Plan("chat", {DECODE: 5, Role.AGGREGATED: 1}, "001"))

        assert applied.status == ("refused" if rig.acts else "dry-run")
        assert "aggregated" in applied.detail
        assert await everything(rig) == before

    on(make, play)


@rigs
@pytest.mark.parametrize("steps", range(5))
def test_cancelled_a_plan_is_handed_over_whole_or_not_at_all(make: Make, steps: int) -> None:
    async def play(rig: Rig) -> None:
        applying = asyncio.ensure_future(rig.connector.apply(Plan("chat", {PREFILL: 5, DECODE: 8}, "001")))
        for _ in range(steps):
            await asyncio.sleep(0)
        applying.cancel()
        await asyncio.wait([applying])
        await rig.settle()

        whole = {PREFILL: 5, DECODE: 8}
        assert await counts(rig, "ready") in ([BEGINNING, whole] if rig.acts else [BEGINNING])
        assert await counts(rig, "wanted") == await counts(rig, "ready")

    on(make, play)


@rigs
@pytest.mark.parametrize("steps", range(3))
def test_reading_may_be_cancelled_and_tried_again(make: Make, steps: int) -> None:
    async def play(rig: Rig) -> None:
        reading = asyncio.ensure_future(rig.connector.read("chat"))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

        assert await counts(rig, "ready") == BEGINNING

    on(make, play)
