"""Whole runs: what is reported, what it rests on, and that it repeats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UserError
from planner.profiler.library import load_profile
from planner.scaling.types import Absent, PoolSamples, Role, Sample, ServiceSamples
from planner.sim.baselines import static_peak
from planner.sim.flight import Flight
from planner.sim.ledger import Ledger, Quantiles
from planner.sim.loads import Request
from planner.sim.policies import Cause, Order, StaticPolicy
from planner.sim.report import report
from planner.sim.run import SCHEMA, Result, ScaleAction, simulate
from planner.sim.settings import FleetSettings, PoolSetup
from planner.sim.timing import LinearTiming, TabulatedTiming
from planner.slo.attainment import Attainment
from planner.slo.lifecycle import RequestRecord, verdict
from planner.slo.targets import Targets

TIMING = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)
TARGETS = Targets(isl_tokens=100, osl_tokens=11, ttft_ms=150, itl_ms=20)
POOLS = {Role.PREFILL: PoolSetup(1, 1), Role.DECODE: PoolSetup(1, 1)}
FLEET = FleetSettings(POOLS, TIMING, startup_s=5.0, routing="least_loaded")


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
    result = simulate(spread(30, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=10)

    assert result.outcome.attainment == Attainment(met=30)
    assert result.outcome.good_share == 1.0
    assert result.outcome.ttft_s == Quantiles(near(0.1), near(0.1), near(0.1))
    assert result.outcome.itl_s == Quantiles(near(0.01), near(0.01), near(0.01))
    assert (result.duration_s, result.gpu_hours, result.peak_gpus) == (30.0, near(60 / 3600), 2)
    # An arrival at the moment of a tick is counted by it: 0 s to 10 s, 11 s to 20 s, 21 s to 29 s.
    assert [row.rate_per_s for row in result.timeline] == [1.1, 1.0, 0.9]
    assert result.actions == ()


def test_an_order_takes_effect_after_the_start_up_time_and_says_why() -> None:
    because = (Cause("service", "more is coming"), Cause("up", "prefill: 1 -> 2", Role.PREFILL))
    order = Order({Role.PREFILL: 2, Role.DECODE: 1}, (*because, Cause("keep", "decode: stays at 1", Role.DECODE)))

    result = simulate(spread(31, 1.0), Script({10.0: order}), FLEET, TARGETS, interval_s=5)

    assert result.actions == (ScaleAction(10.0, Role.PREFILL, 1, 2, because),)
    assert [(row.at_s, row.pools[Role.PREFILL].ready, row.held_gpus) for row in result.timeline] == [
        (5.0, 1, 2), (10.0, 1, 3), (15.0, 2, 3), (20.0, 2, 3), (25.0, 2, 3), (30.0, 2, 3),
    ]  # fmt: skip
    assert result.gpu_hours == pytest.approx((2 * 30 + 20) / 3600)


def test_an_overloaded_fleet_is_not_flattered_by_what_it_never_finished() -> None:
    result = simulate(spread(100, 0.05), StaticPolicy(), FLEET, TARGETS, interval_s=5)

    outcome = result.outcome
    assert outcome.in_flight > 40
    assert outcome.attainment.missed > 90
    assert outcome.good_share is not None
    assert outcome.good_share < 0.05


def test_a_request_longer_than_the_kv_cache_is_refused_and_missed() -> None:
    fleet = replace(FLEET, timing=LinearTiming(0.001, 0.010, max_kv_tokens=110))

    result = simulate([Request(0.0, 100, 11), Request(1.0, 99, 11)], StaticPolicy(), fleet, TARGETS, interval_s=10)

    assert (result.outcome.finished, result.outcome.failed) == (1, 1)
    assert result.outcome.attainment == Attainment(met=1, missed=1)


def test_the_first_replicas_are_ready_and_paid_for_from_the_start() -> None:
    result = simulate(spread(1, 1.0), StaticPolicy(), FLEET, TARGETS, interval_s=3600)

    assert result.timeline[0].pools[Role.PREFILL].ready == 1
    assert result.gpu_hours == 2.0


def test_the_same_seed_gives_the_same_bytes() -> None:
    def played(seed: int) -> str:
        fleet = replace(FLEET, routing="random", pools={**POOLS, Role.PREFILL: PoolSetup(1, 3)})
        return json.dumps(
            simulate(spread(200, 0.02), StaticPolicy(), fleet, TARGETS, interval_s=1, seed=seed).document()
        )

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_the_document_names_its_schema_and_survives_json() -> None:
    document = simulate(spread(3, 1.0), Script({5.0: Order({Role.DECODE: 2})}), FLEET, TARGETS, interval_s=5).document()

    assert document["schema"] == SCHEMA
    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert set(document) == {
        "schema", "seed", "duration_s", "interval_s", "outcome", "gpu_hours", "peak_gpus", "actions", "timeline",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "interval_s", "message"),
    [
        pytest.param([], 10.0, "trace: no requests to play; widen the slice", id="no requests"),
        pytest.param(spread(1, 1.0), 0.0, "interval_s: 0.0 must be a positive number", id="interval"),
    ],
)
def test_refuses_a_run_without_content(requests: list[Request], interval_s: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate(requests, StaticPolicy(), FLEET, TARGETS, interval_s=interval_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"pools": {Role.DECODE: PoolSetup(1, 1)}}, "pools: decode make no service", id="half a service"),
        pytest.param({"startup_s": -1.0}, "startup_s: -1.0 must be 0 or more", id="negative start-up"),
        pytest.param({"gpus": 1}, "gpus: the first replicas need 2 GPUs, the cluster has 1", id="too few GPUs"),
    ],
)
def test_refuses_a_fleet_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(FLEET, **change)  # type: ignore[arg-type]


# --- what a policy is shown --------------------------------------------------------------------------------------


def test_shows_what_a_real_fleets_metrics_would_say() -> None:
    policy = Script({})
    simulate([*spread(10, 1.0), Request(9.95, 300, 5)], policy, FLEET, TARGETS, interval_s=10)

    def sample(value: float) -> Sample:
        return Sample(near(value), 10.0)

    pool = PoolSamples(
        wanted=sample(1), ready=sample(1), starting=sample(0), pending=sample(0), draining=sample(0),
        rolling_out=sample(0), reporting=sample(1), waiting=sample(0), running=sample(0),
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
    simulate([Request(0.0, 100, 11), Request(25.0, 100, 11)], policy, FLEET, TARGETS, interval_s=10)

    silent = policy.seen[1]
    assert silent.rate_per_s == Sample(0.0, 20.0)
    assert silent.isl_tokens == silent.isl_cv2 == silent.ttft_s == Absent("no first token in the window")
    assert silent.osl_tokens == Absent("no finished request in the window")
    assert silent.itl_s == Absent("no token after a first one in the window")


def test_the_spread_of_prompt_lengths_is_the_windows_own() -> None:
    policy = Script({})
    simulate([Request(0.0, 100, 1), Request(1.0, 300, 1)], policy, FLEET, TARGETS, interval_s=10)

    assert policy.seen[0].isl_cv2 == Sample(near(0.25), 10.0)  # mean 200, deviation 100


# --- judging, baselines, words -----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 20)), min_size=1, max_size=30)
)
def test_finished_requests_are_judged_as_the_lifecycle_does(raw: list[tuple[float, float, float, int]]) -> None:
    ledger, verdicts = Ledger(), []
    for arrival_s, until_first_s, until_last_s, osl in raw:
        first_s = arrival_s + until_first_s
        last_s = first_s + until_last_s * (osl > 1)
        flight = Flight(arrival_s, 10, osl, arrival_s, first_s, first_s, last_s)
        ledger.arrive(flight)
        ledger.finish(flight)
        record = RequestRecord(arrival_s).started(arrival_s).produced(1, first_s)
        if osl > 1:
            record = record.produced(osl - 1, last_s)
        verdicts.append(verdict(record.ended("finished", last_s), TARGETS, last_s))

    assert ledger.judge(TARGETS, 10.0).attainment == Attainment.of(verdicts)


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


def test_the_report_tells_share_cost_and_reasons() -> None:
    policy = Script({10.0: Order({Role.PREFILL: 2}, (Cause("forecast", "more is coming"),))})

    text = report(simulate(spread(31, 1.0), policy, FLEET, TARGETS, interval_s=10), TARGETS, all_actions=False)

    assert text.splitlines() == [
        "good       100.00% of 30 requests met both targets, objective 95%",
        "TTFT       p50 100.0 ms, p95 100.0 ms, p99 100.0 ms, target 150 ms",
        "ITL        p50 10.0 ms, p95 10.0 ms, p99 10.0 ms, target 20 ms (a request's mean gap)",
        "cost       0.02 GPU-hours in 0:00:30, at most 3 GPUs",
        "requests   31 arrived: 30 finished, 0 refused as longer than the KV cache, 1 in flight",
        "reasons    in 3 decisions: forecast 1",
        "scaling    1 action",
        "  0:00:10  prefill 1 -> 2  more is coming",
    ]


def test_a_long_list_of_actions_is_cut_to_the_largest_in_order_of_time() -> None:
    orders = {10.0 * i: Order({Role.DECODE: 1 + i % 2 + 5 * (i == 7)}) for i in range(1, 13)}
    result: Result = simulate(spread(121, 1.0), Script(orders), FLEET, TARGETS, interval_s=10)

    short = report(result, TARGETS, all_actions=False).splitlines()
    whole = report(result, TARGETS, all_actions=True).splitlines()

    assert [line for line in short if "->" in line] == [line for line in whole if line in short and "->" in line]
    assert sum("->" in line for line in short) == 8
    assert sum("->" in line for line in whole) == 12
    assert any("2 -> 7" in line or "1 -> 7" in line for line in short)
