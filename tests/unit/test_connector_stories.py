"""Any sequence of plans, answers, reports, waits and restarts: what is wanted, and which order is in force."""

from __future__ import annotations

from asyncio import run
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.clock import VirtualClock
from planner.connectors.orders import LauncherError, Order
from planner.connectors.types import Plan
from planner.connectors.virtual import VirtualConnector
from planner.scaling.types import Role, Sample

PREFILL, DECODE = Role.PREFILL, Role.DECODE
BEGINNING = {PREFILL: 2, DECODE: 3}

counts = st.fixed_dictionaries({PREFILL: st.integers(0, 4), DECODE: st.integers(0, 4)})
events = st.one_of(
    st.tuples(
        st.just("apply"),
        st.tuples(st.dictionaries(st.sampled_from([PREFILL, DECODE]), st.integers(0, 4)), st.integers(0, 50)),
    ),
    st.tuples(st.just("complete"), st.none() | counts),
    st.tuples(st.just("refuse"), st.none() | counts),
    st.tuples(st.just("answer an earlier order"), st.booleans()),
    st.tuples(st.just("report"), counts),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 29.0, 31.0, 100.0, 700.0])),
    st.tuples(st.just("restart"), st.none()),
)


class Story:
    """A connector and, beside it, what it should want: the last plan applied, or what a refusal fell back to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.connector = self.begun()
        self.wanted: dict[Role, int] = BEGINNING
        self.stood = self.wanted
        self.order: Order | None = None
        self.open = False
        self.given: list[str] = []

    def begun(self) -> VirtualConnector:
        return VirtualConnector(
            {"chat": BEGINNING}, self.clock, state=self.path, accept_within_s=60, report_max_age_s=90
        )

    async def reads(self) -> tuple[object, Order | None]:
        return await self.connector.read("chat"), await self.connector.orders("chat", None, 0)

    async def check(self) -> None:
        pools, order = await self.reads()
        assert isinstance(pools, dict)
        assert {role: pool.wanted.value for role, pool in pools.items()} == self.wanted
        assert order == self.order

    async def apply(self, replicas: Mapping[Role, int], decision: str) -> None:
        merged = {**self.wanted, **replicas}
        match (await self.connector.apply(Plan("chat", replicas, decision))).status:
            case "applied":
                assert decision not in self.given
                self.given.append(decision)
                self.wanted, self.order, self.open = merged, Order(decision, merged, self.clock.now_s()), True
            case "unchanged":
                assert merged == self.wanted
            case "failed":
                assert decision in self.given
            case status:
                assert status == "refused"

    async def answer(self, completed: bool, ready: Mapping[Role, int] | None) -> None:
        if self.order is None:
            return
        try:
            said = self.connector.acknowledge("chat", self.order.id, completed, "no room", ready)
        except LauncherError:
            assert ready is not None
            return
        if said == "completed":
            self.wanted, self.open = dict(self.order.replicas), False
        if said == "refused" and self.open:
            self.wanted, self.open = await self.fallen_back(self.order), False
        self.stood = self.wanted

    async def fallen_back(self, order: Order) -> dict[Role, int]:
        fallback = {}
        for role, pool in (await self.connector.read("chat")).items():
            assert isinstance(pool.wanted, Sample)
            fallback[role] = int(pool.wanted.value)
            ready = {pool.ready.value} if isinstance(pool.ready, Sample) else set()
            assert fallback[role] in {self.stood[role], order.replicas[role], *ready}
            assert fallback[role] == self.stood[role] or order.replicas[role] != self.stood[role]
        return fallback

    async def play(self, event: str, value: Any) -> None:
        match event:
            case "apply":
                replicas, decision = value
                await self.apply(replicas, f"{decision:03}")
            case "complete" | "refuse":
                await self.answer(event == "complete", value)
            case "answer an earlier order":
                for order_id in self.given[:-1]:
                    assert self.connector.acknowledge("chat", order_id, value, None, None) == "superseded"
            case "report":
                with suppress(LauncherError):
                    self.connector.report("chat", value)
            case "wait":
                await self.clock.advance(value)
            case "restart":
                before = await self.reads()
                self.connector = self.begun()
                assert await self.reads() == before


@given(story=st.lists(events, max_size=12))
@settings(max_examples=100)
def test_whatever_happens_the_last_plan_applied_is_wanted_or_what_its_refusal_fell_back_to(
    story: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def tell() -> None:
        told = Story(tmp_path_factory.mktemp("story") / "orders.json")
        for event, value in story:
            await told.play(event, value)
            await told.check()

    run(tell())
