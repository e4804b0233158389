"""The live loop on a virtual clock: what it asks, decides, hands over and shows, and what no outage may do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import planner_settings, pool_samples, service_samples, service_settings

from planner.clock import VirtualClock
from planner.connectors.types import Applied, Plan
from planner.controls import ControlError, Controls, Pause
from planner.errors import UserError
from planner.journal import JournalFiles
from planner.loop import ControlLoop, Pace
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import initial_state
from planner.scaling.types import ReplicaSamples, Role, Sample, ServiceSamples
from planner.steering import Steering

P, D = Role.PREFILL, Role.DECODE
START_S = 1000.0


class Fleet:
    """Source and connector: services with a rate each, whose orders take effect at once; each may be made to fail."""

    def __init__(self, clock: VirtualClock, rates_per_s: Mapping[str, float]) -> None:
        self.clock = clock
        self.rates_per_s = dict(rates_per_s)
        self.replicas = {name: {P: 2, D: 2} for name in rates_per_s}
        self.plans: list[Plan] = []
        self.instead: dict[tuple[str, str], Callable[[], Awaitable[Any]]] = {}
        """What to do instead of collect, read or apply of a service."""
        self.asked: list[tuple[str, str]] = []

    async def collect(self, service: str) -> ServiceSamples:
        self.asked.append(("collect", service))
        if ("collect", service) in self.instead:
            await self.instead["collect", service]()
        now_s = self.clock.now_s()
        pools = {role: pool_samples(now_s, wanted=count, ready=count) for role, count in self.replicas[service].items()}
        return service_samples(now_s, rate_per_s=self.rates_per_s[service], pools=pools)

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        self.asked.append(("read", service))
        if ("read", service) in self.instead:
            await self.instead["read", service]()
        now_s = self.clock.now_s()
        none = Sample(0, now_s)
        return {
            role: ReplicaSamples(Sample(count, now_s), Sample(count, now_s), none, none, none, none)
            for role, count in self.replicas[service].items()
        }

    async def apply(self, plan: Plan) -> Applied:
        self.asked.append(("apply", plan.service))
        if ("apply", plan.service) in self.instead:
            await self.instead["apply", plan.service]()
        self.plans.append(plan)
        self.replicas[plan.service] |= plan.replicas
        return Applied("applied", "done")

    async def close(self) -> None: ...


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """Instead of a thread, so that virtual time waits for it."""
    return function(*arguments)


async def never() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ConnectionError("the other side is on fire")


class Stage:
    """A loop in play."""

    def __init__(self, settings: PlannerSettings, rates_per_s: Mapping[str, float], **options: Any) -> None:
        self.clock = VirtualClock(START_S)
        self.fleet = Fleet(self.clock, rates_per_s)
        self.kept: list[Controls] = []
        self.loop = ControlLoop(
            settings, self.fleet, self.fleet, self.clock, compute=at_once, pace=Pace(lead_s=5.0), **options
        )
        self.held_back: set[str] = set()
        self.steering = Steering(self.loop.desk, self.clock, self.loop.scribe, self.kept.append, self._go_on)

    def _go_on(self, service: str) -> bool:
        held = service in self.held_back
        self.held_back.discard(service)
        return held

    async def pass_ticks(self, count: int) -> None:
        """The first tick comes after the lead, the others an interval apart."""
        await self.clock.advance(30.0 * count)

    def last(self, service: str = "chat") -> Any:
        line = self.loop.desk.board.services[service].last
        assert line is not None
        return line


def play(
    script: Callable[[Stage], Coroutine[Any, Any, None]], *names: str, rate_per_s: float = 60.0, **options: Any
) -> None:
    """Run `script` beside a loop of these services; then nothing may be left over."""
    names = names or ("chat",)
    settings = options.pop("settings", None) or planner_settings(*(service_settings(name) for name in names))

    async def whole() -> None:
        stage = Stage(settings, dict.fromkeys(names, rate_per_s), **options)
        running = asyncio.create_task(stage.loop.run())
        try:
            await script(stage)
        finally:
            stage.loop.stop()
            await stage.clock.advance(1.0)
            await running
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left over: {left}"

    asyncio.run(whole())


def test_decides_hands_over_and_shows() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(1)

        (plan,) = stage.fleet.plans
        assert plan.service == "chat"
        assert plan.replicas[P] > 2
        board = stage.loop.desk.board
        assert (board.ticks, board.next_tick_s, board.interval_s) == (1, START_S + 35.0, 30.0)
        assert stage.last().applied == Applied("applied", "done")
        (point,) = board.services["chat"].points
        assert (point.at_s, point.rate_per_s) == (START_S + 5.0, 60.0)

    play(script)


def test_a_steady_fleet_is_left_alone() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(6)

        assert len(stage.fleet.plans) == 1
        assert stage.loop.desk.board.ticks == 6

    play(script)


@pytest.mark.parametrize("what", ["collect", "read", "apply"])
@pytest.mark.parametrize("trouble", [never, fails])
def test_one_services_outage_neither_delays_nor_changes_anothers_decisions(
    what: str, trouble: Callable[[], Awaitable[Any]]
) -> None:
    def decisions(broken: bool) -> list[tuple[float, Any]]:
        seen: list[tuple[float, Any]] = []

        async def script(stage: Stage) -> None:
            if broken:
                stage.fleet.instead[what, "code"] = trouble
            for rate_per_s in (60.0, 90.0, 30.0, 30.0, 120.0):
                stage.fleet.rates_per_s["chat"] = rate_per_s
                await stage.pass_ticks(1)
                line = stage.last("chat")
                seen.append((line.decision.at_s, line.decision.pools))

        play(script, "chat", "code")
        return seen

    assert decisions(broken=True) == decisions(broken=False)


@pytest.mark.parametrize("what", ["collect", "read"])
@pytest.mark.parametrize(("trouble", "text"), [(never, "did not answer within 20 s"), (fails, "ConnectionError: the")])
def test_an_outage_holds_the_plan_says_so_and_ends_by_itself(
    what: str, trouble: Callable[[], Awaitable[Any]], text: str
) -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(2)
        held = dict(stage.fleet.replicas["chat"])
        stage.fleet.instead[what, "chat"] = trouble
        stage.fleet.rates_per_s["chat"] = 1.0
        await stage.pass_ticks(8)

        assert stage.fleet.replicas["chat"] == held
        (sentence,) = stage.loop.desk.board.services["chat"].trouble
        assert text in sentence
        stage.fleet.instead.clear()
        await stage.pass_ticks(12)
        assert stage.loop.desk.board.services["chat"].trouble == ()
        assert stage.fleet.replicas["chat"][P] < held[P]

    play(script)


def test_a_plan_that_could_not_be_handed_over_is_handed_over_at_the_next_tick() -> None:
    async def script(stage: Stage) -> None:
        stage.fleet.instead["apply", "chat"] = fails
        await stage.pass_ticks(1)
        assert stage.last().applied == Applied("failed", "ConnectionError: the other side is on fire")
        stage.fleet.instead.clear()
        await stage.pass_ticks(1)

        assert len(stage.fleet.plans) == 1
        assert stage.last().applied == Applied("applied", "done")

    play(script)


def test_a_plan_under_way_is_not_overtaken() -> None:
    async def script(stage: Stage) -> None:
        stage.fleet.instead["apply", "chat"] = never
        await stage.pass_ticks(1)
        stage.fleet.rates_per_s["chat"] = 120.0
        await stage.clock.advance(15.0)
        assert stage.last().applied is None
        await stage.clock.advance(15.0)

        assert stage.fleet.asked.count(("apply", "chat")) == 2, "the first was given up after 20 s"
        assert stage.fleet.plans == []

    play(script)


def test_slow_answers_are_used_at_the_next_tick() -> None:
    async def script(stage: Stage) -> None:
        async def slowly() -> None:
            await stage.clock.sleep_until(stage.clock.now_s() + 12.0)

        stage.fleet.instead["collect", "chat"] = slowly
        await stage.clock.advance(10.0)
        assert stage.loop.desk.board.ticks == 1
        assert stage.last().decision.sizing is None, "nothing was known yet"
        await stage.clock.advance(30.0)

        assert stage.last().decision.sizing is not None

    play(script)


def test_a_tick_that_fails_changes_nothing_and_is_shown_until_one_succeeds() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(1)
        plans, whole = len(stage.fleet.plans), stage.loop._compute
        state = stage.loop._state

        async def broken(function: Callable[..., Any], *arguments: Any) -> Any:
            raise RuntimeError("a bug")

        stage.loop._compute = broken
        await stage.pass_ticks(2)
        board = stage.loop.desk.board
        assert board.ticks == 1
        assert [text.split(" failed: ")[1] for text in board.trouble] == ["RuntimeError: a bug"]
        assert len(stage.fleet.plans) == plans
        assert stage.loop._state is state
        stage.loop._compute = whole
        await stage.pass_ticks(1)
        assert stage.loop.desk.board.trouble == ()

    play(script)


def test_missed_ticks_are_not_made_up_for() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(1)
        # A suspended machine: time jumps while nobody could run.
        stage.clock._now_s += 3600.0
        await stage.pass_ticks(2)

        assert stage.loop.desk.board.ticks <= 4

    play(script)


# --- what people order ----------------------------------------------------------------------------------------------


def test_a_paused_service_is_decided_and_not_scaled_until_it_is_resumed() -> None:
    async def script(stage: Stage) -> None:
        await stage.steering.pause("chat", "ann", "an experiment")
        await stage.pass_ticks(2)

        assert stage.fleet.plans == []
        applied = stage.last().applied
        assert applied.status == "paused"
        assert "prefill to " in applied.detail
        assert applied.detail.endswith("; ann: an experiment")
        assert stage.kept[-1].paused == {"chat": Pause("ann", "an experiment", START_S)}
        await stage.steering.resume("chat", "ann", "done")
        await stage.pass_ticks(1)
        assert len(stage.fleet.plans) == 1

    play(script)


def test_a_dry_run_hands_nothing_over() -> None:
    async def script(stage: Stage) -> None:
        await stage.steering.pause(None, "ann", "first look")
        await stage.pass_ticks(2)

        assert stage.fleet.plans == []
        assert stage.last("code").applied.status == "dry-run"
        await stage.steering.resume(None, "ann", "looks right")
        await stage.pass_ticks(1)
        assert {plan.service for plan in stage.fleet.plans} == {"chat", "code"}

    play(script, "chat", "code")


def test_a_held_service_goes_there_and_stays_until_the_time_is_over() -> None:
    async def script(stage: Stage) -> None:
        await stage.steering.hold("chat", {P: 4}, START_S + 120.0, "ann", "load test")
        await stage.pass_ticks(3)
        assert stage.fleet.replicas["chat"][P] == 4
        stage.fleet.rates_per_s["chat"] = 1.0
        await stage.pass_ticks(20)

        assert stage.fleet.replicas["chat"][P] == 1
        assert stage.loop.desk.board.controls.holds == {}

    play(script)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda s: s.pause("chta", "ann", ""), "service: 'chta' is unknown; the services are chat"),
        (lambda s: s.resume("chat", "ann", ""), "service: 'chat' is not paused"),
        (lambda s: s.resume(None, "ann", ""), "dry-run: is not in force"),
        (lambda s: s.release("chat", "ann", ""), "service: 'chat' is not held"),
        (lambda s: s.hold("chat", {P: 1}, START_S, "ann", ""), "until_s: 1000.0 is past; it is 1000 now"),
        (lambda s: s.hold("chat", {}, START_S + 9, "ann", ""), "replicas: names no pool"),
        (lambda s: s.hold("chat", {P: 0}, START_S + 9, "ann", ""), "replicas: prefill 0 must be 1 or more"),
        (lambda s: s.hold("chat", {P: 64}, START_S + 9, "ann", ""), "the minima need 65 GPUs, the budget is 64"),
        (lambda s: s.hold("chat", {Role.AGGREGATED: 1}, START_S + 9, "ann", ""), "chat has no aggregated pool"),
    ],
)
def test_an_order_that_cannot_be_followed_is_refused_and_changes_nothing(
    order: Callable[[Steering], Awaitable[None]], message: str
) -> None:
    async def script(stage: Stage) -> None:
        with pytest.raises(ControlError, match=message):
            await order(stage.steering)
        assert stage.kept == []
        assert stage.loop.desk.board.controls == Controls()

    play(script)


def test_orders_of_before_a_restart_are_obeyed() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(2)
        assert stage.fleet.plans == []

    play(script, controls=Controls(paused={"chat": Pause("ann", "since yesterday", 0.0)}))


# --- other settings -------------------------------------------------------------------------------------------------


def test_other_settings_are_adopted_and_services_that_stay_keep_their_memory() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(3)
        settings = planner_settings(service_settings("chat"), service_settings("code"), budget_gpus=9)
        stage.fleet.rates_per_s["code"] = 5.0
        stage.fleet.replicas["code"] = {P: 1, D: 1}
        stage.loop.adopt(settings, {}, {})
        await stage.pass_ticks(2)

        board = stage.loop.desk.board
        assert list(board.services) == ["chat", "code"]
        assert board.budget is not None
        assert board.budget.gpus == 9
        assert len(board.services["chat"].points) == 5
        assert len(stage.loop._state.services["chat"].history) >= 4

    play(script)


def test_settings_adopted_while_a_tick_is_computed_wait_for_it() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(1)

        async def meanwhile(function: Callable[..., Any], *arguments: Any) -> Any:
            stage.loop._compute = at_once
            stage.fleet.rates_per_s["code"] = 5.0
            stage.fleet.replicas["code"] = {P: 1, D: 1}
            stage.loop.adopt(planner_settings(service_settings("code")), {}, {})
            return function(*arguments)

        stage.loop._compute = meanwhile
        await stage.pass_ticks(2)

        assert list(stage.loop.desk.board.services) == ["code"]
        assert stage.loop.desk.board.trouble == ()

    play(script)


def test_orders_to_a_service_that_is_gone_are_forgotten() -> None:
    async def script(stage: Stage) -> None:
        await stage.steering.pause("code", "ann", "")
        await stage.steering.hold("code", {P: 2}, START_S + 1e6, "ann", "")
        stage.loop.adopt(planner_settings(service_settings("chat")), {}, {})
        await stage.pass_ticks(2)

        assert stage.loop.desk.board.controls == Controls()
        assert stage.loop.desk.board.trouble == ()

    play(script, "chat", "code")


def test_settings_that_cannot_be_decided_by_are_refused_and_change_nothing() -> None:
    async def script(stage: Stage) -> None:
        await stage.steering.hold("chat", {P: 9}, START_S + 1e6, "ann", "")
        with pytest.raises(UserError, match="the minima need 10 GPUs, the budget is 5"):
            stage.loop.adopt(planner_settings(budget_gpus=5), {}, {})
        with pytest.raises(UserError, match="interval_s: 30 and 60 differ; services that share a budget are decided"):
            stage.loop.adopt(
                planner_settings(service_settings("chat"), service_settings("code", interval_s=60.0)), {}, {}
            )
        await stage.pass_ticks(1)
        assert stage.loop.desk.board.settings.budget_gpus == 64

    play(script)


# --- seeing ---------------------------------------------------------------------------------------------------------


def test_a_slow_reader_sees_the_newest_board_and_holds_nobody_up() -> None:
    async def script(stage: Stage) -> None:
        boards = stage.steering.subscribe()
        first = asyncio.ensure_future(anext(boards))
        await stage.pass_ticks(1)
        assert (await first).ticks >= 1
        await stage.pass_ticks(5)
        assert (await anext(boards)).ticks == 6
        await boards.aclose()

    play(script)


def test_decisions_are_paged_newest_first_and_counted_by_reason() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(5)
        lines, before = stage.steering.page("chat", None, 2, False)
        assert [line.tick for line in lines] == [4, 3]
        lines, _ = stage.steering.page("chat", before, 10, False)
        assert [line.tick for line in lines] == [2, 1, 0]
        assert sum(stage.steering.totals().reasons.values()) == sum(
            len(line.decision.reasons) for line in stage.steering.page(None, None, 100, False)[0]
        )

    play(script)


@contextmanager
def journal(folder: Path, settings: PlannerSettings) -> Iterator[JournalFiles]:
    files = JournalFiles(folder, {}, {}, initial_state(settings, START_S))
    yield files
    files.close()


def test_everything_is_in_the_journal_and_a_journal_that_fails_stops_nothing(tmp_path: Path) -> None:
    settings = planner_settings(service_settings("chat"))

    async def script(stage: Stage) -> None:
        await stage.pass_ticks(2)
        await stage.steering.hold("chat", {P: 3}, START_S + 600.0, "ann", "a try")
        await stage.pass_ticks(1)
        (tmp_path / "journal").rename(tmp_path / "gone")
        (tmp_path / "journal").write_text("in the way")
        await stage.pass_ticks(1)
        assert any("journal: a record could not be written" in text for text in stage.loop.desk.board.trouble)
        (tmp_path / "journal").unlink()
        (tmp_path / "journal").mkdir()
        await stage.pass_ticks(1)
        assert stage.loop.desk.board.trouble == ()
        assert stage.loop.desk.board.ticks == 5

    with journal(tmp_path / "journal", settings) as files:
        play(script, settings=settings, journal=files)

    lines = [line for path in sorted((tmp_path / "gone").iterdir()) for line in path.read_text().splitlines()]
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[:3] == ["start", "tick", "outcome"]
    assert "control" in kinds


def test_a_service_that_its_connector_holds_back_is_resumed_by_the_same_order() -> None:
    async def script(stage: Stage) -> None:
        await stage.pass_ticks(1)
        stage.held_back.add("chat")
        await stage.steering.resume("chat", "ada", "the rival is gone")
        assert stage.held_back == set()
        with pytest.raises(ControlError, match="is not paused; there is nothing to resume"):
            await stage.steering.resume("chat", "ada", "again")

    play(script)
