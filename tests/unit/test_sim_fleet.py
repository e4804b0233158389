"""A whole fleet under random load and random orders: nothing is lost, nothing comes before its cause."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import UserError
from planner.scaling.settings import Routing
from planner.scaling.types import Role, Sample
from planner.sim.cluster import Cluster
from planner.sim.engine import Discipline
from planner.sim.fleet import Fleet
from planner.sim.flight import Flight
from planner.sim.ledger import Ledger
from planner.sim.lives import Lives
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.metrics import Scraping
from planner.sim.settings import Conditions, FleetSettings, PoolSetup
from planner.sim.timing import LinearTiming
from planner.slo.targets import Targets

TIMING = LinearTiming(0.01, 0.02, 0.005, max_kv_tokens=120, concurrency_limit=4)
TARGETS = Targets(isl_tokens=20, osl_tokens=10, ttft_ms=500, itl_ms=50)
GPUS_PER_REPLICA = 2
ENOUGH_S = 1000.0

DISAGGREGATED = (Role.PREFILL, Role.DECODE)
AGGREGATED = (Role.AGGREGATED,)
DISCIPLINES = st.builds(
    Discipline, st.one_of(st.none(), st.integers(1, 100)), places=st.integers(1, 5), holds=st.booleans()
)


@dataclass(frozen=True)
class Script:
    """Requests, orders as (time, role, replicas), how the fleet is, and when to look."""

    roles: tuple[Role, ...]
    requests: list[Request]
    orders: list[tuple[float, Role, int]]
    conditions: Conditions
    gpus: int | None
    look_at_s: float


@st.composite
def scripts(draw: st.DrawFn, mortal: bool = True) -> Script:
    roles = draw(st.sampled_from([DISAGGREGATED, AGGREGATED]))
    times = st.floats(0, 5)
    requests = st.builds(Request, times, st.integers(1, 60), st.one_of(st.just(1), st.integers(1, 80)))
    orders = st.tuples(times, st.sampled_from(roles), st.integers(0, 4))
    routings = st.sampled_from(get_args(Routing))
    never = st.just(math.inf)
    lives = Lives(
        startup_s=draw(st.sampled_from([0.0, 0.7])),
        startup_cv=draw(st.sampled_from([0.0, 1.0])),
        slow_start_share=draw(st.sampled_from([0.0, 0.5])),
        crash_every_s=draw(st.one_of(never, st.floats(0.5, 5)) if mortal else never),
        grace_s=draw(st.one_of(never, st.floats(0, 2)) if mortal else never),
    )
    conditions = Conditions(
        lives=lives,
        routing=draw(routings),
        decode_routing=draw(routings),
        prefill=draw(DISCIPLINES),
        batching=draw(DISCIPLINES),
        first_token_from=draw(st.sampled_from(["prefill", "decode"])),
        kv_transfer_tokens_per_s=draw(st.sampled_from([None, 100.0])),
        speeds=draw(st.sampled_from([(1.0,), (1.0, 1.5)])),
        scraping=draw(st.sampled_from([Scraping(), Scraping(0.3, ((1.0, 2.0),))])),
    )
    return Script(
        roles,
        sorted(draw(st.lists(requests, max_size=40))),
        draw(st.lists(orders, max_size=10)),
        conditions,
        draw(st.one_of(st.none(), st.integers(4, 12))),
        draw(st.floats(0.1, 10)),
    )


class Stage:
    """A fleet with one replica per pool, playing a script."""

    def __init__(self, script: Script) -> None:
        self.loop, self.ledger, self.cluster = Loop(), Ledger(TARGETS), Cluster(script.gpus)
        pools = {role: PoolSetup(GPUS_PER_REPLICA, 1) for role in script.roles}
        settings = FleetSettings(pools, TIMING, script.conditions)
        self.fleet = Fleet(settings, self.loop, self.cluster, self.ledger, seed="0")
        self.flights: list[Flight] = []
        for request in script.requests:
            self.loop.at(request.arrival_s, lambda request=request: self.flights.append(self.fleet.arrive(request)))  # type: ignore[misc]
        for at_s, role, replicas in script.orders:
            self.loop.at(at_s, lambda role=role, replicas=replicas: self.fleet.order({role: replicas}))  # type: ignore[misc]


def assert_causal(flight: Flight) -> None:
    moments = [flight.arrival_s, flight.prefill_start_s, flight.first_token_s, flight.finish_s]
    happened = [moment for moment in moments if moment is not None]
    assert moments[: len(happened)] == happened, "a moment was skipped"
    assert happened == sorted(happened)
    if flight.finish_s is not None and flight.first_token_s is not None and flight.prefill_start_s is not None:
        fastest = 1.5
        assert flight.first_token_s - flight.prefill_start_s >= TIMING.prefill_s(flight.isl) / fastest * (1 - 1e-9)
        least_s = (flight.osl - 1) * TIMING.step_s(1, 0) / fastest
        assert flight.finish_s - flight.first_token_s >= least_s * (1 - 1e-9)


@given(scripts())
@settings(deadline=None)
def test_every_request_is_finished_refused_lost_or_in_flight_at_any_moment(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(script.look_at_s)

    outcome = stage.ledger.judge(stage.loop.now_s)
    assert outcome.arrived == len(stage.flights)
    assert outcome.arrived == outcome.finished + outcome.refused + outcome.lost + outcome.in_flight
    assert outcome.finished == sum(flight.finish_s is not None for flight in stage.flights)
    assert outcome.refused == sum(flight.total_tokens > TIMING.max_kv_tokens for flight in stage.flights)
    assert outcome.in_flight == stage.fleet.population()
    for flight in stage.flights:
        assert_causal(flight)


@given(scripts())
@settings(deadline=None)
def test_requests_only_get_lost_where_replicas_die(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(script.look_at_s)

    lives = script.conditions.lives
    if math.isinf(lives.crash_every_s) and math.isinf(lives.grace_s):
        assert stage.ledger.judge(stage.loop.now_s).lost == 0


@given(scripts(mortal=False))
@settings(deadline=None)
def test_with_a_replica_in_each_pool_everything_finishes_in_the_end(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(10.0)
    stage.fleet.order(dict.fromkeys(script.roles, 1))
    stage.loop.run_until(ENOUGH_S)

    outcome = stage.ledger.judge(stage.loop.now_s)
    assert outcome.in_flight == 0
    assert outcome.finished + outcome.refused == len(script.requests)
    assert stage.cluster.held_gpus == len(script.roles) * GPUS_PER_REPLICA


@given(scripts())
@settings(deadline=None)
def test_never_holds_more_gpus_than_the_cluster_has(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(50.0)

    assert stage.cluster.peak_gpus <= (script.gpus or 10**9)
    counts = stage.fleet.counts().values()
    held = sum(pool.ready + pool.starting + pool.draining for pool in counts)
    assert stage.cluster.held_gpus == stage.fleet.account.held_gpus == held * GPUS_PER_REPLICA


@given(scripts())
@settings(deadline=None)
def test_a_draining_replica_is_gone_when_its_grace_is_over(script: Script) -> None:
    """All orders are over at 5 s, so what drained then is gone a grace period later."""
    stage = Stage(script)
    stage.loop.run_until(5.0 + min(script.conditions.lives.grace_s, ENOUGH_S) + 1e-6)

    assert all(pool.draining == 0 for pool in stage.fleet.counts().values())


@pytest.mark.parametrize(("first_token_from", "first_token_s"), [("prefill", 0.100), ("decode", 0.110)])
def test_the_first_token_comes_from_prefill_or_with_decodes_first_step(
    first_token_from: Literal["prefill", "decode"], first_token_s: float
) -> None:
    """100 tokens take 100 ms, a step 10 ms: both ways the third and last token comes 20 ms after the first."""
    setup = FleetSettings(
        pools={role: PoolSetup(1, 1) for role in (Role.PREFILL, Role.DECODE)},
        timing=LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010),
        conditions=Conditions(Lives(0.0), "least_loaded", first_token_from=first_token_from),
    )
    loop = Loop()
    fleet = Fleet(setup, loop, Cluster(None), Ledger(TARGETS), seed="0")
    flight = fleet.arrive(Request(0.0, 100, 3))
    loop.run_until(1.0)

    assert flight.first_token_s == pytest.approx(first_token_s)
    assert flight.finish_s == pytest.approx(first_token_s + 0.020)
    itl_s = fleet.read_metrics().itl_s
    assert isinstance(itl_s, Sample)
    assert itl_s.value == pytest.approx(0.010)


def played(conditions: Conditions, *requests: Request) -> list[Flight]:
    """What becomes of requests in a fleet of 1 + 1; a prompt takes 1 ms per token and a step 10 ms."""
    pools = {role: PoolSetup(1, 1) for role in DISAGGREGATED}
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)
    loop = Loop()
    fleet = Fleet(FleetSettings(pools, timing, conditions), loop, Cluster(None), Ledger(TARGETS), seed="0")
    flights = [fleet.arrive(request) for request in requests]
    loop.run_until(100.0)
    return flights


PLAIN = Conditions(Lives(0.0), "least_loaded")


def test_what_the_prefix_cache_holds_is_not_computed() -> None:
    (flight,) = played(replace(PLAIN, prefix_hit_rate=0.75), Request(0.0, 100, 3))

    assert flight.first_token_s == pytest.approx(0.025)


def test_moving_the_kv_cache_delays_the_second_token_or_the_first_as_well() -> None:
    moving = replace(PLAIN, kv_transfer_tokens_per_s=1000.0)
    (early,) = played(moving, Request(0.0, 100, 3))
    (late,) = played(replace(moving, first_token_from="decode"), Request(0.0, 100, 3))

    assert (early.first_token_s, early.finish_s) == pytest.approx((0.100, 0.220))
    assert (late.first_token_s, late.finish_s) == pytest.approx((0.210, 0.230))


def test_a_replica_of_half_the_speed_takes_twice_as_long() -> None:
    (flight,) = played(replace(PLAIN, speeds=(0.5,)), Request(0.0, 100, 3))

    assert (flight.first_token_s, flight.finish_s) == pytest.approx((0.200, 0.240))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix_hit_rate": 1.0}, "prefix_hit_rate: 1.0 must lie from 0 to below 1"),
        ({"kv_transfer_tokens_per_s": 0.0}, "kv_transfer_tokens_per_s: 0.0 must be above 0"),
        ({"speeds": ()}, r"speeds: \(\) must be one or more numbers above 0"),
        ({"speeds": (1.0, -1.0)}, "speeds: .* must be one or more numbers above 0"),
    ],
)
def test_conditions_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(PLAIN, **change)  # type: ignore[arg-type]
