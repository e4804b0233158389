"""From samples to readings: what may be believed, and why not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builders import pool_samples, service_samples

from planner.scaling.observe import observe
from planner.scaling.reading import Missing, Stale, Valid
from planner.scaling.settings import ObserveSettings
from planner.scaling.types import Absent, Replicas, Role, Sample, ServiceSamples, Start

SETTINGS = ObserveSettings(max_age_s=90)
NOW_S = 1000.0


def test_a_sound_sample_is_valid() -> None:
    seen = observe(service_samples(NOW_S, rate_per_s=10), SETTINGS, NOW_S)

    assert seen.rate_per_s == Valid(10.0, NOW_S)
    assert seen.pools[Role.DECODE].replicas == Valid(Replicas(wanted=2, ready=2), NOW_S)


@pytest.mark.parametrize(
    ("sampled", "reading"),
    [
        pytest.param(Absent("HTTP 503"), Missing("HTTP 503"), id="absent"),
        pytest.param(Sample(math.nan, NOW_S), Missing("the sample is nan"), id="nan"),
        pytest.param(Sample(math.inf, NOW_S), Missing("the sample is inf"), id="infinite"),
        pytest.param(Sample(-1.0, NOW_S), Missing("the sample is negative: -1.0"), id="negative"),
        pytest.param(Sample(5.0, 900), Stale(5.0, 900, "100 s old, believed for 90 s"), id="old"),
        pytest.param(Sample(5.0, 910), Valid(5.0, 910), id="just young enough"),
        pytest.param(
            Sample(5.0, 1100), Stale(5.0, 1100, "100 s ahead of this clock, believed for 90 s"), id="from the future"
        ),
    ],
)
def test_a_reading_says_what_its_sample_is_worth(sampled: Sample | Absent, reading: object) -> None:
    samples = replace(service_samples(NOW_S), rate_per_s=sampled)

    assert observe(samples, SETTINGS, NOW_S).rate_per_s == reading


def test_a_latency_of_zero_is_no_measurement() -> None:
    assert observe(service_samples(NOW_S, ttft_s=0), SETTINGS, NOW_S).ttft_s == Missing("the sample is 0")


def test_one_missing_count_makes_the_pool_missing() -> None:
    pool = replace(pool_samples(NOW_S), draining=Absent("time-out"))
    seen = observe(replace(service_samples(NOW_S), pools={Role.DECODE: pool}), SETTINGS, NOW_S)

    assert seen.pools[Role.DECODE].replicas == Missing("draining: time-out")


@pytest.mark.parametrize(
    ("told", "failing"),
    [
        pytest.param(Sample(1, NOW_S), 1, id="told"),
        pytest.param(Sample(0, NOW_S), 0, id="none"),
        pytest.param(Absent("the orchestrator does not tell"), None, id="not told"),
        pytest.param(Sample(math.nan, NOW_S), None, id="nan"),
        pytest.param(Sample(1, NOW_S - 600), None, id="old"),
    ],
)
def test_replicas_that_fail_are_a_number_or_unknown_and_spoil_no_other_count(
    told: Sample | Absent, failing: int | None
) -> None:
    pool = replace(pool_samples(NOW_S, wanted=3, starting=1), failing=told)
    seen = observe(replace(service_samples(NOW_S), pools={Role.DECODE: pool}), SETTINGS, NOW_S)

    assert seen.pools[Role.DECODE].replicas == Valid(Replicas(wanted=3, ready=2, starting=1, failing=failing), NOW_S)


def test_what_else_an_orchestrator_tells_is_passed_on() -> None:
    start = Start("3f2a91bc", NOW_S - 10, 90)
    pools = {role: pool_samples(NOW_S, pending_go_first=1) for role in (Role.PREFILL, Role.DECODE)}
    samples = replace(service_samples(NOW_S, pools=pools), starts={Role.DECODE: (start,)})
    seen = observe(samples, SETTINGS, NOW_S).pools

    assert (seen[Role.PREFILL].starts, seen[Role.DECODE].starts) == (None, (start,))
    assert seen[Role.DECODE].replicas == Valid(Replicas(wanted=2, ready=2, pending_go_first=True), NOW_S)


def with_decode(rate_per_s: float, **counts: float) -> ServiceSamples:
    return service_samples(NOW_S, rate_per_s=rate_per_s, pools={Role.DECODE: pool_samples(NOW_S, **counts)})


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        pytest.param(with_decode(10), Valid(10.0, NOW_S), id="all report, load"),
        pytest.param(with_decode(0, running=0), Valid(0.0, NOW_S), id="all report, idle"),
        pytest.param(
            with_decode(0, waiting=3, running=4),
            Stale(0.0, NOW_S, "no arrivals while 7 requests are in the system"),
            id="all report, stalled",
        ),
        pytest.param(
            with_decode(10, ready=5, reporting=3),
            Stale(10.0, NOW_S, "decode: 3 of 5 Ready replicas report"),
            id="some report",
        ),
        pytest.param(
            with_decode(0, running=0, ready=5, reporting=3),
            Stale(0.0, NOW_S, "decode: 3 of 5 Ready replicas report"),
            id="some report, nothing seen",
        ),
        pytest.param(
            with_decode(0, running=0, ready=5, reporting=0),
            Missing("decode: 0 of 5 Ready replicas report"),
            id="none report",
        ),
    ],
)
def test_the_load_is_judged_by_who_reports_and_what_is_in_the_system(samples: ServiceSamples, rate: object) -> None:
    assert observe(samples, SETTINGS, NOW_S).rate_per_s == rate


def test_no_arrivals_with_an_unknown_queue_are_not_believed() -> None:
    pool = replace(pool_samples(NOW_S), waiting=Absent("no such series"))
    samples = replace(service_samples(NOW_S, rate_per_s=0), pools={Role.DECODE: pool})

    expected = Stale(0.0, NOW_S, "no arrivals, and decode waiting is unknown (no such series)")
    assert observe(samples, SETTINGS, NOW_S).rate_per_s == expected


def test_unknown_coverage_makes_the_load_stale() -> None:
    pool = replace(pool_samples(NOW_S), reporting=Absent("no such series"))
    seen = observe(replace(service_samples(NOW_S), pools={Role.DECODE: pool}), SETTINGS, NOW_S)

    assert seen.rate_per_s == Stale(10.0, NOW_S, "decode: the reporting replicas are unknown (no such series)")
    assert seen.pools[Role.DECODE].waiting == Stale(0.0, NOW_S, "the reporting replicas are unknown (no such series)")
