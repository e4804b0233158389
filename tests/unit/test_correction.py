"""Correction factors: moved by hardware, not by load, and only on sound evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import CORRECTION, DEMAND, SIZING, observation, replicas, service_settings

from planner.scaling.burstiness import Burstiness
from planner.scaling.correction import Correction, correct
from planner.scaling.reading import Missing, Stale, Valid
from planner.scaling.size import Factors
from planner.scaling.size.predict import predict_itl, predict_ttft
from planner.scaling.types import Observation, Replicas, Role

SERVICE = service_settings()
PRESENT = replace(DEMAND, rate_per_s=10)
EXPECTED_TTFT_S = predict_ttft(PRESENT, 2, Role.PREFILL, SERVICE).latency_s
EXPECTED_ITL_S = predict_itl(PRESENT, 2, Role.DECODE, SERVICE).latency_s


POISSON = Burstiness(1.0)
SILENT = Missing("this engine does not publish it")


def seen(ttft: float = 1.0, itl: float = 1.0) -> Observation:
    """Latencies as multiples of what the model expects, of an engine that does not publish the time in the queue."""
    return replace(
        observation(30),
        ttft_s=Valid(EXPECTED_TTFT_S * ttft, 30),
        queue_s=SILENT,
        itl_s=Valid(EXPECTED_ITL_S * itl, 30),
    )


def corrected(observed: Observation, factors: Factors | None = None) -> Correction:
    return correct(factors or Factors(), POISSON, observed, PRESENT, SERVICE)


def test_hardware_as_profiled_has_factor_one() -> None:
    factors = corrected(seen()).factors

    assert factors.ttft == pytest.approx(1)
    assert factors.itl == pytest.approx(1)


def test_slower_hardware_moves_the_factor_by_the_smoothing() -> None:
    """Smoothing 0.5: from 1 half-way to 1.6, then half-way again."""
    first = corrected(seen(ttft=1.6)).factors
    second = corrected(seen(ttft=1.6), first).factors

    assert first.ttft == pytest.approx(1.3)
    assert second.ttft == pytest.approx(1.45)
    assert second.itl == pytest.approx(1)


@pytest.mark.parametrize(("ratio", "factor"), [(100, 2.0), (0.01, 0.75)], ids=["far slower", "far faster"])
def test_an_absurd_ratio_is_clamped(ratio: float, factor: float) -> None:
    result = corrected(seen(itl=ratio))

    assert result.factors.itl == pytest.approx(factor)
    assert "clamped to" in result.itl_note


def test_waiting_is_expected_and_does_not_count_as_slow_hardware() -> None:
    busy = replace(DEMAND, rate_per_s=25)  # 1.5 of 2 replicas
    idle_s = predict_ttft(replace(DEMAND, rate_per_s=0.1), 2, Role.PREFILL, SERVICE).latency_s
    busy_s = predict_ttft(busy, 2, Role.PREFILL, SERVICE).latency_s
    observed = replace(observation(30, rate_per_s=25), ttft_s=Valid(busy_s, 30), queue_s=SILENT)

    assert busy_s > 1.2 * idle_s
    assert correct(Factors(), POISSON, observed, busy, SERVICE).factors.ttft == pytest.approx(1)


def slow_with(prefill: Replicas, decode: Replicas) -> Observation:
    return replace(seen(ttft=2), pools=observation(counts={Role.PREFILL: prefill, Role.DECODE: decode}).pools)


@pytest.mark.parametrize(
    ("observed", "note"),
    [
        pytest.param(
            replace(seen(ttft=2), rate_per_s=Stale(10.0, 0, "old")), "the load is stale (old)", id="load not valid"
        ),
        pytest.param(
            replace(seen(ttft=2), rate_per_s=Valid(0.5, 30)), "15 requests in the window, 20 needed", id="few requests"
        ),
        pytest.param(
            slow_with(replicas(2), replicas(3, ready=2, starting=1)), "decode replicas are changing", id="starting"
        ),
        pytest.param(
            slow_with(replicas(2, rolling_out=True), replicas(2)), "prefill replicas are changing", id="rollout"
        ),
        pytest.param(
            replace(seen(), ttft_s=Missing("no series")), "the latency is missing (no series)", id="no latency"
        ),
    ],
)
def test_a_factor_is_kept_when_nothing_can_be_learnt(observed: Observation, note: str) -> None:
    result = corrected(observed, Factors(ttft=1.2, itl=1.1))

    assert result.factors.ttft == 1.2
    assert note in result.ttft_note


def test_an_overloaded_fleet_says_nothing_about_hardware() -> None:
    overload = replace(DEMAND, rate_per_s=40)
    observed = replace(observation(30, rate_per_s=40), ttft_s=Valid(5.0, 30), queue_s=SILENT)

    result = correct(Factors(), POISSON, observed, overload, SERVICE)

    assert result.factors.ttft == 1
    assert result.ttft_note == "kept: predicted utilisation 122% says more of load than of hardware"


@pytest.mark.parametrize("rate_per_s", [10, 40], ids=["clumps", "overload"])
def test_time_in_the_queue_is_taken_off_where_it_is_published(rate_per_s: float) -> None:
    """TTFT of 5 s of which 4.939 s were spent waiting: the hardware is as profiled, however long the queue."""
    alone_s = predict_ttft(PRESENT, 2, Role.PREFILL, SERVICE).service_s
    observed = replace(
        observation(30, rate_per_s=rate_per_s), ttft_s=Valid(5.0, 30), queue_s=Valid(5.0 - alone_s * 1.2, 30)
    )

    result = correct(Factors(), POISSON, observed, replace(DEMAND, rate_per_s=rate_per_s), SERVICE)

    assert result.factors.ttft == pytest.approx(1.1)
    assert result.ttft_note.endswith("ratio 1.20")


def test_a_queue_longer_than_the_latency_it_is_part_of_says_nothing() -> None:
    observed = replace(observation(30), ttft_s=Valid(0.5, 30), queue_s=Valid(0.6, 30))

    result = corrected(observed)

    assert result.factors.ttft == 1
    assert "the time in the queue, 0.600 s, is no less than TTFT, 0.500 s" in result.ttft_note


def test_correction_can_be_turned_off() -> None:
    off = replace(SERVICE, correction=replace(CORRECTION, enabled=False))

    result = correct(Factors(1.5, 1.5), Burstiness(9.0), seen(ttft=2), PRESENT, off)

    assert result.factors == Factors()
    assert result.burstiness.arrival_cv2 == SIZING.arrival_cv2
    assert {result.ttft_note, result.itl_note, result.arrival_note} == {"correction is off"}
