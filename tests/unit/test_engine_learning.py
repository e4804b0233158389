"""When a model is fitted anew, and which steps are kept for it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.buffer import SampleBuffer
from planner.engine.learning import Evidence, Learning, Refit, Why, refit
from planner.engine.settings import SLASchedulerConfig
from planner.engine.step import Step

ONLINE = SLASchedulerConfig()
HYBRID = SLASchedulerConfig(mode="hybrid", pretrained_model_path="model.json")
FROZEN = SLASchedulerConfig(pretrained_model_path="model.json")
BAD = Evidence(samples=50, has_model=True, mape=0.2, drifted=True)


@pytest.mark.parametrize(
    ("config", "evidence", "why"),
    [
        pytest.param(FROZEN, BAD, "mode frozen: the model stays as it is", id="frozen"),
        pytest.param(ONLINE, replace(BAD, samples=49), "49 new samples, 50 needed", id="few samples"),
        pytest.param(ONLINE, Evidence(50, False, None, False), "no model yet, and 50 samples", id="no model"),
        pytest.param(ONLINE, replace(BAD, mape=None), "the model has predicted nothing lately", id="no predictions"),
        pytest.param(ONLINE, replace(BAD, mape=0.12), "the error of 12.0% is within 15.0%", id="online, within"),
        pytest.param(
            HYBRID,
            replace(BAD, mape=0.12),
            "the error of 12.0% is above 10.0% and beyond the model's own residuals",
            id="hybrid, above",
        ),
        pytest.param(
            ONLINE,
            replace(BAD, drifted=False),
            "the error of 20.0% is above 15.0%, but no larger than the model's own residuals",
            id="scatter",
        ),
    ],
)
def test_why_a_refit_is_due_or_not(config: SLASchedulerConfig, evidence: Evidence, why: str) -> None:
    state, decision = refit(Learning(), 100.0, evidence, config)

    assert str(decision) == why
    assert decision.due == (decision.why in (Why.DRIFTED, Why.NO_MODEL))
    assert state == (Learning(100.0, 30.0) if decision.due else Learning())


def test_after_a_refit_the_next_one_waits() -> None:
    assert refit(Learning(100.0, 30.0), 110.0, BAD, ONLINE) == (
        Learning(100.0, 30.0),
        Refit(
            False,
            Why.WAITING,
            {"samples": 50, "min_samples": 50, "threshold": 0.15, "left_s": 20.0, "mape": 0.2},
        ),
    )


def test_what_no_refit_mends_is_refitted_ever_more_seldom() -> None:
    state, tried_s = Learning(), []
    for now_s in range(0, 4 * 3600, 5):
        state, decision = refit(state, now_s, BAD, ONLINE)
        if decision.due:
            tried_s.append(now_s)

    assert tried_s == [0, 30, 90, 210, 450, 930, 1890, 3810, 7410, 11010]


def test_a_refit_that_held_makes_the_next_wait_short_again() -> None:
    good = replace(BAD, mape=0.05)
    waiting = Learning(1000.0, 960.0)

    too_early, _ = refit(waiting, 1500.0, good, ONLINE)
    held, _ = refit(waiting, 1960.0, good, ONLINE)
    again, decision = refit(held, 1970.0, BAD, ONLINE)

    assert (too_early, held) == (waiting, Learning(1000.0, 0.0))
    assert (again, decision.due) == (Learning(1970.0, 30.0), True)


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 1), st.booleans(), st.integers(0, 200)), max_size=60))
def test_two_refits_are_never_closer_than_the_first_wait(
    lately: list[tuple[float, float, bool, int]],
) -> None:
    state, now_s, tried_s = Learning(), 0.0, []
    for passed_s, mape, drifted, samples in lately:
        now_s += passed_s
        state, decision = refit(state, now_s, Evidence(samples, True, mape, drifted), ONLINE)
        if decision.due:
            tried_s.append(now_s)

    assert all(later - earlier >= 30.0 * (1 - 1e-12) for earlier, later in pairwise(tried_s))


# --- the sample buffer ------------------------------------------------------------------------------------------


def decode(requests: int) -> Step:
    return Step(requests=requests, tokens=requests, kv_tokens=100 * requests)


MIXED = Step().plus_chunk(0, 300)


def test_what_is_kept_comes_back_in_order() -> None:
    buffer = SampleBuffer(10)
    buffer.add(decode(3), 5.0)
    buffer.add(MIXED, 40.0)

    steps = buffer.steps()

    assert [steps.at(i) for i in range(len(steps))] == [decode(3), MIXED]
    assert steps.took_ms.tolist() == [5.0, 40.0]


def test_minutes_of_decodes_do_not_push_out_the_chunks() -> None:
    buffer = SampleBuffer(20)
    for _ in range(5):
        buffer.add(MIXED, 40.0)
    for i in range(1000):
        buffer.add(decode(4), float(i + 1))

    steps = buffer.steps()

    assert buffer.strata() == {("mixed", 8): 5, ("decode", 2): 15}
    assert steps.took_ms.tolist() == [40.0] * 5 + [float(i) for i in range(986, 1001)]


def test_strata_that_keep_coming_end_equally_full() -> None:
    buffer = SampleBuffer(30)
    for _ in range(100):
        for step in (decode(1), decode(20), MIXED):
            buffer.add(step, 5.0)

    assert buffer.strata() == {("decode", 0): 10, ("decode", 4): 10, ("mixed", 8): 10}


@pytest.mark.parametrize("took_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_what_has_no_time_is_no_sample(took_ms: float) -> None:
    buffer = SampleBuffer(10)
    buffer.add(MIXED, took_ms)
    buffer.add(Step(), 5.0)

    assert (len(buffer), len(buffer.steps())) == (0, 0)


some_steps = st.one_of(
    st.integers(1, 300).map(decode), st.integers(1, 3000).map(lambda tokens: Step().plus_chunk(0, tokens))
)


@given(st.integers(1, 12), st.lists(some_steps, max_size=60))
def test_it_is_bounded_keeps_the_newest_and_no_stratum_pushes_out_a_smaller_one(size: int, came: list[Step]) -> None:
    buffer = SampleBuffer(size)
    for i, step in enumerate(came):
        before = buffer.strata()
        buffer.add(step, i + 1.0)
        shrunk = [held for stratum, held in before.items() if buffer.strata().get(stratum, 0) < held]
        assert all(held == max(before.values()) for held in shrunk)

    steps = buffer.steps()
    kept = [int(took_ms) - 1 for took_ms in steps.took_ms]
    assert len(buffer) == len(steps) == sum(buffer.strata().values()) == min(size, len(came))
    assert kept == sorted(kept)
    assert [steps.at(i) for i in range(len(steps))] == [came[i] for i in kept]
    assert not came or kept[-1] == len(came) - 1


def test_what_was_taken_out_does_not_change_any_more() -> None:
    buffer = SampleBuffer(1)
    buffer.add(MIXED, 40.0)
    before = buffer.steps()
    buffer.add(decode(1), 5.0)

    assert np.array_equal(before.took_ms, [40.0])


def test_a_full_buffer_takes_less_than_two_megabytes() -> None:
    tracemalloc.start()
    try:
        buffer = SampleBuffer(10_000)
        for i in range(12_000):
            buffer.add(decode(1 + i % 500), 5.0)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 2_000_000
