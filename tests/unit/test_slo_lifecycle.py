import math
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.slo.lifecycle import (
    Latencies,
    LifecycleError,
    Outcome,
    RequestRecord,
    Verdict,
    inter_token_latencies_s,
    itl_verdict,
    latencies,
    ttft_verdict,
    verdict,
)
from planner.slo.targets import Targets

TARGETS = Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=50)
"""First token within 0.5 s, then a token each 0.05 s."""

GAPS_S = st.lists(st.integers(0, 400).map(lambda n: n / 256), min_size=1, max_size=20)
"""Binary fractions, so that sums and differences are exact."""
OUTCOMES = st.sampled_from(["finished", "failed", "cancelled"])


def _generated(arrival_s: float, token_at_s: list[float]) -> RequestRecord:
    request = RequestRecord(arrival_s)
    for at_s in token_at_s:
        request = request.produced(1, at_s)
    return request


# --- latencies --------------------------------------------------------------------------------------------------


def test_latencies_of_a_finished_request() -> None:
    request = RequestRecord(10.0).started(10.5).produced(1, 11.0).produced(2, 11.5).produced(1, 12.5)

    assert request.ended("finished", 12.5) == RequestRecord(10.0, 10.5, 11.0, 12.5, 4, "finished", 12.5)
    assert latencies(request) == Latencies(queue_s=0.5, prefill_s=0.5, ttft_s=1.0, tpot_s=0.5)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(RequestRecord(1.0), Latencies(None, None, None, None), id="queued: nothing is known"),
        pytest.param(RequestRecord(1.0, 1.5), Latencies(0.5, None, None, None), id="in prefill: its queueing"),
        pytest.param(
            RequestRecord(1.0, None, 2.0, 2.0, 1), Latencies(None, None, 1.0, None), id="start unseen: TTFT alone"
        ),
        pytest.param(
            RequestRecord(1.0, 1.5, 2.0, 2.0, 1, "finished", 2.0),
            Latencies(0.5, 0.5, 1.0, None),
            id="single token: no TPOT",
        ),
        pytest.param(RequestRecord(0.0, 0.0, 0.0, 0.0, 3), Latencies(0.0, 0.0, 0.0, 0.0), id="at once: zero, not None"),
    ],
)
def test_latencies_are_none_where_they_are_not_defined(request_: RequestRecord, expected: Latencies) -> None:
    assert latencies(request_) == expected


@given(gaps_s=GAPS_S)
def test_tpot_is_the_mean_of_the_inter_token_latencies(gaps_s: list[float]) -> None:
    token_at_s = list(accumulate(gaps_s, initial=3.0))

    itls_s = inter_token_latencies_s(token_at_s)

    assert itls_s == gaps_s
    assert latencies(_generated(1.0, token_at_s)).tpot_s == sum(itls_s) / len(itls_s)


@pytest.mark.parametrize("token_at_s", [[], [1.0]], ids=["no token", "one token"])
def test_fewer_than_two_tokens_have_no_gap(token_at_s: list[float]) -> None:
    assert inter_token_latencies_s(token_at_s) == []


def test_a_restart_after_preemption_keeps_the_first_start_of_prefill() -> None:
    assert RequestRecord(1.0).started(2.0).started(5.0) == RequestRecord(1.0, 2.0)


# --- causality --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"arrival_s": 5.0, "first_token_s": 4.0, "last_token_s": 6.0, "output_tokens": 2},
            r"^first_token_s: 4\.0 lies before arrival_s = 5\.0; take all times from one clock$",
            id="first token before arrival",
        ),
        pytest.param(
            {"arrival_s": 5.0, "prefill_start_s": 4.0}, "^prefill_start_s: 4.0 lies before arrival_s", id="early start"
        ),
        pytest.param(
            {"arrival_s": 1.0, "prefill_start_s": 3.0, "first_token_s": 2.0, "last_token_s": 2.0, "output_tokens": 1},
            "^first_token_s: 2.0 lies before prefill_start_s = 3.0",
            id="first token before prefill",
        ),
        pytest.param(
            {"arrival_s": 1.0, "first_token_s": 3.0, "last_token_s": 2.0, "output_tokens": 2},
            "^last_token_s: 2.0 lies before first_token_s = 3.0",
            id="last token before first",
        ),
        pytest.param(
            {"arrival_s": 5.0, "outcome": "failed", "ended_s": 4.0},
            "^ended_s: 4.0 lies before arrival_s",
            id="early end",
        ),
        pytest.param({"arrival_s": math.nan}, "^arrival_s: nan must be a finite time", id="arrival is not a number"),
        pytest.param({"arrival_s": 0.0, "prefill_start_s": math.inf}, "^prefill_start_s: inf must be", id="infinite"),
        pytest.param(
            {"arrival_s": 1.0, "output_tokens": 3},
            "^output_tokens: 3 with first_token_s None and last_token_s None; give both times with the first token",
            id="tokens without times",
        ),
        pytest.param(
            {"arrival_s": 1.0, "first_token_s": 2.0, "last_token_s": 2.0},
            "^output_tokens: 0 with",
            id="times, no token",
        ),
        pytest.param(
            {"arrival_s": 1.0, "first_token_s": 2.0, "output_tokens": 2},
            "^output_tokens: 2 with",
            id="last time missing",
        ),
        pytest.param({"arrival_s": 1.0, "output_tokens": -1}, "^output_tokens: -1 must not be negative", id="negative"),
        pytest.param(
            {"arrival_s": 1.0, "first_token_s": 2.0, "last_token_s": 3.0, "output_tokens": 1},
            "^last_token_s: 3.0 of a single token must equal first_token_s = 2.0$",
            id="one token at two times",
        ),
        pytest.param({"arrival_s": 1.0, "outcome": "failed"}, "^ended_s: None with outcome 'failed'", id="no end time"),
        pytest.param({"arrival_s": 1.0, "ended_s": 2.0}, "^ended_s: 2.0 with outcome None", id="ended, no outcome"),
        pytest.param(
            {"arrival_s": 1.0, "outcome": "finished", "ended_s": 2.0},
            "^outcome: 'finished' without a token",
            id="finished without a token",
        ),
    ],
)
def test_refuses_events_that_contradict_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LifecycleError, match=message):
        RequestRecord(**fields)


def test_refuses_a_token_after_the_end() -> None:
    with pytest.raises(LifecycleError, match=r"^ended_s: 2\.0 lies before last_token_s = 3\.0"):
        RequestRecord(1.0).produced(1, 1.5).ended("finished", 2.0).produced(1, 3.0)


def test_refuses_a_second_end() -> None:
    with pytest.raises(LifecycleError, match=r"^outcome: 'cancelled' after 'finished'; a request ends once$"):
        RequestRecord(1.0).produced(1, 1.5).ended("finished", 2.0).ended("cancelled", 2.0)


def test_refuses_an_event_without_tokens() -> None:
    with pytest.raises(LifecycleError, match=r"^tokens: 0 must be at least 1"):
        RequestRecord(1.0).produced(0, 1.5)


def test_refuses_token_times_that_decrease() -> None:
    with pytest.raises(LifecycleError, match=r"^token_at_s\[2\]: 1\.5 after 2\.0; times must"):
        inter_token_latencies_s([1.0, 2.0, 1.5])


# --- verdicts ---------------------------------------------------------------------------------------------------

QUEUED = RequestRecord(0.0)
PROMPT = RequestRecord(0.0).produced(1, 0.5)
LATE = RequestRecord(0.0).produced(1, 0.625)


@pytest.mark.parametrize(
    ("request_", "now_s", "ttft", "itl", "both"),
    [
        pytest.param(QUEUED, 0.25, "open", "open", "open", id="young and waiting"),
        pytest.param(QUEUED, 0.5, "open", "open", "open", id="waiting for exactly the target"),
        pytest.param(QUEUED, 0.75, "missed", "open", "missed", id="waiting for longer than the target"),
        pytest.param(QUEUED.started(0.1), 0.75, "missed", "open", "missed", id="in prefill past the target"),
        pytest.param(PROMPT, 0.5, "met", "open", "open", id="first token exactly in time"),
        pytest.param(LATE, 0.625, "missed", "open", "missed", id="first token late"),
        pytest.param(PROMPT, 0.6, "met", "missed", "missed", id="second token overdue"),
        pytest.param(PROMPT.produced(7, 0.6), 0.8, "met", "open", "open", id="decoding ahead of pace"),
        pytest.param(PROMPT.produced(7, 0.6), 2.0, "met", "missed", "missed", id="stalled after a good start"),
        pytest.param(PROMPT.ended("finished", 0.5), 9.0, "met", "met", "met", id="single token leaves nothing to miss"),
        pytest.param(PROMPT.produced(4, 0.6).ended("finished", 0.6), 9.0, "met", "met", "met", id="finished in pace"),
        pytest.param(
            PROMPT.produced(1, 0.75).ended("finished", 0.75), 9.0, "met", "missed", "missed", id="slow tokens"
        ),
        pytest.param(
            LATE.produced(9, 0.7).ended("finished", 0.7), 9.0, "missed", "met", "missed", id="late, then fast"
        ),
        pytest.param(QUEUED.ended("failed", 0.1), 0.2, "missed", "missed", "missed", id="failed at once"),
        pytest.param(PROMPT.ended("failed", 0.51), 0.6, "met", "missed", "missed", id="failed after the first token"),
        pytest.param(QUEUED.ended("cancelled", 0.1), 9.0, "open", "open", "open", id="client left while in time"),
        pytest.param(QUEUED.ended("cancelled", 0.75), 0.75, "missed", "open", "missed", id="client tired of waiting"),
        pytest.param(PROMPT.ended("cancelled", 0.53), 9.0, "met", "met", "met", id="client left, tokens in pace"),
        pytest.param(
            PROMPT.ended("cancelled", 0.75), 9.0, "met", "missed", "missed", id="client left a stalled answer"
        ),
    ],
)
def test_verdicts(request_: RequestRecord, now_s: float, ttft: Verdict, itl: Verdict, both: Verdict) -> None:
    assert (
        ttft_verdict(request_, TARGETS, now_s),
        itl_verdict(request_, TARGETS, now_s),
        verdict(request_, TARGETS, now_s),
    ) == (ttft, itl, both)


def test_later_tokens_may_make_up_for_a_stall() -> None:
    stalled = PROMPT
    recovered = PROMPT.produced(9, 0.75)

    assert itl_verdict(stalled, TARGETS, 0.75) == "missed"
    assert itl_verdict(recovered, TARGETS, 0.75) == "open"
    assert itl_verdict(recovered.ended("finished", 0.75), TARGETS, 0.75) == "met"


@given(gaps_s=GAPS_S, outcome=OUTCOMES, later_s=st.integers(0, 1000))
def test_a_request_without_missed_targets_was_never_seen_to_miss_ttft(
    gaps_s: list[float], outcome: Outcome, later_s: int
) -> None:
    first_s, *rest_s = accumulate(gaps_s)
    ended = _generated(0.0, [first_s, *rest_s]).ended(outcome, first_s + sum(gaps_s[1:]))

    final = ttft_verdict(ended, TARGETS, ended.ended_s or 0.0)

    assert ttft_verdict(ended, TARGETS, later_s) == final
    if final == "met":
        assert ttft_verdict(QUEUED, TARGETS, first_s) == "open"
    else:
        assert ttft_verdict(QUEUED, TARGETS, first_s) == "missed"


@given(gaps_s=GAPS_S)
def test_the_pace_seen_as_a_token_arrives_is_that_of_a_request_that_ends_with_it(gaps_s: list[float]) -> None:
    *before_s, last_s = accumulate(gaps_s, initial=1.0)
    waiting = _generated(0.0, before_s)
    finished = waiting.produced(1, last_s).ended("finished", last_s)

    seen_late = itl_verdict(waiting, TARGETS, last_s) == "missed"

    assert seen_late == (itl_verdict(finished, TARGETS, last_s) == "missed")


@given(gaps_s=GAPS_S, outcome=OUTCOMES)
def test_an_ended_request_with_a_token_is_never_open(gaps_s: list[float], outcome: Outcome) -> None:
    token_at_s = list(accumulate(gaps_s))

    ended = _generated(0.0, token_at_s).ended(outcome, token_at_s[-1])

    assert verdict(ended, TARGETS, token_at_s[-1]) in ("met", "missed")
