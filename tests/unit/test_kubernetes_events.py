"""What decisions say on their targets, how often, and that telling it harms nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from builders import planner_settings, service_samples
from hypothesis import example, given
from hypothesis import strategies as st

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.events.events import LONGEST_RETRY_S, PER_MINUTE, RETRY_S, Events
from planner.connectors.kubernetes.events.notes import KINDS, TOLD, EventReason, Note, events_of, grace_note
from planner.connectors.kubernetes.events.series import (
    LIKE_WITHIN_S,
    LONGEST_NOTE_BYTES,
    REMEMBERED,
    Allowance,
    Book,
    Series,
    Target,
    event,
    event_name,
)
from planner.connectors.types import Applied, Status
from planner.scaling.decision import Decision, PoolDecision
from planner.scaling.forecast.model import AS_CONFIGURED
from planner.scaling.reading import Missing, Valid
from planner.scaling.reasons import Code, Reason, because
from planner.scaling.state import initial_state
from planner.scaling.tick import tick
from planner.scaling.types import Role

START_S = 1_790_000_000.0
DECODE = Target("apps/v1", "Deployment", "llm", "decode", "uid-1")
HELD = Note(EventReason.METRICS_UNAVAILABLE, "held: the load is unknown (down)")


def decided(*reasons: Reason, model: str = "constant", why: str = AS_CONFIGURED, **pools: PoolDecision) -> Decision:
    """A decision of the service chat with these reasons; pools by role."""
    settings = planner_settings()
    _, result = tick(initial_state(settings, 0.0), {"chat": service_samples(30.0)}, settings, 30.0)
    decision = result.decisions["chat"]
    assert decision.forecast is not None
    forecast = replace(decision.forecast, model=model, why=why)
    chosen = {Role(role): pool for role, pool in pools.items()}
    return replace(decision, pools=chosen, reasons=reasons, forecast=forecast)


def pool(current: int, replicas: int) -> PoolDecision:
    return PoolDecision(current, replicas, replicas, replicas, ())


# --- what is said -------------------------------------------------------------------------------------------------

FLOOR = because(Code.REACTIVE_FLOOR, floor_per_s=9.0, rate_per_s=8.0, waiting=3)
FLOOR_TEXT = "raised the demand to 9.00 req/s: 8.00 req/s arrive now and 3 requests wait"
RAISE = because(Code.RAISE, role=Role.DECODE, current=3, replicas=5)
RATE_UP = because(Code.RATE_UP, role=Role.DECODE, replicas=5, wanted=9, step=2)
RATE_UP_TEXT = "decode: raised to 5 of 9: at most 2 more in one step"
RAISED = decided(
    FLOOR, because(Code.KEEP, role=Role.PREFILL, current=2), RATE_UP, RAISE, prefill=pool(2, 2), decode=pool(3, 5)
)


def test_a_plan_that_stands_says_nothing() -> None:
    steady = decided(because(Code.KEEP, role="prefill", current=2), because(Code.KEEP, role="decode", current=2))

    assert events_of(steady, None, None) == ()
    assert events_of(steady, None, steady) == ()


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ("applied", EventReason.SUCCESSFUL_RESCALE, f"decode: 3 -> 5; {FLOOR_TEXT}; {RATE_UP_TEXT}"),
        ("failed", EventReason.FAILED_RESCALE, "decode: 3 -> 5; failed: as it went"),
        ("refused", EventReason.RESCALE_REFUSED, "decode: 3 -> 5; refused: as it went"),
        ("dry-run", EventReason.RESCALE_ADVISED, "decode: 3 -> 5; dry-run: as it went"),
        ("paused", EventReason.RESCALE_ADVISED, "decode: 3 -> 5; paused: as it went"),
    ],
)
def test_a_change_says_what_became_of_it_on_the_target_of_its_pool(
    status: Status, reason: EventReason, text: str
) -> None:
    assert events_of(RAISED, Applied(status, "as it went"), None) == (Note(reason, text, Role.DECODE),)


def test_a_plan_that_was_so_already_says_nothing() -> None:
    assert events_of(RAISED, Applied("unchanged", "it was so"), None) == ()


@pytest.mark.parametrize(
    ("reason", "note"),
    [
        (because(Code.NO_DEMAND, cause="down"), HELD),
        (
            because(Code.NO_REPLICA_COUNTS, role="decode", cause="403"),
            Note(EventReason.METRICS_UNAVAILABLE, "held: the decode replica counts cannot be read (403)", Role.DECODE),
        ),
        (
            because(Code.BUDGET_CUT, role="prefill", wanted=9, granted=4, budget_gpus=8),
            Note(EventReason.BUDGET_LIMITED, "prefill: 9 wanted, 4 fit the budget of 8 GPUs", Role.PREFILL),
        ),
        (
            because(Code.ROLLOUT, role=Role.DECODE, current=4, wanted=2),
            Note(EventReason.SCALE_DEFERRED, "decode: not lowered from 4 to 2 during a rollout", Role.DECODE),
        ),
    ],
    ids=["no demand", "no counts", "budget", "rollout"],
)
def test_what_keeps_a_plan_is_said_for_as_long_as_it_lasts(reason: Reason, note: Note) -> None:
    decision = decided(reason)

    assert events_of(decision, None, None) == events_of(decision, None, decision) == (note,)


def test_how_a_plan_is_smoothed_stays_silent_and_every_other_code_is_told() -> None:
    assert set(Code) - set(TOLD) == {
        Code.FORECAST, Code.REACTIVE_FLOOR, Code.OUTSIDE_PROFILE, Code.BOUNDED_BELOW, Code.TOLERANCE,
        Code.STABILISE_UP, Code.STABILISE_DOWN, Code.RATE_UP, Code.RATE_DOWN, Code.RAISE, Code.LOWER, Code.KEEP,
    }  # fmt: skip


def test_metrics_that_are_known_again_are_said_once() -> None:
    blind, seeing = decided(because(Code.NO_DEMAND, cause="down")), decided()

    assert [note.reason for note in events_of(seeing, None, blind)] == [EventReason.METRICS_RECOVERED]
    assert events_of(seeing, None, seeing) == ()


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (
            decided(model="newest", why="arima set aside"),
            decided(model="arima"),
            (Note(EventReason.FALLBACK_ACTIVATED, "the forecast is newest's: arima set aside"),),
        ),
        (
            decided(model="arima"),
            decided(model="newest", why="arima set aside"),
            (Note(EventReason.FALLBACK_ENDED, "the forecast is arima's again, as configured"),),
        ),
        (decided(why="too little history"), None, ()),
        (decided(why="too little history"), decided(why="set aside"), ()),
        (decided(why="too little history"), replace(decided(), forecast=None), ()),
    ],
    ids=["stepped back", "recovered", "at the start", "still", "no forecast before"],
)
def test_a_forecast_that_steps_back_or_recovers_says_so(
    now: Decision, before: Decision | None, said: tuple[Note, ...]
) -> None:
    assert events_of(now, None, before) == said


@pytest.mark.parametrize(
    ("became", "to", "has_s", "osl", "said"),
    [
        pytest.param("applied", 2, 20, 150.0, True, id="lowered-too-soon"),
        pytest.param("applied", 2, 30, 150.0, False, id="time-enough"),
        pytest.param("applied", 4, 20, 150.0, False, id="raised"),
        pytest.param("failed", 2, 20, 150.0, False, id="not-lowered"),
        pytest.param("applied", 2, None, 150.0, False, id="nobody-says"),
        pytest.param("applied", 2, 20, None, False, id="lengths-unknown"),
    ],
)
def test_a_pool_that_is_lowered_faster_than_its_requests_end_says_so(
    became: Status, to: int, has_s: int | None, osl: float | None, said: bool
) -> None:
    decision = decided(decode=pool(3, to))
    lengths = Missing("none") if osl is None else Valid(osl, 0.0)
    seen = replace(decision.observation, ttft_s=Valid(0.5, 0.0), osl_tokens=lengths, itl_s=Valid(0.04, 0.0))

    note = grace_note(replace(decision, observation=seen), Applied(became, ""), Role.DECODE, has_s)

    text = (
        "decode: lowered, and long requests may be cut: terminationGracePeriodSeconds is 20 s, 500 ms to the first "
        "token and 4 x 150 tokens of 40 ms take 24.5 s; pod template: set terminationGracePeriodSeconds to 25 or more"
    )
    assert note == (Note(EventReason.GRACE_PERIOD_SHORT, text, Role.DECODE) if said else None)


def test_remarks_about_the_metrics_are_passed_on() -> None:
    assert events_of(decided(), None, None, ("two engines answer to one name",)) == (
        Note(EventReason.METRICS_DOUBTFUL, "two engines answer to one name"),
    )


def test_every_reason_has_its_kind() -> None:
    assert set(KINDS) == set(EventReason)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("decode: 9 wanted, 4 fit the budget", "decode: 12 wanted, 7 fit the budget", True),
        ("waited 3.25 s", "waited 30 s", True),
        ("decode: held", "prefill: held", False),
    ],
)
def test_notes_are_alike_when_only_their_numbers_differ(one: str, other: str, alike: bool) -> None:
    of = EventReason.BUDGET_LIMITED

    assert (Note(of, one).likeness == Note(of, other).likeness) is alike


def test_each_change_is_its_own() -> None:
    of = EventReason.SUCCESSFUL_RESCALE

    assert Note(of, "decode: 3 -> 5").likeness != Note(of, "decode: 5 -> 7").likeness


# --- how it is written --------------------------------------------------------------------------------------------


def test_an_event_is_written_as_the_api_server_takes_it() -> None:
    target = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "llm", "name": "decode", "uid": "uid-1", "labels": {}},
    }  # fmt: skip
    series = Series("decode.1", Target.of(target), HELD, START_S, START_S)

    assert event(series, "Warning", "Hold", "planner-0") == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "llm", "name": "decode.1"},
        "eventTime": "2026-09-21T14:13:20.000000Z",
        "reportingController": "sla-planner.io/planner",
        "reportingInstance": "planner-0",
        "type": "Warning",
        "reason": "MetricsUnavailable",
        "action": "Hold",
        "note": "held: the load is unknown (down)",
        "regarding": {
            "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "llm", "name": "decode", "uid": "uid-1",
        },
    }  # fmt: skip


def test_an_event_that_was_said_again_before_it_was_told_says_how_often() -> None:
    series = Series("decode.1", DECODE, HELD, START_S, START_S + 60.5, count=3)

    said = event(series, "Warning", "Hold", "planner-0")["series"]

    assert said == {"count": 3, "lastObservedTime": "2026-09-21T14:14:20.500000Z"}


@given(st.text(st.characters(), max_size=3000))
@example("x" * LONGEST_NOTE_BYTES)
@example("x" + "\N{GREEK SMALL LETTER ALPHA}" * LONGEST_NOTE_BYTES)
def test_a_note_of_any_text_fits_and_can_be_sent(text: str) -> None:
    note = event(Series("e", DECODE, replace(HELD, text=text), 0.0, 0.0), "Warning", "Hold", "me")["note"]

    assert len(note.encode()) <= LONGEST_NOTE_BYTES
    assert note.removesuffix("...") in text.encode(errors="replace").decode()


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True))
@example("d" * 199 + "-" * 10 + "d")
@example("d" * 253)
def test_an_events_name_is_a_name_however_long_its_targets(name: str) -> None:
    made = event_name(replace(DECODE, name=name), "0123456789abcdef")

    assert len(made) <= 253
    assert re.fullmatch(r"[a-z0-9](.*[a-z0-9])?\.[0-9a-f]{16}", made)


# --- how often ----------------------------------------------------------------------------------------------------


def test_like_notes_are_one_series_until_none_came_for_five_minutes() -> None:
    book = Book()
    for at_s in (0.0, 299.0, 598.0):
        assert book.say(DECODE, HELD, "first", at_s)
    series = book.due(598.0)
    assert series == Series("first", DECODE, HELD, 0.0, 598.0, count=3)
    book.told(series, 598.0)
    assert book.due(10_000.0) is None

    book.say(DECODE, HELD, "second", 598.0 + LIKE_WITHIN_S)

    assert book.due(1000.0) == Series("second", DECODE, HELD, 898.0, 898.0)


def test_what_lasts_is_told_at_once_and_then_every_five_minutes() -> None:
    book, told_s = Book(), []
    for at_s in range(0, 3600, 30):
        book.say(DECODE, HELD, "event", at_s)
        if (series := book.due(at_s)) is not None:
            told_s.append(at_s)
            book.told(series, at_s)

    assert told_s == list(range(0, 3600, 300))


def test_what_is_said_while_it_is_told_is_told_later() -> None:
    book = Book()
    book.say(DECODE, HELD, "event", 0.0)
    series = book.due(0.0)
    assert series is not None
    book.say(DECODE, HELD, "event", 1.0)
    book.told(series, 2.0)
    assert book.due(300.0) is None

    later = book.due(302.0)

    assert later is not None
    assert (later.count, later.told) == (2, 1)


def test_a_full_book_forgets_what_was_told_and_refuses_when_nothing_was() -> None:
    book = Book()
    for index in range(REMEMBERED):
        assert book.say(replace(DECODE, name=f"d{index}"), HELD, f"e{index}", 0.0)
    assert not book.say(replace(DECODE, name="one more"), HELD, "no", 0.0)
    first = book.due(0.0)
    assert first is not None
    book.told(first, 1.0)

    assert book.say(replace(DECODE, name="one more"), HELD, "yes", 1.0)
    assert not book.say(replace(DECODE, name="and another"), HELD, "no", 1.0)
    assert book.say(replace(DECODE, name="one more"), HELD, "again", 2.0)


def test_what_began_anew_while_it_was_told_is_told_too() -> None:
    book = Book()
    book.say(DECODE, HELD, "first", 0.0)
    first = book.due(0.0)
    assert first is not None
    book.told(first, 0.0)
    book.say(DECODE, HELD, "first", 299.0)
    again = book.due(300.0)
    assert again is not None
    book.say(DECODE, HELD, "second", 599.0)
    book.told(again, 600.0)

    assert book.due(600.0) == Series("second", DECODE, HELD, 599.0, 599.0)


def test_what_could_not_be_told_for_long_is_not_replaced_by_its_like() -> None:
    book = Book()
    book.say(DECODE, HELD, "first", 0.0)
    book.say(DECODE, HELD, "second", 3600.0)

    assert book.due(3600.0) == Series("first", DECODE, HELD, 0.0, 3600.0, count=2)


def test_an_hour_of_silence_saves_nothing_up() -> None:
    allowance = Allowance(10.0, 0.0)

    assert [allowance.take(3600.0) for _ in range(11)] == [True] * 10 + [False]


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=300))
def test_no_more_calls_are_allowed_in_any_minute_than_a_burst_and_a_minutes_worth(gaps_s: list[float]) -> None:
    allowance, now_s, taken_s = Allowance(10.0, 0.0), 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if allowance.take(now_s):
            taken_s.append(now_s)

    assert all(sum(at_s <= each < at_s + 60.0 for each in taken_s) <= 20 for at_s in taken_s)
    assert len(taken_s) >= min(len(gaps_s), 10)


# --- telling ------------------------------------------------------------------------------------------------------


class Recorder:
    """An API server that keeps Events."""

    def __init__(self) -> None:
        self.refusals: list[BaseException] = []
        """What the next calls run into."""
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.kept: set[str] = set()

    async def create(self, path: str, body: Mapping[str, Any]) -> Any:
        json.dumps(body)
        self._called("create", path, body)
        name = body["metadata"]["name"]
        if name in self.kept:
            raise ApiError(409, "AlreadyExists")
        self.kept.add(name)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        self._called("patch", path, body)
        if path.rpartition("/")[2] not in self.kept:
            raise ApiError(404, "NotFound")

    def _called(self, verb: str, path: str, body: Mapping[str, Any]) -> None:
        self.calls.append((verb, path, body))
        if self.refusals:
            raise self.refusals.pop(0)

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.calls]


def told(script: Callable[[Events, Recorder, VirtualClock], Awaitable[None]]) -> None:
    async def play() -> None:
        clock, recorder = VirtualClock(START_S), Recorder()
        events = Events(recorder, clock, "planner-0")
        task = asyncio.create_task(events.run())
        await script(events, recorder, clock)
        assert not task.done()
        task.cancel()
        await asyncio.wait((task,))

    asyncio.run(play())


def test_a_note_becomes_an_event_and_its_likes_its_series() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        for _ in range(12):
            events.say(DECODE, [HELD])
            await clock.advance(30.0)

        (first, path, body), (then, its_path, patch) = recorder.calls
        assert (first, path) == ("create", "/apis/events.k8s.io/v1/namespaces/llm/events")
        assert (body["type"], body["action"], body["reportingInstance"]) == ("Warning", "Hold", "planner-0")
        assert (then, its_path) == ("patch", f"{path}/{body['metadata']['name']}")
        assert patch == {"series": {"count": 10, "lastObservedTime": "2026-09-21T14:17:50.000000Z"}}

    told(script)


def test_names_are_unique() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        events.say(DECODE, [Note(EventReason.SUCCESSFUL_RESCALE, f"decode: {n} -> {n + 1}") for n in range(20)])
        await clock.advance(1.0)

        assert len(recorder.kept) == 20

    told(script)


def test_many_are_told_at_the_pace_that_is_allowed_and_none_is_lost() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        for index in range(300):
            events.say(replace(DECODE, name=f"d{index}"), [HELD])
        await clock.advance(59.0)
        assert PER_MINUTE < len(recorder.calls) <= 2 * PER_MINUTE
        await clock.advance(240.0)

        assert len(recorder.kept) == 300
        assert events.lost == 0

    told(script)


def test_what_there_is_no_room_for_is_counted_as_lost() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        for index in range(REMEMBERED + 7):
            events.say(replace(DECODE, name=f"d{index}"), [HELD])

        assert events.lost == 7
        assert recorder.calls == []

    told(script)


@pytest.mark.parametrize(
    ("error", "waits_s"),
    [
        (ApiError(None, "Unreachable"), RETRY_S),
        (ApiError(500, "InternalError"), RETRY_S),
        (ApiError(429, "TooManyRequests", retry_after_s=30.0), 30.0),
        (ApiError(429, "TooManyRequests", retry_after_s=7200.0), LONGEST_RETRY_S),
    ],
    ids=["no connection", "500", "429", "429 for hours"],
)
def test_what_may_be_taken_later_is_tried_again(error: ApiError, waits_s: float) -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        recorder.refusals = [error]
        events.say(DECODE, [HELD])
        await clock.advance(waits_s - 0.5)
        assert recorder.kept == set()
        await clock.advance(2.0)

        assert recorder.verbs == ["create", "create"]
        assert len(recorder.kept) == 1
        assert events.lost == 0

    told(script)


@pytest.mark.parametrize(
    "error",
    [ApiError(403, "Forbidden"), ApiError(404, "NotFound"), ApiError(422, "Invalid"), KeyError("a bug")],
    ids=["403", "no namespace", "422", "a bug"],
)
def test_what_is_refused_is_lost_and_the_next_is_told(error: Exception) -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        recorder.refusals = [error]
        events.say(DECODE, [HELD])
        events.say(replace(DECODE, name="other"), [HELD])
        await clock.advance(1.0)

        assert recorder.verbs == ["create", "create"]
        assert len(recorder.kept) == 1
        assert events.lost == 1

    told(script)


def test_of_failures_in_a_row_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        recorder.refusals = [ApiError(500, "InternalError")] * 5
        events.say(DECODE, [HELD])
        await clock.advance(60.0)
        assert len(recorder.kept) == 1
        recorder.refusals = [ApiError(403, "Forbidden")]
        events.say(replace(DECODE, name="other"), [HELD])
        await clock.advance(1.0)

    with caplog.at_level(logging.WARNING, "planner.events"):
        told(script)
    assert caplog.messages == [
        "Events cannot be told: 500 InternalError",
        "Events cannot be told: 403 Forbidden",
    ]


def test_an_event_whose_answer_was_lost_is_not_made_twice() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        events.say(DECODE, [HELD])
        recorder.refusals = [ApiError(None, "Timeout")]
        await clock.advance(1.0)
        ((_, _, body),) = recorder.calls
        recorder.kept.add(body["metadata"]["name"])
        await clock.advance(60.0)

        assert recorder.verbs == ["create", "create"]
        assert len(recorder.kept) == 1
        assert events.lost == 0

    told(script)


def test_an_event_that_is_gone_is_made_anew_with_its_count() -> None:
    async def script(events: Events, recorder: Recorder, clock: VirtualClock) -> None:
        for _ in range(10):
            events.say(DECODE, [HELD])
            await clock.advance(29.0)
        gone, recorder.kept = recorder.kept, set()
        await clock.advance(20.0)

        assert recorder.verbs == ["create", "patch", "create"]
        assert recorder.calls[-1][2]["series"]["count"] == 10
        assert recorder.kept.isdisjoint(gone)
        assert len(recorder.kept) == 1

    told(script)
