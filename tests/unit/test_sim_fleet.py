"""A whole fleet under random load and random orders: nothing is lost, nothing comes before its cause."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.scaling.types import Role, Sample
from planner.sim.fleet import Fleet
from planner.sim.flight import Flight
from planner.sim.ledger import Ledger
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.settings import FleetSettings, PoolSetup
from planner.sim.timing import LinearTiming
from planner.slo.targets import Targets

TIMING = LinearTiming(0.01, 0.02, 0.005, max_kv_tokens=120, concurrency_limit=4)
TARGETS = Targets(isl_tokens=20, osl_tokens=10, ttft_ms=500, itl_ms=50)
GPUS_PER_REPLICA = 2
ENOUGH_S = 1000.0

DISAGGREGATED = (Role.PREFILL, Role.DECODE)
AGGREGATED = (Role.AGGREGATED,)


@dataclass(frozen=True)
class Script:
    """Requests, orders as (time, role, replicas), and when to look."""

    roles: tuple[Role, ...]
    requests: list[Request]
    orders: list[tuple[float, Role, int]]
    routing: str
    gpus: int | None
    look_at_s: float


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    roles = draw(st.sampled_from([DISAGGREGATED, AGGREGATED]))
    times = st.floats(0, 5)
    requests = st.builds(Request, times, st.integers(1, 60), st.one_of(st.just(1), st.integers(1, 80)))
    orders = st.tuples(times, st.sampled_from(roles), st.integers(0, 4))
    return Script(
        roles,
        draw(st.lists(requests, max_size=40)),
        draw(st.lists(orders, max_size=10)),
        draw(st.sampled_from(["least_loaded", "round_robin", "random"])),
        draw(st.one_of(st.none(), st.integers(4, 12))),
        draw(st.floats(0, 10)),
    )


class Stage:
    """A fleet with one replica per pool, playing a script."""

    def __init__(self, script: Script) -> None:
        self.loop, self.ledger = Loop(), Ledger()
        pools = {role: PoolSetup(GPUS_PER_REPLICA, 1) for role in script.roles}
        fleet_settings = FleetSettings(pools, TIMING, 0.7, script.routing, script.gpus)  # type: ignore[arg-type]
        self.fleet = Fleet(fleet_settings, self.loop, self.ledger, seed=0)
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
        assert flight.first_token_s - flight.prefill_start_s >= TIMING.prefill_s(flight.isl) * (1 - 1e-9)
        assert flight.finish_s - flight.first_token_s >= (flight.osl - 1) * TIMING.step_s(1, 0) * (1 - 1e-9)


@given(scripts())
@settings(deadline=None)
def test_every_request_is_finished_failed_or_in_flight_at_any_moment(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(script.look_at_s)

    outcome = stage.ledger.judge(TARGETS, stage.loop.now_s)
    assert outcome.arrived == len(stage.flights)
    assert outcome.arrived == outcome.finished + outcome.failed + outcome.in_flight
    assert outcome.finished == sum(flight.finish_s is not None for flight in stage.flights)
    assert outcome.failed == sum(flight.total_tokens > TIMING.max_kv_tokens for flight in stage.flights)
    pools = stage.fleet.counts().values()
    assert outcome.in_flight == sum(pool.waiting + pool.running for pool in pools)
    for flight in stage.flights:
        assert_causal(flight)


@given(scripts())
@settings(deadline=None)
def test_with_a_replica_in_each_pool_everything_finishes_in_the_end(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(10.0)
    stage.fleet.order(dict.fromkeys(script.roles, 1))
    stage.loop.run_until(ENOUGH_S)

    outcome = stage.ledger.judge(TARGETS, stage.loop.now_s)
    assert outcome.in_flight == 0
    assert outcome.finished + outcome.failed == len(script.requests)
    assert stage.fleet.cluster.held_gpus == len(script.roles) * GPUS_PER_REPLICA


@given(scripts())
@settings(deadline=None)
def test_never_holds_more_gpus_than_the_cluster_has(script: Script) -> None:
    stage = Stage(script)
    stage.loop.run_until(ENOUGH_S)

    assert stage.fleet.cluster.peak_gpus <= (script.gpus or 10**9)
    counts = stage.fleet.counts().values()
    held = sum(pool.ready + pool.starting + pool.draining for pool in counts)
    assert stage.fleet.cluster.held_gpus == held * GPUS_PER_REPLICA


@pytest.mark.parametrize(("first_token_from", "first_token_s"), [(Role.PREFILL, 0.100), (Role.DECODE, 0.110)])
def test_the_first_token_comes_from_prefill_or_with_decodes_first_step(
    first_token_from: Role, first_token_s: float
) -> None:
    """100 tokens take 100 ms, a step 10 ms: both ways the third and last token comes 20 ms after the first."""
    setup = FleetSettings(
        pools={role: PoolSetup(1, 1) for role in (Role.PREFILL, Role.DECODE)},
        timing=LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010),
        startup_s=0,
        routing="least_loaded",
        first_token_from=first_token_from,
    )
    loop = Loop()
    fleet = Fleet(setup, loop, Ledger(), seed=0)
    flight = fleet.arrive(Request(0.0, 100, 3))
    loop.run_until(1.0)

    assert flight.first_token_s == pytest.approx(first_token_s)
    assert flight.finish_s == pytest.approx(first_token_s + 0.020)
    itl_s = fleet.read_metrics().itl_s
    assert isinstance(itl_s, Sample)
    assert itl_s.value == pytest.approx(0.010)
