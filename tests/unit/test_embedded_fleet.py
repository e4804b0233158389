"""The simulated fleet behind the live loop's seams, and the demo's stories."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from planner import sim
from planner.clock import VirtualClock
from planner.config import build_settings, load_config
from planner.connectors.types import Applied, Plan
from planner.connectors.virtual import VirtualConnector
from planner.errors import UserError
from planner.loop import ControlLoop
from planner.scaling.types import Absent, Role, Sample
from planner.sim.baselines.contenders import World, planner
from planner.sim.compare import play
from planner.sim.embedded import EmbeddedFleet, LaunchedFleet
from planner.sim.loads import Request
from planner.sim.scenarios import MINUTES, SCENARIOS, scenario
from planner.sim.settings import conditions_as_configured

START_S = 1_000_000.0
LIVE_DEMO = Path(sim.__file__).parent / "live_demo.yaml"


def world(requests: dict[str, list[Request]] | None = None) -> World:
    settings = build_settings(load_config(LIVE_DEMO, {}, {}))
    quiet = [Request(float(i), 1000, 20) for i in range(600)]
    return World(
        settings,
        requests or dict.fromkeys(settings.services, quiet),
        {name: conditions_as_configured(service) for name, service in settings.services.items()},
        settings.budget_gpus,
    )


def test_it_speaks_in_the_clocks_time_of_what_happened_until_now() -> None:
    async def script() -> None:
        clock = VirtualClock(START_S)
        fleet = EmbeddedFleet(world().workloads(), clock, 12)
        await clock.advance(60.0)

        samples = await fleet.collect("chat")
        assert samples.rate_per_s == Sample(pytest.approx(61 / 60), START_S + 60.0)  # type: ignore[arg-type]
        assert samples.good_share == Sample(1.0, START_S + 60.0)
        assert samples.pools[Role.PREFILL].reporting == Sample(1, START_S + 60.0)
        counts = await fleet.read("chat")
        assert counts[Role.DECODE].ready == Sample(1, START_S + 60.0)

    asyncio.run(script())


def test_orders_take_the_start_up_time_and_are_counted() -> None:
    async def script() -> None:
        clock = VirtualClock(START_S)
        fleet = EmbeddedFleet(world().workloads(), clock, 12)
        await clock.advance(10.0)

        assert await fleet.apply(Plan("chat", {Role.PREFILL: 3}, "1")) == Applied("applied", "prefill 1 -> 3")
        assert (await fleet.apply(Plan("chat", {Role.PREFILL: 3}, "2"))).status == "unchanged"
        assert (await fleet.read("chat"))[Role.PREFILL].starting == Sample(2, START_S + 10.0)
        await clock.advance(120.0)
        assert (await fleet.read("chat"))[Role.PREFILL].ready == Sample(3, START_S + 130.0)
        result = fleet.result(30.0)
        assert [len(result.services[name].actions) for name in ("chat", "code")] == [1, 0]
        assert result.gpu_hours == pytest.approx((3 * 130 + 2 * 120) / 3600)

    asyncio.run(script())


def test_engines_work_as_many_as_launchers_say_are_ready() -> None:
    async def script() -> None:
        clock = VirtualClock(START_S)
        here = world()
        none = {name: dict.fromkeys(service.pools, 0) for name, service in here.services.items()}
        launchers = VirtualConnector(none, clock, state=None, accept_within_s=300, report_max_age_s=120)
        fleet = LaunchedFleet(EmbeddedFleet(here.starting_in(0.0).workloads(none), clock, 12), launchers)
        await clock.advance(30.0)
        assert (await fleet.collect("code")).pools[Role.AGGREGATED].waiting == Sample(31, START_S + 30.0)

        assert (await fleet.apply(Plan("code", {Role.AGGREGATED: 2}, "1"))).status == "applied"
        await clock.advance(30.0)
        assert (await fleet.collect("code")).ttft_s == Absent("no first token in the window")
        launchers.acknowledge("code", "1", True, None, {Role.AGGREGATED: 2})
        await fleet.collect("code")
        await clock.advance(30.0)
        samples = await fleet.collect("code")
        assert samples.pools[Role.AGGREGATED].reporting == Sample(2, START_S + 90.0)
        assert samples.pools[Role.AGGREGATED].waiting == Sample(0, START_S + 90.0)
        assert (await fleet.read("code"))[Role.AGGREGATED].ready.value == 2  # type: ignore[union-attr]

    asyncio.run(script())


async def at_once(function, *arguments):  # type: ignore[no-untyped-def]
    return function(*arguments)


def test_the_live_loop_does_what_the_simulation_does() -> None:
    """The same tick on the same fleet; only that the live loop looks five seconds before it decides."""
    story = SCENARIOS["ramp"]
    settings = build_settings(load_config(LIVE_DEMO, {}, {}))
    lengths = {
        name: (round(service.targets.isl_tokens), round(service.targets.osl_tokens))
        for name, service in settings.services.items()
    }
    here = world(dict(story.requests(lengths, seed=0)))

    async def live() -> float:
        clock = VirtualClock(START_S)
        fleet = EmbeddedFleet(here.workloads(), clock, here.gpus)
        loop = ControlLoop(here.settings, fleet, fleet, clock, compute=at_once)
        running = asyncio.create_task(loop.run())
        await clock.advance(MINUTES * 60.0)
        loop.stop()
        await clock.advance(1.0)
        await running
        assert fleet.over
        return fleet.result(30.0).gpu_hours

    assert asyncio.run(live()) == pytest.approx(play(planner(here)).result.gpu_hours, rel=0.1)


def test_every_story_has_load_for_every_service_of_the_demo() -> None:
    for name, story in SCENARIOS.items():
        assert scenario(name) is story
        requests = story.requests({"chat": (3000, 150), "code": (1500, 60)}, seed=1)
        assert all(len(each) > 10_000 for each in requests.values()), name
        assert all(each[-1].arrival_s <= MINUTES * 60 for each in requests.values())


def test_an_unknown_story_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="--scenario: 'dusk' is unknown; use ramp, spike, night, metrics-lost"):
        scenario("dusk")
