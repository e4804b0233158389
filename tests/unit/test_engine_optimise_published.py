"""The published optimiser, phase by phase, with its limits and its flaws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.latency.saturation import Saturation
from planner.engine.latency.types import Seen
from planner.engine.optimise.published import (
    NOTHING,
    PublishedConfig,
    PublishedSchedule,
    RealSchedulerOptimizer,
    latency_ms,
)
from planner.engine.optimise.requests import EngineRequest

NOWHERE = Seen({}, {})
SATURATED = Saturation(10, 50, 50, 0, 1, 5, 0.5, 0, 1, 1, NOWHERE)
"""Saturated from one token on: T = 5 + S/10 + B/2, exact in floating point."""
RUNNING = [
    EngineRequest("d1", 100, 120, 119),
    EngineRequest("p long", 300, 300, 0),
    EngineRequest("d2", 100, 120, 119),
    EngineRequest("p first", 150, 150, 50, priority=1),
]
WAITING = [EngineRequest("w long", 200, 200), EngineRequest("w first", 50, 50, priority=5)]


def limits(search: int = 32, *, tokens: int = 512, requests: int = 8, threshold: int = 256) -> PublishedConfig:
    return PublishedConfig(tokens, requests, threshold, search, timeout_ms=1e6)


def optimise(target: float, config: PublishedConfig) -> PublishedSchedule:
    return RealSchedulerOptimizer(SATURATED, config).optimize_schedule(RUNNING, WAITING, target)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        pytest.param(
            # S = 430 gives 50 ms at B = 4: 2 for the decodes, 100 for the first, at most 256 for the long one, and 72
            # left over, for which there is no slot: 5 + 35.8 + 2.
            4,
            PublishedSchedule({"d1": 1, "d2": 1, "p first": 100, "p long": 256}, (), {}, 5 + 35.8 + 2, True, 4, 1),
            id="batch 4",
        ),
        pytest.param(
            # S = 425 at B = 5: 67 are left, enough for the whole prompt of 50: 5 + 40.8 + 2.5.
            5,
            PublishedSchedule(
                {"d1": 1, "d2": 1, "p first": 100, "p long": 256},
                ("w first",),
                {"w first": 50},
                5 + 40.8 + 2.5,
                True,
                5,
                2,
            ),
            id="batch 5 is nearer",
        ),
        pytest.param(
            # S = 420 at B = 6: 12 are left behind it, below the 64 that the long one needs at least: as with 5.
            6,
            PublishedSchedule(
                {"d1": 1, "d2": 1, "p first": 100, "p long": 256},
                ("w first",),
                {"w first": 50},
                5 + 40.8 + 2.5,
                True,
                5,
                3,
            ),
            id="batch 6 is no nearer",
        ),
    ],
)
def test_the_worked_example_step_by_step(search: int, expected: PublishedSchedule) -> None:
    assert optimise(50.0, limits(search)) == expected


def test_it_stops_at_the_first_batch_within_the_tolerance() -> None:
    """At B = 4 and 40 ms, S = 330: 2 + 100 + 228, exactly."""
    assert optimise(40.0, limits()) == PublishedSchedule(
        {"d1": 1, "d2": 1, "p first": 100, "p long": 228}, (), {}, 40.0, True, 4, 1
    )


@pytest.mark.parametrize(
    ("config", "schedule"),
    [
        pytest.param(limits(tokens=1), {"d1": 1}, id="one token"),
        pytest.param(limits(tokens=50), {"d1": 1, "d2": 1, "p first": 48}, id="tokens"),
        pytest.param(limits(4, threshold=20), {"d1": 1, "d2": 1, "p first": 20, "p long": 20}, id="threshold"),
        pytest.param(limits(4, threshold=0), {"d1": 1, "d2": 1, "p first": 100, "p long": 300}, id="no threshold"),
    ],
)
def test_its_limits_hold(config: PublishedConfig, schedule: dict[str, int]) -> None:
    assert optimise(90.0, config).running_chunk_sizes == schedule


def test_one_line_is_logged_for_each_decision() -> None:
    lines: list[str] = []
    optimizer = RealSchedulerOptimizer(SATURATED, limits(), log=lines.append)

    optimizer.optimize_schedule(RUNNING, WAITING, 40.0)
    optimizer.optimize_schedule([], [], 40.0)

    assert lines == [
        "target 40.0 ms: batch 4, tokens 330, predicted 40.0 ms, running 4, admitted 0, searched 1, feasible",
        "target 40.0 ms: batch 0, tokens 0, predicted 0.0 ms, running 0, admitted 0, searched 0, infeasible",
    ]


def test_the_search_stops_when_its_time_is_over() -> None:
    def clock() -> Iterator[float]:
        yield from (0.0, 0.0005, 0.0011)

    ticks = clock()
    config = PublishedConfig(512, 8, 256, 32, timeout_ms=1.0)
    optimizer = RealSchedulerOptimizer(SATURATED, config, clock_s=lambda: next(ticks))

    schedule = optimizer.optimize_schedule(RUNNING, WAITING, 50.0)

    assert (schedule.batch_size, schedule.searched, schedule.timed_out) == (4, 1, True)


# --- its flaws --------------------------------------------------------------------------------------------------


def test_with_more_running_than_it_searches_it_finds_nothing() -> None:
    assert optimise(50.0, limits(3)) == NOTHING


def test_what_recomputes_its_output_is_taken_for_a_decode_of_one_token() -> None:
    preempted = EngineRequest("a", 100, 175, 100)

    schedule = RealSchedulerOptimizer(SATURATED, limits()).optimize_schedule([preempted], [], 50.0)

    assert preempted.in_prefill
    assert schedule.running_chunk_sizes == {"a": 1}


def test_decodes_alone_over_the_target_starve_every_prompt() -> None:
    schedule = optimise(7.2, limits(4))

    assert schedule.running_chunk_sizes == {"d1": 1, "d2": 1}


def test_it_may_overshoot() -> None:
    """Two decodes take 6.2 ms whatever the target."""
    running = [each for each in RUNNING if each.id in ("d1", "d2")]

    schedule = RealSchedulerOptimizer(SATURATED, limits()).optimize_schedule(running, [], 2.0)

    assert (schedule.predicted_latency, schedule.feasible) == (6.2, False)


# --- properties -------------------------------------------------------------------------------------------------

requests = st.builds(
    lambda prompt, done, out, priority: (prompt, prompt + out, min(done, prompt + out), priority),
    st.integers(1, 500), st.integers(0, 600), st.integers(0, 50), st.integers(-2, 2),
)  # fmt: skip
many = st.lists(requests, max_size=12)


def named(prefix: str, drawn: list[tuple[int, int, int, int]], *, begun: bool) -> list[EngineRequest]:
    return [
        EngineRequest(f"{prefix}{i}", prompt, tokens if begun else prompt, done if begun else 0, priority=priority)
        for i, (prompt, tokens, done, priority) in enumerate(drawn)
    ]


configs = st.builds(
    PublishedConfig,
    st.integers(1, 600),
    st.integers(1, 16),
    st.sampled_from([0, 1, 100]),
    st.integers(1, 16),
    st.just(1e6),
)


@given(many, many, st.floats(1, 100), configs)
def test_limits_order_and_repetition(
    running: list[tuple[int, int, int, int]],
    waiting: list[tuple[int, int, int, int]],
    target_ms: float,
    config: PublishedConfig,
) -> None:
    optimizer = RealSchedulerOptimizer(SATURATED, config)
    run, wait = named("r", running, begun=True), named("w", waiting, begun=False)

    schedule = optimizer.optimize_schedule(run, wait, target_ms)

    chunks = {**schedule.running_chunk_sizes, **schedule.waiting_chunk_sizes}
    decoding = {each.id for each in run if each.num_computed_tokens >= each.num_prompt_tokens}
    left = {each.id: each.num_prompt_tokens - each.num_computed_tokens for each in (*run, *wait)}
    cap = config.long_prefill_token_threshold
    assert schedule == optimizer.optimize_schedule(run, wait, target_ms)
    assert schedule.tokens <= config.max_num_scheduled_tokens
    assert len(run) + len(schedule.scheduled_waiting_ids) <= max(len(run), config.max_num_running_reqs)
    assert schedule.batch_size <= config.max_batch_search
    assert tuple(schedule.waiting_chunk_sizes) == schedule.scheduled_waiting_ids
    for name, chunk in chunks.items():
        assert chunk == 1 if name in decoding else 1 <= chunk <= min(left[name], cap or left[name])
    if chunks.keys() - decoding:
        assert decoding <= chunks.keys()


@given(
    st.integers(1, 500), st.integers(1, 8000), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 5), st.floats(0, 5)
)
def test_the_form_for_one_batch_is_the_published_one(
    requests: int, tokens: int, k_b: float, k_s: float, w_0: float, tau_s: float
) -> None:
    model = Saturation(3, k_b, k_s, w_0, 2, 1, 0.5, tau_s, 12, 256, NOWHERE)

    expected = float(model.published_ms(np.array([float(requests)]), np.array([float(tokens)]))[0])

    assert latency_ms(model, requests, tokens) == pytest.approx(expected)
