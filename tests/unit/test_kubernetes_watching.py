"""Lists and watches: what they add up to, and how they go on when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_server import (
    FakeApiServer,
    Reply,
    bookmark,
    deployment,
    error,
    event,
    hangs_up,
    listing,
    play,
    refuses,
    says,
    watch,
)

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.api.listing import Listing
from planner.connectors.kubernetes.watches.state import EventError, Seen, apply_event, listed, put
from planner.connectors.kubernetes.watches.watched import Watched

ALL = "/apis/apps/v1/namespaces/llm/deployments"
A, B = ("llm", "a"), ("llm", "b")

# --- what events add up to ------------------------------------------------------------------------------------------

A3, A5, A7, B4 = deployment("a", 3), deployment("a", 5, 2), deployment("a", 7, 3), deployment("b", 4)


@pytest.mark.parametrize(
    ("before", "happened", "expected"),
    [
        pytest.param(Seen({}, "2"), event("ADDED", A3), Seen({A: A3}, "3"), id="added"),
        pytest.param(Seen({A: A3, B: B4}, "4"), event("MODIFIED", A5), Seen({A: A5, B: B4}, "5"), id="modified"),
        pytest.param(Seen({A: A3, B: B4}, "4"), event("DELETED", A5), Seen({B: B4}, "5"), id="deleted"),
        pytest.param(Seen({B: B4}, "4"), event("DELETED", A5), Seen({B: B4}, "5"), id="deleted unseen"),
        pytest.param(Seen({A: A3}, "3"), bookmark(9), Seen({A: A3}, "9"), id="bookmark"),
        pytest.param(Seen({A: A7}, "4"), event("MODIFIED", A5), Seen({A: A7}, "5"), id="before our own write"),
        pytest.param(Seen({A: A7}, "4"), event("DELETED", A5), Seen({A: A7}, "5"), id="deleted before it came anew"),
        pytest.param(
            Seen({("", "n"): deployment("n", 10, namespace="")}, "10"),
            event("MODIFIED", deployment("n", 9, 9, namespace="")),
            Seen({("", "n"): deployment("n", 10, namespace="")}, "9"),
            id="versions are numbers, not words",
        ),
    ],
)
def test_an_event_changes_what_is_seen(before: Seen, happened: dict[str, Any], expected: Seen) -> None:
    assert apply_event(before, happened) == expected


def test_versions_that_are_no_numbers_leave_the_latest_word() -> None:
    def said(version: str) -> dict[str, Any]:
        return {"metadata": {"name": "x", "resourceVersion": version}}

    assert apply_event(Seen({("", "x"): said("b")}, "b"), event("MODIFIED", said("a"))) == Seen(
        {("", "x"): said("a")}, "a"
    )


@pytest.mark.parametrize(
    ("happened", "status", "said"),
    [
        pytest.param(error(410, "Expired"), 410, "watch: 410 Expired: too old; list again", id="expired"),
        pytest.param(
            error(500, "InternalError"),
            500,
            "watch: 500 InternalError: too old; see the API server's log",
            id="another error",
        ),
        pytest.param(
            event("RENAMED", A3), None, "watch: there is no event of type 'RENAMED'; list again", id="unknown type"
        ),
        pytest.param(
            {"type": "ADDED"}, None, "watch: an event of type 'ADDED' holds no object; list again", id="empty"
        ),
        pytest.param({}, None, "watch: an event of type None holds no object; list again", id="no event"),
        pytest.param(event("ADDED", {}), None, "watch: an object has no name; list again", id="no name"),
    ],
)
def test_what_the_watch_cannot_go_on_from_is_an_error(happened: dict[str, Any], status: int | None, said: str) -> None:
    with pytest.raises(EventError) as failed:
        apply_event(Seen({A: A3}, "3"), happened)

    assert (failed.value.status, str(failed.value)) == (status, said)


@pytest.mark.parametrize(
    ("before", "written", "expected"),
    [
        pytest.param(Seen({A: A3}, "4"), A5, Seen({A: A5}, "4"), id="before the watch tells"),
        pytest.param(Seen({A: A5}, "5"), A5, Seen({A: A5}, "5"), id="after the watch told"),
        pytest.param(Seen({A: A7}, "7"), A5, Seen({A: A7}, "7"), id="after the watch told of more"),
        pytest.param(Seen({}, "6"), A5, Seen({}, "6"), id="after the watch told that it is gone"),
        pytest.param(Seen({A: A7}, "4"), A5, Seen({A: A7}, "4"), id="after a later write of ours"),
        pytest.param(Seen({}, "2"), A3, Seen({A: A3}, "2"), id="a new object"),
    ],
)
def test_our_own_write_is_seen_at_once_and_undoes_nothing(before: Seen, written: Any, expected: Seen) -> None:
    assert put(before, written) == expected


def test_a_scale_is_not_put_in_for_its_object() -> None:
    with pytest.raises(ValueError, match="a Scale is no Deployment; put in the whole object"):
        put(Seen({A: A3}, "3"), {**A5, "kind": "Scale"})


def test_a_list_begun_before_our_own_write_does_not_undo_it() -> None:
    before = Seen({A: A7, B: B4}, "4")

    assert listed(before, Listing((A5,), "6")) == Seen({A: A7}, "6")


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Any]]:
    """Events in the order of the store, and what is there in the end."""
    events: list[dict[str, Any]] = []
    there: dict[tuple[str, str], Any] = {}
    for version, name in enumerate(draw(st.lists(st.sampled_from("abc"), max_size=12)), start=1):
        said = deployment(name, version, draw(st.integers(0, 3)))
        if ("llm", name) in there and draw(st.booleans()):
            events.append(event("DELETED", said))
            del there["llm", name]
        else:
            events.append(event("MODIFIED" if ("llm", name) in there else "ADDED", said))
            there["llm", name] = said
    return events, there


@given(histories(), st.data())
def test_own_writes_put_in_at_any_moment_lead_to_what_the_store_holds(history: Any, data: st.DataObject) -> None:
    events, there = history
    written = data.draw(st.lists(st.sampled_from(events) if events else st.nothing(), max_size=4)) if events else []
    # The answer to a write comes some time after the write, so before or after the watch tells of it.
    due = sorted((data.draw(st.integers(0, len(events))), index) for index in range(len(written)))
    seen = Seen({}, "0")
    for step in range(len(events) + 1):
        for at, index in due:
            if at == step and written[index]["type"] != "DELETED":
                before = seen
                seen = put(seen, written[index]["object"])
                assert seen.resource_version == before.resource_version
        if step < len(events):
            seen = apply_event(seen, events[step])

    assert seen == Seen(there, str(len(events)) if events else "0")


# --- time, in a play without a server -------------------------------------------------------------------------------

Step = Listing | list[dict[str, Any]] | ApiError | str
"""What comes: a list; the events of a watch, which then stays; or a failure. `ends` in order, at once."""

FULL = Listing((A3, B4), "4")
REFUSED = ApiError(None, "Unreachable", "GET /x: refused; start it")
GONE = ApiError(410, "Expired", "GET /x: 410; list again")


class Play:
    """Lists and watches that follow a script, then stay as the last watch is."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.asked: list[tuple[float, str, str]] = []
        """When, what, and from which resourceVersion."""
        self.params: Mapping[str, str | int] = {}
        self.broken = asyncio.Event()
        """Ends the watch that stays."""
        self.clock = VirtualClock(1000.0)
        self.watched = Watched(self, ALL, clock=self.clock, chance=Random(3), label_selector="app=x", max_silence_s=60)

    async def items(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        assert (path, label_selector, field_selector) == (ALL, "app=x", "")
        self.asked.append((self.clock.now_s(), "list", ""))
        step = self.steps.pop(0)
        if isinstance(step, ApiError):
            raise step
        assert isinstance(step, Listing)
        return step

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str | int], *, silence_s: float
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        assert (path, silence_s) == (ALL, 150.0)
        self.asked.append((self.clock.now_s(), "watch", str(params["resourceVersion"])))
        self.params = params
        step = self.steps.pop(0)
        if isinstance(step, ApiError):
            raise step
        yield self._events(step)

    async def _events(self, step: Any) -> AsyncIterator[dict[str, Any]]:
        if step == "ends":
            return
        for each in step:
            yield each
        await self.broken.wait()
        self.broken.clear()
        raise REFUSED

    def waits_s(self) -> Iterator[float]:
        """Between one question and the next."""
        times = [at_s for at_s, *_ in self.asked]
        return (later - earlier for earlier, later in pairwise(times))


def acted(act: Callable[[Play], Awaitable[None]], *steps: Step) -> Play:
    """Run the watch on a virtual clock while `act` goes on."""

    async def played() -> Play:
        play = Play(*steps)
        task = asyncio.create_task(play.watched.run())
        try:
            await play.clock.advance(0.0)
            await act(play)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return play

    return asyncio.run(played())


async def nothing(play: Play) -> None:
    """See what happens at once."""


def test_lists_once_and_watches_from_there() -> None:
    play = acted(nothing, FULL, [event("MODIFIED", A5)])

    assert play.asked == [(1000.0, "list", ""), (1000.0, "watch", "4")]
    assert play.watched.objects == {A: A5, B: B4}
    timeout_s = int(play.params["timeoutSeconds"])
    assert 240 <= timeout_s <= 360
    assert play.params == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "4",
        "timeoutSeconds": timeout_s,
        "labelSelector": "app=x",
    }


def test_knows_nothing_before_the_first_list() -> None:
    async def script() -> None:
        watched = Play().watched
        watched.put(A3)
        assert (watched.objects, watched.synced, watched.failure, watched.revision) == ({}, False, None, 0)

    asyncio.run(script())


def test_an_hour_without_news_makes_no_call() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(3600.0)
        assert play.watched.synced

    assert len(acted(act, FULL, []).asked) == 2


def test_a_watch_that_ends_goes_on_from_the_last_bookmark() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(300.0)
        play.broken.set()
        await play.clock.advance(1.0)
        assert play.watched.synced
        assert play.watched.failure is None

    play = acted(act, FULL, [event("MODIFIED", A5), bookmark(50)], [])

    assert [asked[1:] for asked in play.asked] == [("list", ""), ("watch", "4"), ("watch", "50")]
    assert play.watched.objects == {A: A5, B: B4}


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(GONE, id="410 to the watch"),
        pytest.param([error(410, "Expired")], id="410 as an event"),
        pytest.param([error(500, "InternalError")], id="another error as an event"),
        pytest.param([event("MODIFIED", {})], id="an event that is none"),
    ],
)
def test_what_is_no_longer_remembered_is_listed_anew(failure: Step) -> None:
    async def act(play: Play) -> None:
        assert play.watched.failure is not None
        await play.clock.advance(1.0)
        assert play.watched.synced
        assert play.watched.failure is None

    play = acted(act, FULL, failure, Listing((A7,), "9"), [])

    assert [asked[1:] for asked in play.asked] == [("list", ""), ("watch", "4"), ("list", ""), ("watch", "9")]
    assert play.watched.objects == {A: A7}


def test_an_event_of_an_error_names_the_path() -> None:
    play = acted(nothing, FULL, [error(410, "Expired")])

    assert play.watched.failure == f"{ALL}: watch: 410 Expired: too old; list again"


def test_a_list_that_fails_is_tried_until_it_succeeds() -> None:
    async def act(play: Play) -> None:
        assert (play.watched.synced, play.watched.failure) == (False, "GET /x: refused; start it")
        await play.clock.advance(4.0)
        assert (play.watched.synced, play.watched.failure) == (True, None)

    play = acted(act, REFUSED, REFUSED, FULL, [])

    assert [what for _, what, _ in play.asked] == ["list", "list", "list", "watch"]


def test_waits_grow_by_chance_to_half_a_minute_and_never_end() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(60_000.0)

    play = acted(act, FULL, *[REFUSED] * 10_000)

    _, *waits_s = play.waits_s()
    longest_s = [min(30.0, 0.5 * 2**tries) for tries in range(1, 12)] + [30.0] * len(waits_s)
    assert all(0.5 <= wait_s <= longest for wait_s, longest in zip(waits_s, longest_s, strict=False))
    assert len(waits_s) > 2000
    assert len(set(waits_s)) > 2000
    assert max(waits_s) > 29.0


def test_a_watch_that_ends_at_once_again_and_again_is_waited_for_longer() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(3600.0)

    play = acted(act, FULL, *["ends"] * 1000)

    assert len(play.asked) < 400
    assert play.watched.synced


def test_a_long_watch_makes_the_waits_short_again() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(1000.0)
        ended_s = play.clock.now_s()
        play.broken.set()
        await play.clock.advance(1.0)
        at_s, *what = play.asked[-1]
        assert what == ["watch", "4"]
        assert 0.5 <= at_s - ended_s <= 1.0

    acted(act, FULL, *[REFUSED] * 9, [], [])


def test_a_server_that_asks_for_time_is_given_it_within_bounds() -> None:
    def busy(retry_after_s: float) -> ApiError:
        return ApiError(429, "TooManyRequests", "GET /x: 429", retry_after_s)

    async def act(play: Play) -> None:
        await play.clock.advance(100.0)

    play = acted(act, busy(7.0), busy(3600.0), FULL, [])

    assert list(play.waits_s()) == pytest.approx([7.0, 30.0, 0.0])


def test_what_was_seen_counts_as_synced_for_a_while_after_the_watch_broke() -> None:
    async def act(play: Play) -> None:
        await play.clock.advance(100.0)
        play.broken.set()
        await play.clock.advance(60.0)
        synced = [play.watched.synced]
        assert play.watched.failure == "GET /x: refused; start it"
        await play.clock.advance(1.0)
        assert [*synced, play.watched.synced] == [True, False]
        assert play.watched.objects == {A: A3, B: B4}

    acted(act, FULL, [], *[REFUSED] * 100)


def test_a_list_alone_does_not_stay_synced_where_watching_is_forbidden() -> None:
    forbidden = ApiError(403, "Forbidden", "GET /x: 403 Forbidden: no watch; allow it by RBAC")

    async def act(play: Play) -> None:
        synced = [play.watched.synced]
        await play.clock.advance(61.0)
        assert [*synced, play.watched.synced] == [True, False]

    play = acted(act, FULL, *[forbidden] * 100)

    assert play.watched.failure == str(forbidden)
    assert [what for _, what, _ in play.asked].count("list") == 1


def test_a_list_that_makes_no_sense_is_not_taken() -> None:
    play = acted(nothing, Listing(({},), "4"))

    assert (play.watched.synced, play.watched.objects) == (False, {})
    assert play.watched.failure == f"{ALL}: watch: an object has no name; list again"


def test_our_own_write_is_told_to_who_waits_and_its_echo_changes_nothing() -> None:
    async def act(play: Play) -> None:
        revision = play.watched.revision
        waiting = [asyncio.create_task(play.watched.wait_changed(revision)) for _ in range(2)]
        await play.clock.advance(0.0)
        assert not any(task.done() for task in waiting)
        play.watched.put(A7)
        assert await asyncio.gather(*waiting) == [revision + 1] * 2
        assert play.watched.objects == {A: A7, B: B4}
        assert await play.watched.wait_changed(revision) == revision + 1

    acted(act, FULL, [])


def test_a_bookmark_is_no_change() -> None:
    assert acted(nothing, FULL, [bookmark(9)]).watched.revision == acted(nothing, FULL, []).watched.revision


def test_what_a_reader_holds_does_not_change() -> None:
    async def act(play: Play) -> None:
        held = play.watched.objects
        play.watched.put(A7)
        assert held == {A: A3, B: B4}

    acted(act, FULL, [])


# --- with a server --------------------------------------------------------------------------------------------------


class Hasty(VirtualClock):
    """Does not wait: what is waited for comes when the server has nothing more to say."""

    async def sleep_until(self, at_s: float) -> None:
        self._now_s = max(self._now_s, at_s)
        await asyncio.sleep(0)


def follow(folder: Path, until: Mapping[tuple[str, str], Any], lists: list[Reply], watches: list[Reply]) -> list[str]:
    """Watch what a server plays until the objects are as they should be; what it was asked."""

    async def script(server: FakeApiServer, api: Api) -> list[str]:
        server.script("GET", ALL, *lists)
        server.script("WATCH", ALL, *watches)
        watched = Watched(api, ALL, clock=Hasty(), chance=Random(1))
        task = asyncio.create_task(watched.run())
        revision = 0
        while not (watched.objects == until and watched.synced and watched.failure is None):
            revision = await watched.wait_changed(revision)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return [f"{asked.verb} {asked.params.get('resourceVersion', '')}".strip() for asked in server.asked]

    asked: list[str] = play(folder, script)
    return asked


SMALL = says(listing(4, A3, B4))
STAYS = watch(event("MODIFIED", A7), then="stays")


@pytest.mark.parametrize(
    ("lists", "watches", "asked"),
    [
        pytest.param([SMALL], [STAYS], ["GET", "WATCH 4"], id="in peace"),
        pytest.param([SMALL], [watch(bookmark(5)), STAYS], ["GET", "WATCH 4", "WATCH 5"], id="the watch ends"),
        pytest.param(
            [SMALL],
            [watch(event("MODIFIED", A5), then="cut"), STAYS],
            ["GET", "WATCH 4", "WATCH 5"],
            id="the watch is cut",
        ),
        pytest.param([SMALL], [hangs_up, STAYS], ["GET", "WATCH 4", "WATCH 4"], id="the server hangs up"),
        pytest.param(
            [SMALL],
            [refuses(410, "Expired"), STAYS],
            ["GET", "WATCH 4", "GET", "WATCH 4"],
            id="410 to the watch",
        ),
        pytest.param(
            [SMALL],
            [watch(error(410, "Expired")), STAYS],
            ["GET", "WATCH 4", "GET", "WATCH 4"],
            id="410 as an event",
        ),
        pytest.param(
            [says(listing(4, A3, more="c")), refuses(410, "Expired"), SMALL],
            [STAYS],
            ["GET", "GET", "GET", "WATCH 4"],
            id="410 within the list",
        ),
        pytest.param(
            [refuses(429, "TooManyRequests", Retry_After="0"), SMALL],
            [STAYS],
            ["GET", "GET", "WATCH 4"],
            id="429 to the list",
        ),
        pytest.param([refuses(500, "InternalError"), SMALL], [STAYS], ["GET", "GET", "WATCH 4"], id="500 to the list"),
        pytest.param(
            [refuses(403, "Forbidden"), SMALL], [STAYS], ["GET", "GET", "WATCH 4"], id="forbidden for a while"
        ),
        pytest.param(
            [SMALL],
            [refuses(401, "Unauthorized"), STAYS],
            ["GET", "WATCH 4", "WATCH 4"],
            id="the token expires",
        ),
        pytest.param(
            [SMALL], [watch("half a line"), STAYS], ["GET", "WATCH 4", "WATCH 4"], id="a line that is no JSON"
        ),
    ],
)
def test_follows_a_server_through(tmp_path: Path, lists: list[Reply], watches: list[Reply], asked: list[str]) -> None:
    assert follow(tmp_path, {A: A7, B: B4}, lists, watches) == asked
