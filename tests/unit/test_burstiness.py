"""Clumps of arrivals, seen by the wait they cause."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from builders import DEMAND, TARGETS, observation, replicas, service_settings
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.burstiness import MOST, OVERHEAD_SHARE, Burstiness, learn
from planner.scaling.reading import Missing, Reading, Stale, Valid
from planner.scaling.settings import Routing
from planner.scaling.size import Factors, size_pool
from planner.scaling.size.predict import predict_ttft
from planner.scaling.types import Observation, PoolObservation, Replicas, Role

SERVICE = service_settings()
PRESENT = replace(DEMAND, rate_per_s=10)
QUIET = Burstiness(1.0, queue_empty=True)


def waited(arrival_cv2: float) -> float:
    """Mean time before the prefill of two replicas when arrivals vary so, the engine's own overhead included."""
    expected = predict_ttft(replace(PRESENT, arrival_cv2=arrival_cv2), 2, Role.PREFILL, SERVICE)
    return expected.wait_s + OVERHEAD_SHARE * expected.service_s


def seen(queue: Reading[float], waiting: float = 0, counts: Replicas | None = None) -> Observation:
    base = observation(30, counts={Role.PREFILL: counts or replicas(2), Role.DECODE: replicas(2)})
    prefill = base.pools[Role.PREFILL]
    pools = {**base.pools, Role.PREFILL: PoolObservation(prefill.replicas, Valid(waiting, 30), prefill.running)}
    return replace(base, queue_s=queue, pools=pools)


@pytest.mark.parametrize("arrival_cv2", [1.0, 3.0, 12.0, 60.0])
def test_the_wait_that_clumps_cause_tells_how_large_they_are(arrival_cv2: float) -> None:
    known = QUIET
    for _ in range(200):
        known, _ = learn(known, seen(Valid(waited(arrival_cv2), 30)), PRESENT, 1.0, SERVICE)

    assert known.arrival_cv2 == pytest.approx(arrival_cv2, rel=0.06)


def test_one_window_is_weighted_by_its_requests() -> None:
    """300 requests of Ca2 MOST against 200 * 0.5^(30/1800) of 1: (300 * 100 + 197.7) / 497.7."""
    known, note = learn(QUIET, seen(Valid(30.0, 30)), PRESENT, 1.0, SERVICE)

    assert known.arrival_cv2 == pytest.approx((300 * MOST + 197.7) / 497.7, rel=1e-3)
    assert known.requests == pytest.approx(497.7, rel=1e-3)
    assert note == "30000 ms in the queue, as of Ca2 100.0"


@pytest.mark.parametrize("queue_s", [0.0, 0.010], ids=["none", "the engine's own"])
def test_no_wait_is_poisson_at_most(queue_s: float) -> None:
    known, note = learn(replace(QUIET, arrival_cv2=5.0), seen(Valid(queue_s, 30)), PRESENT, 1.0, SERVICE)

    assert known.arrival_cv2 < 5.0
    assert note.endswith("as of Ca2 1.0")


CLUMPED = Valid(waited(20.0), 30)


@pytest.mark.parametrize(
    ("known", "observed", "rate_per_s", "note"),
    [
        pytest.param(QUIET, seen(Missing("no such series")), 10, "missing (no such series)", id="queue not published"),
        pytest.param(QUIET, seen(Stale(1.0, 0, "old")), 10, "not valid", id="queue stale"),
        pytest.param(Burstiness(1.0), seen(CLUMPED), 10, "waited when the window began", id="a backlog from before"),
        pytest.param(QUIET, seen(CLUMPED), 30, "more than 80% busy", id="overload"),
        pytest.param(
            QUIET, seen(CLUMPED, counts=replicas(3, ready=2, starting=1)), 10, "replicas are changing", id="starting"
        ),
        pytest.param(QUIET, seen(CLUMPED, counts=replicas(1, ready=0)), 10, "replicas are changing", id="none ready"),
    ],
)
def test_a_window_that_shows_no_clumps_of_its_own_teaches_nothing(
    known: Burstiness, observed: Observation, rate_per_s: float, note: str
) -> None:
    after, said = learn(known, observed, replace(PRESENT, rate_per_s=rate_per_s), 1.0, SERVICE)

    assert (after.arrival_cv2, after.requests) == (known.arrival_cv2, known.requests)
    assert note in said


def test_the_queue_at_this_tick_decides_about_the_next_window() -> None:
    assert learn(QUIET, seen(CLUMPED, waiting=3), PRESENT, 1.0, SERVICE)[0].queue_empty is False
    assert learn(QUIET, seen(CLUMPED, waiting=0), PRESENT, 1.0, SERVICE)[0].queue_empty is True


@given(
    role=st.sampled_from([Role.PREFILL, Role.AGGREGATED]),
    rate_per_s=st.floats(0, 200),
    arrival_cv2=st.floats(0, 50),
    more=st.floats(1, 10),
    routing=st.sampled_from(get_args(Routing)),
)
def test_burstier_arrivals_never_need_fewer_replicas(
    role: Role, rate_per_s: float, arrival_cv2: float, more: float, routing: Routing
) -> None:
    sizing = replace(SERVICE.sizing, routing=routing)
    even, clumped = (
        size_pool(
            role,
            replace(DEMAND, rate_per_s=rate_per_s, arrival_cv2=cv2),
            Factors(),
            TARGETS,
            SERVICE.profile,
            sizing,
        ).replicas
        for cv2 in (arrival_cv2, arrival_cv2 * more)
    )

    assert clumped >= even
