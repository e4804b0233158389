"""A planner that restarts, or loses its source for a while, decides what one would that never did."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from builders import GUARDS, INTERVAL_S, planner_settings, pool_samples, service_samples, service_settings

from planner.clock import VirtualClock
from planner.connectors.types import Applied, Plan
from planner.loop import ControlLoop, Pace
from planner.scaling.forecast import build
from planner.scaling.types import Absent, ReplicaSamples, Role, Sample, ServiceSamples
from planner.sources.types import PastError

P, D = Role.PREFILL, Role.DECODE
START_S = 9000.0
LEAD_S = 5.0
SETTINGS = planner_settings(
    service_settings(
        guards=replace(GUARDS, stabilisation_down_s=300), forecaster=build("kalman", interval_s=INTERVAL_S)
    ),
    budget_gpus=100,
)


class World:
    """A fleet under a load that swings; every planner's orders take effect at once. It remembers its replicas."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.counts = [(-math.inf, {P: 4, D: 4})]
        self.down = False
        self.past_down = False
        self.asked: list[int] = []
        self.plans: list[Plan] = []

    def at(self, at_s: float) -> ServiceSamples:
        """The truth at a time."""
        counts = next(counts for since_s, counts in reversed(self.counts) if since_s <= at_s)
        pools = {role: pool_samples(at_s, wanted=count, ready=count, waiting=0) for role, count in counts.items()}
        rate_per_s = 60 + 40 * math.sin(at_s / 400)
        return service_samples(at_s, rate_per_s=rate_per_s, queue_s=0.01, pools=pools)

    async def collect(self, service: str) -> ServiceSamples:
        if self.down:
            gone = Absent("the metrics are away")
            return replace(self.at(0.0), rate_per_s=gone, ttft_s=gone, itl_s=gone, queue_s=gone)
        return self.at(self.clock.now_s())

    async def past(
        self, services: Collection[str], at_s: Sequence[float]
    ) -> AsyncIterator[Mapping[str, Sequence[ServiceSamples]]]:
        self.asked.append(len(at_s))
        for first in range(0, len(at_s), 7):
            if self.past_down:
                raise PastError("no ranges today")
            yield {name: [self.at(each_s) for each_s in at_s[first : first + 7]] for name in services}

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        pools = self.at(self.clock.now_s()).pools
        return {
            role: ReplicaSamples(p.wanted, p.ready, p.starting, p.pending, p.draining, p.rolling_out)
            for role, p in pools.items()
        }

    async def apply(self, plan: Plan) -> Applied:
        self.plans.append(plan)
        self.counts.append((self.clock.now_s(), {**self.counts[-1][1], **plan.replicas}))
        return Applied("applied", "done")

    async def close(self) -> None: ...


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Stage:
    """One world, and planners in it that come and go."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_S)
        self.world = World(self.clock)
        self.decisions: list[Any] = []
        self.loop: ControlLoop | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> ControlLoop:
        self.loop = ControlLoop(
            SETTINGS, self.world, self.world, self.clock, historian=self.world, compute=at_once,
            pace=Pace(lead_s=LEAD_S),
        )  # fmt: skip
        self._running = asyncio.create_task(self.loop.run())
        return self.loop

    async def stop(self) -> None:
        if self.loop is not None and self._running is not None:
            self.loop.stop()
            await self.clock.advance(0.0)
            await self._running

    async def ticks(self, count: int) -> None:
        """Past so many points of the grid."""
        await self.clock.advance(INTERVAL_S * count)

    def last(self) -> Any:
        assert self.loop is not None
        line = self.loop.desk.board.services["chat"].last
        assert line is not None
        return line.decision


def play(script: Callable[[Stage], Coroutine[Any, Any, None]]) -> Stage:
    async def whole() -> Stage:
        stage = Stage()
        try:
            await script(stage)
        finally:
            await stage.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return stage

    return asyncio.run(whole())


def after(disturbance: Callable[[Stage], Coroutine[Any, Any, None]]) -> tuple[list[Any], list[Plan]]:
    """The decisions of the ten ticks after fifty minutes and a disturbance of three ticks, and all plans.

    Nothing is to be ordered in those three, and something in the ten.
    """
    decisions = []

    async def script(stage: Stage) -> None:
        stage.start()
        await stage.ticks(100)
        await disturbance(stage)
        for _ in range(10):
            await stage.ticks(1)
            decisions.append(stage.last())

    return decisions, play(script).world.plans


def decided(decision: Any) -> tuple[Any, ...]:
    return decision.at_s, decision.observation, decision.lead, decision.forecast, decision.sizing, decision.pools


async def nothing(stage: Stage) -> None:
    await stage.ticks(3)


async def restart(stage: Stage) -> None:
    await stage.stop()
    await stage.ticks(3)
    stage.start()


async def outage(stage: Stage) -> None:
    stage.world.down = True
    await stage.ticks(3)
    stage.world.down = False
    # A tick to be heard again, at which the past is asked for.


@pytest.mark.parametrize(("disturbance", "settled"), [(restart, 0), (outage, 1)], ids=["restart", "outage"])
def test_it_decides_what_a_planner_decides_that_was_never_disturbed(
    disturbance: Callable[[Stage], Coroutine[Any, Any, None]], settled: int
) -> None:
    never, plans = after(nothing)
    disturbed, same_plans = after(disturbance)

    # What differs is of no consequence: one has learnt burstiness for longer than its history reaches.
    assert list(map(decided, disturbed[settled:])) == list(map(decided, never[settled:]))
    assert same_plans == plans
    assert len(plans) > 5


def test_the_first_tick_of_all_stands_on_hours_of_history() -> None:
    async def script(stage: Stage) -> None:
        loop = stage.start()
        await stage.ticks(1)
        decision = stage.last()
        assert decision.at_s % INTERVAL_S == 0
        assert decision.forecast.model == "kalman"
        assert loop.desk.board.trouble == ()

    stage = play(script)
    assert stage.world.asked == [int(SETTINGS.services["chat"].demand.history_s / INTERVAL_S)]


def test_a_past_that_cannot_be_had_is_said_and_asked_for_until_it_comes() -> None:
    async def script(stage: Stage) -> None:
        stage.world.past_down = True
        loop = stage.start()
        await stage.ticks(3)
        assert stage.last().at_s >= START_S + 60.0, "the first tick waits no longer than its patience"
        assert stage.last().forecast.errors == 0
        (trouble,) = loop.desk.board.trouble
        assert trouble == "what chat did before is not known yet, and not forecast from: no ranges today"
        stage.world.past_down = False
        await stage.ticks(3)
        assert loop.desk.board.trouble == ()
        assert stage.last().forecast.errors > 100

    play(script)


def test_stopping_does_not_wait_for_the_past() -> None:
    async def script(stage: Stage) -> None:
        stage.world.past_down = True
        stage.start()
        await stage.clock.advance(1.0)
        await stage.stop()
        assert stage.clock.now_s() == START_S + 1.0

    play(script)


def test_a_service_that_nobody_ever_heard_costs_no_question_a_tick() -> None:
    async def script(stage: Stage) -> None:
        stage.world.at = lambda at_s: replace(World.at(stage.world, at_s), rate_per_s=Absent("no series"))  # type: ignore[method-assign]
        stage.start()
        await stage.ticks(10)
        assert isinstance(stage.world.at(0.0).rate_per_s, Absent)
        assert isinstance(stage.world.at(0.0).isl_tokens, Sample)

    assert len(play(script).world.asked) == 1
