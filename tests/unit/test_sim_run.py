"""Whole runs: what is reported, what it rests on, and that it repeats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulations import simulate_one

from planner.errors import UserError
from planner.profiler.library import load_profile
from planner.scaling.types import Absent, PoolSamples, Role, Sample, ServiceSamples
from planner.sim.baselines import static_peak
from planner.sim.flight import Flight
from planner.sim.ledger import QUANTILE_ERROR, Ledger, Quantiles
from planner.sim.lives import Lives
from planner.sim.loads import Request
from planner.sim.metrics import Scraping
from planner.sim.policies import Cause, Order, StaticPolicy
from planner.sim.run import SCHEMA, simulate
from planner.sim.settings import Conditions, FleetSettings, PoolSetup
from planner.sim.stage import ScaleAction, Workload
from planner.sim.timing import LinearTiming, TabulatedTiming
from planner.slo.attainment import Attainment
from planner.slo.lifecycle import RequestRecord, verdict
from planner.slo.targets import Targets

TIMING = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)
TARGETS = Targets(isl_tokens=100, osl_tokens=11, ttft_ms=150, itl_ms=20)
POOLS = {Role.PREFILL: PoolSetup(1, 1), Role.DECODE: PoolSetup(1, 1)}
FLEET = FleetSettings(POOLS, TIMING, Conditions(Lives(5.0), "least_loaded"))


class Script:
    """A policy that orders by the clock and keeps what it was shown."""

    def __init__(self, orders: Mapping[float, Order]) -> None:
        self.orders = orders
        self.seen: list[ServiceSamples] = []

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        self.seen.append(samples["service"])
        return {"service": self.orders[now_s]} if now_s in self.orders else {}


def near(value: float) -> Any:
    """Equal to floats next to `value`; Any, so that it may stand in a field of a whole value."""
    return pytest.approx(value)


def spread(count: int, gap_s: float, isl: int = 100, osl: int = 11) -> list[Request]:
    return [Request(i * gap_s, isl, osl) for i in range(count)]


def test_reports_every_request_and_every_gpu_hour() -> None:
    result = simulate_one(spread(30, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=10)

    assert result.only.outcome.attainment == Attainment(met=30)
    assert result.only.outcome.good_share == 1.0
    assert result.only.outcome.ttft_s == Quantiles(near(0.1), near(0.1), near(0.1))
    assert result.only.outcome.itl_s == Quantiles(near(0.01), near(0.01), near(0.01))
    assert (result.duration_s, result.gpu_hours, result.peak_gpus) == (30.0, near(60 / 3600), 2)
    # An arrival at the moment of a tick is counted by it: 0 s to 10 s, 11 s to 20 s, 21 s to 29 s.
    assert [row.rate_per_s for row in result.only.timeline] == [1.1, 1.0, 0.9]
    assert result.only.actions == ()


def test_an_order_takes_effect_after_the_start_up_time_and_says_why() -> None:
    because = (Cause("service", "more is coming"), Cause("up", "prefill: 1 -> 2", Role.PREFILL))
    order = Order({Role.PREFILL: 2, Role.DECODE: 1}, (*because, Cause("keep", "decode: stays at 1", Role.DECODE)))

    result = simulate_one(spread(31, 1.0), Script({10.0: order}), FLEET, TARGETS, interval_s=5)

    assert result.only.actions == (ScaleAction(10.0, Role.PREFILL, 1, 2, because),)
    assert [(row.at_s, row.pools[Role.PREFILL].ready, row.held_gpus) for row in result.only.timeline] == [
        (5.0, 1, 2), (10.0, 1, 3), (15.0, 2, 3), (20.0, 2, 3), (25.0, 2, 3), (30.0, 2, 3),
    ]  # fmt: skip
    assert result.gpu_hours == pytest.approx((2 * 30 + 20) / 3600)


def test_an_overloaded_fleet_is_not_flattered_by_what_it_never_finished() -> None:
    result = simulate_one(spread(100, 0.05), StaticPolicy(), FLEET, TARGETS, interval_s=5)

    outcome = result.only.outcome
    assert outcome.in_flight > 40
    assert outcome.attainment.missed > 90
    assert outcome.good_share is not None
    assert outcome.good_share < 0.05


def test_a_request_longer_than_the_kv_cache_is_refused_and_missed() -> None:
    fleet = replace(FLEET, timing=LinearTiming(0.001, 0.010, max_kv_tokens=110))

    result = simulate_one([Request(0.0, 100, 11), Request(1.0, 99, 11)], StaticPolicy(), fleet, TARGETS, interval_s=10)

    assert (result.only.outcome.finished, result.only.outcome.refused) == (1, 1)
    assert result.only.outcome.attainment == Attainment(met=1, missed=1)


def test_the_first_replicas_are_ready_and_paid_for_from_the_start() -> None:
    result = simulate_one(spread(1, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=3600)

    assert result.only.timeline[0].pools[Role.PREFILL].ready == 1
    assert result.gpu_hours == 2.0


def test_the_same_seed_gives_the_same_bytes() -> None:
    def played(seed: int) -> str:
        conditions = Conditions(Lives(5.0, startup_cv=0.5, crash_every_s=1.0), "random")
        fleet = FleetSettings({**POOLS, Role.PREFILL: PoolSetup(1, 3)}, TIMING, conditions)
        return json.dumps(
            simulate_one(spread(200, 0.02), StaticPolicy(), fleet, TARGETS, interval_s=1, seed=seed).document()
        )

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_the_document_names_its_schema_and_survives_json() -> None:
    document = simulate_one(
        spread(3, 1.0), Script({5.0: Order({Role.DECODE: 2})}), FLEET, TARGETS, interval_s=5
    ).document()

    assert document["schema"] == SCHEMA
    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert set(document) == {
        "schema", "seed", "duration_s", "interval_s", "gpu_hours", "peak_gpus", "services",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "interval_s", "message"),
    [
        pytest.param([], 10.0, "trace: no requests to play for service; widen the slice", id="no requests"),
        pytest.param(spread(1, 1.0), 0.0, "interval_s: 0.0 must be a positive number", id="interval"),
    ],
)
def test_refuses_a_run_without_content(requests: list[Request], interval_s: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate_one(requests, StaticPolicy(), FLEET, TARGETS, interval_s=interval_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"pools": {Role.DECODE: PoolSetup(1, 1)}}, "pools: decode make no service", id="half a service"),
    ],
)
def test_refuses_a_fleet_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(FLEET, **change)  # type: ignore[arg-type]


def test_refuses_first_replicas_that_the_cluster_cannot_hold() -> None:
    with pytest.raises(UserError, match="gpus: the first replicas need 2 GPUs, the cluster has 1; start with fewer"):
        simulate_one(spread(1, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=10, gpus=1)


def test_services_share_the_cluster_and_are_judged_and_charged_apart() -> None:
    workloads = {
        "chat": Workload(spread(20, 1.0), FLEET, TARGETS),
        "code": Workload(spread(10, 1.0, isl=200), FLEET, TARGETS),
    }

    class Both:
        def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
            assert list(samples) == ["chat", "code"]
            return {name: Order({Role.DECODE: 2}) for name in samples}

    result = simulate(workloads, Both(), interval_s=10, gpus=5)

    assert result.peak_gpus == 5
    assert [one.outcome.attainment for one in result.services.values()] == [
        Attainment(met=20), Attainment(missed=10),
    ]  # fmt: skip
    waiting = result.services["code"].timeline[-1].pools[Role.DECODE]
    assert (waiting.ready, waiting.pending) == (1, 1), "the first service took the last GPU"
    assert [one.gpu_hours for one in result.services.values()] == [near((2 * 20 + 10) / 3600), near(2 * 20 / 3600)]


# --- what a policy is shown --------------------------------------------------------------------------------------


def test_shows_what_a_real_fleets_metrics_would_say() -> None:
    policy = Script({})
    simulate_one([*spread(10, 1.0), Request(9.95, 300, 5)], policy, FLEET, TARGETS, interval_s=10)

    def sample(value: float) -> Sample:
        return Sample(near(value), 10.0)

    pool = PoolSamples(
        wanted=sample(1), ready=sample(1), starting=sample(0), pending=sample(0), draining=sample(0),
        rolling_out=sample(0), reporting=sample(1), waiting=sample(0), running=sample(0), failing=sample(0),
        pending_go_first=sample(1),
    )  # fmt: skip
    assert policy.seen == [
        ServiceSamples(
            window_s=10.0,
            rate_per_s=sample(1.1),
            isl_tokens=sample(100),  # the long prompt has no first token yet, so it does not count
            osl_tokens=sample(11),
            isl_cv2=sample(0),
            queue_s=sample(0),
            ttft_s=sample(0.1),
            itl_s=sample(0.01),
            pools={Role.PREFILL: replace(pool, running=sample(1)), Role.DECODE: pool},
        )
    ]


def test_silence_is_a_rate_of_zero_and_no_lengths_or_latencies() -> None:
    policy = Script({})
    simulate_one([Request(0.0, 100, 11), Request(25.0, 100, 11)], policy, FLEET, TARGETS, interval_s=10)

    silent = policy.seen[1]
    assert silent.rate_per_s == Sample(0.0, 20.0)
    assert silent.isl_tokens == silent.isl_cv2 == silent.ttft_s == Absent("no first token in the window")
    assert silent.osl_tokens == Absent("no finished request in the window")
    assert silent.itl_s == Absent("no token after a first one in the window")


def test_the_spread_of_prompt_lengths_is_the_windows_own() -> None:
    policy = Script({})
    simulate_one([Request(0.0, 100, 1), Request(1.0, 300, 1)], policy, FLEET, TARGETS, interval_s=10)

    assert policy.seen[0].isl_cv2 == Sample(near(0.25), 10.0)  # mean 200, deviation 100


def scraped(interval_s: float, *outages: tuple[float, float]) -> FleetSettings:
    return replace(FLEET, conditions=replace(FLEET.conditions, scraping=Scraping(interval_s, outages)))


def test_numbers_are_as_old_as_the_newest_scrape_and_cover_what_lies_between_two() -> None:
    """Scrapes at 4, 8, 12, ... and looks at 10, 20, ...: the first covers 0 to 8 s, the second 8 to 20 s."""
    policy = Script({})
    simulate_one(spread(20, 1.0), policy, scraped(4.0), TARGETS, interval_s=10)

    first, second = policy.seen
    assert (first.window_s, first.rate_per_s) == (8.0, Sample(1.0, 8.0))
    assert (second.window_s, second.rate_per_s) == (12.0, Sample(1.0, 20.0))
    assert first.pools[Role.PREFILL].running == Sample(0, 8.0)
    assert first.pools[Role.PREFILL].ready == Sample(1, 10.0), "replicas are asked of the orchestrator"


def test_while_nothing_is_scraped_the_last_numbers_grow_old_and_are_forgotten_after_five_minutes() -> None:
    policy = Script({})
    simulate_one(spread(400, 1.0), policy, scraped(10.0, (20.0, 355.0)), TARGETS, interval_s=10)

    ages_s = [
        None if isinstance(seen.rate_per_s, Absent) else 10.0 * tick - seen.rate_per_s.at_s
        for tick, seen in enumerate(policy.seen, start=1)
    ]
    assert ages_s[:4] == [0.0, 10.0, 20.0, 30.0]
    assert ages_s[30:36] == [300.0, None, None, None, None, 0.0]
    silent = policy.seen[31]
    assert silent.rate_per_s == silent.ttft_s == silent.pools[Role.PREFILL].running == Absent("not scraped for 310 s")
    assert silent.pools[Role.PREFILL].wanted == Sample(1, 320.0)


def test_the_timeline_tells_the_truth_whatever_was_scraped() -> None:
    result = simulate_one(spread(30, 1.0), StaticPolicy(), scraped(10.0, (0.0, 100.0)), TARGETS, interval_s=10)

    assert [(row.rate_per_s, row.good_share) for row in result.only.timeline] == [(1.1, 1.0), (1.0, 1.0), (0.9, 1.0)]
    assert [row.ttft_p95_s for row in result.only.timeline] == [near(0.1)] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0,), "scrape_s: -1.0 must be 0 or more"),
        ((10.0, ((5.0, 5.0),)), "outages: 5.0 to 5.0 s is none"),
    ],
)
def test_refuses_a_scraper_that_cannot_be(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scraping(*arguments)


# --- judging, baselines -----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 20)), min_size=1, max_size=30)
)
def test_finished_requests_are_judged_as_the_lifecycle_does(raw: list[tuple[float, float, float, int]]) -> None:
    ledger, verdicts = Ledger(TARGETS), []
    for arrival_s, until_first_s, until_last_s, osl in raw:
        first_s = arrival_s + until_first_s
        last_s = first_s + until_last_s * (osl > 1)
        flight = Flight(arrival_s, 10, osl, 0, osl, arrival_s, first_s, first_s, first_s, last_s)
        ledger.arrive(flight)
        ledger.finish(flight)
        record = RequestRecord(arrival_s).started(arrival_s).produced(1, first_s)
        if osl > 1:
            record = record.produced(osl - 1, last_s)
        verdicts.append(verdict(record.ended("finished", last_s), TARGETS, last_s))

    assert ledger.judge(10.0).attainment == Attainment.of(verdicts)


def test_littles_law_is_checked_in_every_run() -> None:
    little = simulate_one(spread(30, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=10).only.outcome.little

    # Every request stays 0.1 s for its prompt and ten steps of 10 ms; the last has just arrived at the end.
    assert little.rate_per_s == 1.0
    assert little.time_in_system_s == near(0.2)
    assert little.in_system == near(0.2)


def test_a_request_that_vanishes_breaks_littles_law() -> None:
    ledger = Ledger(TARGETS)
    flight = Flight(0.0, 10, 2, 10)
    ledger.arrive(flight)
    flight.arrival_s = 5.0

    with pytest.raises(AssertionError, match="Little's law is broken"):
        ledger.judge(10.0)


def test_quantiles_of_many_requests_are_within_the_stated_error() -> None:
    ledger = Ledger(TARGETS)
    ttfts_s = [0.001 * 1.01**i for i in range(1000)]
    for ttft_s in ttfts_s:
        flight = Flight(0.0, 10, 1, 0, 1, 0.0, ttft_s, ttft_s, ttft_s, ttft_s)
        ledger.arrive(flight)
        ledger.finish(flight)

    quantiles = ledger.judge(100.0).ttft_s
    assert quantiles is not None
    for found_s, share in ((quantiles.p50, 0.5), (quantiles.p95, 0.95), (quantiles.p99, 0.99)):
        assert found_s == pytest.approx(np.quantile(ttfts_s, share, method="lower"), rel=QUANTILE_ERROR)


def test_static_peak_is_the_published_formula_at_the_worst_interval() -> None:
    profile = load_profile("h200-llama-3.1-8b-fp8-tp1")
    targets = Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=500, itl_ms=50)
    quiet = [Request(i / 2, 3000, 150) for i in range(60)]
    busy = [Request(30 + i / 60, 3000, 150) for i in range(1800)]

    peak = static_peak([*quiet, *busy], POOLS, profile, targets, interval_s=30)

    # 60 req/s x 3000 tokens over some 49,000 tokens/s; 60 x 150 tokens over more than one replica's 7,000.
    assert peak == {Role.PREFILL: 4, Role.DECODE: 2}


def test_the_table_is_close_to_the_profile() -> None:
    profile = load_profile("h200-llama-3.1-8b-fp8-tp1")
    timing = TabulatedTiming(profile)

    for context in (120.0, 350.0, 1000.0, 2997.0, 9000.0, 40_000.0):
        most = profile.decode.max_concurrency(context)
        assert timing.max_concurrency(context) == pytest.approx(most, rel=0.02, abs=1)
        for share in (0.0, 0.1, 0.5, 0.9):
            concurrency = max(1, int(share * most))
            exact = profile.decode.itl_s(concurrency, context)
            assert timing.step_s(concurrency, context) == pytest.approx(exact, rel=0.04)
