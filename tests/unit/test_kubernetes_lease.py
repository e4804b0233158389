"""One writer: candidates as processes that crash, stop and go on, on lines that fail, before one API server."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.lease import lease as lease_module
from planner.connectors.kubernetes.lease.election import DEADLINE_S, Candidate, closed, decide, held
from planner.connectors.kubernetes.lease.lease import Lease, NotLeadingError
from planner.connectors.kubernetes.lease.record import (
    DURATION_S,
    LeaseError,
    Record,
    given_up,
    record_of,
    renewed,
    taken,
    unheld,
)

START_S = 1_790_000_000.0
CUT = ApiError(None, "Cut", text="PUT /lease: the connection was cut")
ALL = "/apis/coordination.k8s.io/v1/namespaces/llm/leases"
PATH = f"{ALL}/planner"
STEP_S = 0.5
TAKEOVER_S = DURATION_S + 5.0
"""Within it another leads: its last look, the duration, its next round."""


# --- a world of candidates ----------------------------------------------------------------------------------------


class Server:
    """An API server that keeps Leases."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise ApiError(404, "NotFound")
        return copy.deepcopy(self.objects[path])

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            raise ApiError(409, "AlreadyExists")
        return self.put(path, body)

    def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if body["metadata"]["resourceVersion"] != self.get(path)["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict")
        return self.put(path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Whatever was there; as somebody else would."""
        self.version += 1
        kept = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.objects[path] = copy.deepcopy(kept)
        return kept

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.objects[PATH]["spec"]
        return spec


class Process:
    """One candidate with its own clocks and its own line to the server; a clock and an API in one."""

    def __init__(self, world: World, name: str, skew_s: float, pace: float) -> None:
        self._world = world
        self._skew_s = skew_s
        self._pace = pace
        self._going = asyncio.Event()
        self._going.set()
        self.there_s = self.back_s = 0.0
        self.refused: ApiError | None = None
        self.answers_are_lost = False
        self.says: list[Any] = []
        """What it hears instead, if anything."""
        self.calls: list[str] = []
        self.lease = Lease(self, "llm", "planner", name, self, self.monotonic_s)
        self.task = asyncio.create_task(self.lease.run())

    def monotonic_s(self) -> float:
        return 7.0 + self._skew_s / 3 + self._world.clock.now_s() * self._pace

    def now_s(self) -> float:
        return self._world.clock.now_s() + self._skew_s

    async def sleep_until(self, at_s: float) -> None:
        await self._world.clock.sleep_until(at_s - self._skew_s)
        await self._going.wait()

    async def get(self, path: str) -> Any:
        return await self._call("get", lambda: self._world.server.get(path))

    async def create(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._call("create", lambda: self._world.server.create(path, body))

    async def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._call("replace", lambda: self._world.server.replace(path, body))

    async def _call(self, verb: str, carry_out: Callable[[], Any]) -> Any:
        self.calls.append(verb)
        if self.refused is not None:
            raise self.refused
        # What is on its way arrives, whatever becomes of who sent it.
        answer = await asyncio.shield(asyncio.ensure_future(self._land(carry_out, self.there_s)))
        await self._wait(self.back_s)
        await self._going.wait()
        if self.answers_are_lost:
            raise CUT
        if isinstance(answer, ApiError):
            raise answer
        return self.says[0] if self.says else answer

    async def _land(self, carry_out: Callable[[], Any], there_s: float) -> Any:
        await self._wait(there_s)
        try:
            return carry_out()
        except ApiError as error:
            return error

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await self._world.clock.sleep_until(self._world.clock.now_s() + seconds)

    # What befalls it.

    def stop(self) -> None:
        """SIGSTOP."""
        self._going.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._going.set()

    def recover(self) -> None:
        """Its line is well again."""
        self.refused, self.answers_are_lost, self.there_s, self.back_s = None, False, 0.0, 0.0

    async def crash(self) -> None:
        """SIGKILL: nothing of it runs on."""
        self.refused = CUT
        self._going.set()
        await self.end()
        self._world.processes.remove(self)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


class World:
    """A server, processes, and time that is watched: two may never write at once."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_S)
        self.server = Server()
        self.processes: list[Process] = []

    def candidate(self, name: str, skew_s: float = 0.0, pace: float = 1.0) -> Process:
        self.processes.append(Process(self, name, skew_s, pace))
        return self.processes[-1]

    async def leading(self, name: str = "a") -> Process:
        """A first candidate that leads."""
        self.server.put(PATH, given_up(unheld("llm", "planner"), START_S))
        process = self.candidate(name)
        await self.run(1.0)
        assert process.lease.leads
        return process

    async def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Let time pass; how much did."""
        passed_s = 0.0
        while passed_s < seconds and not until():
            await self.clock.advance(STEP_S)
            passed_s += STEP_S
            assert len(self.leaders) <= 1
        return passed_s

    @property
    def leaders(self) -> list[Process]:
        return [process for process in self.processes if process.lease.leads]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    it = World()
    try:
        yield it
    finally:
        for process in list(it.processes):
            await process.crash()


def played(script: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        async with world() as it:
            await script(it)

    asyncio.run(play())


# --- stories ------------------------------------------------------------------------------------------------------


def test_a_first_candidate_creates_the_lease_and_leads_after_its_duration() -> None:
    async def script(world: World) -> None:
        a = world.candidate("a")
        await world.run(DURATION_S)
        assert world.server.spec == {"leaseDurationSeconds": 15, "leaseTransitions": 0}
        with pytest.raises(NotLeadingError, match=r"^not leading: Lease llm/planner, holder: None$"):
            a.lease.check()

        waited_s = DURATION_S + await world.run(5.0, until=lambda: a.lease.leads)

        a.lease.check()
        assert waited_s <= DURATION_S + 2 * lease_module.RENEW_S
        assert a.lease.holder == a.lease.identity
        assert world.server.spec["leaseTransitions"] == 1

    played(script)


def test_a_leader_renews_every_two_seconds_with_one_call_and_counts_no_transition() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.calls.clear()
        await world.run(20.0)

        assert a.calls == ["replace"] * 10
        assert world.server.spec == {
            "holderIdentity": a.lease.identity,
            "leaseDurationSeconds": 15,
            "leaseTransitions": 1,
            "acquireTime": "2026-09-21T14:13:20.000000Z",
            "renewTime": "2026-09-21T14:13:40.000000Z",
        }
        assert a.lease.may_write_until() == a.monotonic_s() - 1.0 + DEADLINE_S

    played(script)


def test_a_standby_only_looks() -> None:
    async def script(world: World) -> None:
        await world.leading()
        b = world.candidate("b")
        await world.run(60.0)

        assert set(b.calls) == {"get"}
        assert not b.lease.leads
        assert b.lease.trouble is None

    played(script)


@pytest.mark.parametrize("skew_s", [0.0, 240.0, -240.0], ids=["same time", "minutes ahead", "minutes behind"])
def test_a_standby_takes_over_from_a_leader_that_was_killed_whatever_its_wall_clock_says(skew_s: float) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b", skew_s)
        await world.run(30.0)
        assert world.leaders == [a]
        await a.crash()

        waited_s = await world.run(60.0, until=lambda: b.lease.leads)

        assert DURATION_S - 2 * lease_module.RENEW_S <= waited_s <= TAKEOVER_S
        assert world.server.spec["leaseTransitions"] == 2

    played(script)


def test_a_leader_that_was_stopped_beyond_its_lease_finds_the_fence_closed_before_it_does_anything() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b")
        await world.run(5.0)
        a.stop()
        await world.run(40.0)
        assert world.leaders == [b]
        calls = len(a.calls)

        # Not a step of its tasks was run yet: what asks first after SIGCONT is told no.
        with pytest.raises(NotLeadingError, match="this process held it too long ago"):
            a.lease.check()
        a.go_on()
        await world.run(10.0)

        assert len(a.calls) > calls
        assert world.leaders == [b]
        assert a.lease.holder == b.lease.identity

    played(script)


def test_a_leader_that_was_stopped_for_a_moment_goes_on() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b")
        a.stop()
        await world.run(12.0)
        assert world.leaders == []
        a.go_on()
        await world.run(1.0)

        assert world.leaders == [a]
        assert not b.lease.leads
        assert world.server.spec["leaseTransitions"] == 1

    played(script)


def test_an_answer_after_the_deadline_opens_nothing() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.back_s = DEADLINE_S + 2.0
        await world.run(3 * DEADLINE_S)

        assert world.server.spec["holderIdentity"] == a.lease.identity
        assert not a.lease.leads

    played(script)


@pytest.mark.parametrize(
    ("seconds", "leads_still"), [(8.0, True), (20.0, False)], ids=["within the deadline", "beyond the deadline"]
)
@pytest.mark.parametrize(
    "error",
    [ApiError(500, "InternalError"), CUT, ApiError(403, "Forbidden")],
    ids=["500", "no connection", "403"],
)
def test_a_leader_outlives_errors_that_are_shorter_than_its_deadline(
    error: ApiError, seconds: float, leads_still: bool
) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.refused = error
        await world.run(seconds)
        assert a.lease.leads is leads_still
        assert a.lease.trouble == str(error)

        a.refused = None
        await world.run(1.5)

        assert a.lease.leads
        assert a.lease.trouble is None

    played(script)


@pytest.mark.parametrize(("asked_s", "calls"), [(5.0, 2), (0.1, 8), (3600.0, 1)])
def test_it_waits_as_long_as_the_server_asks_but_no_longer_than_a_deadline(asked_s: float, calls: int) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        await world.run(1.0)
        a.refused = ApiError(429, "TooManyRequests", retry_after_s=asked_s)
        a.calls.clear()
        await world.run(9.5)

        assert len(a.calls) == calls

    played(script)


def test_a_call_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        monkeypatch.setattr(lease_module, "ROUND_TIMEOUT_S", 0.0)
        a.there_s = 1e9
        await world.run(3.0)
        assert a.lease.trouble == "no answer within 0 s"
        monkeypatch.undo()
        a.there_s = 0.0
        await world.run(3.0)

        assert a.lease.trouble != "no answer within 0 s"
        assert world.leaders == [a]

    played(script)


def test_a_taking_whose_answer_was_lost_is_found_out_at_the_next_look() -> None:
    async def script(world: World) -> None:
        world.server.put(PATH, given_up(unheld("llm", "planner"), START_S))
        a = world.candidate("a")
        a.answers_are_lost = True
        await world.run(0.5)
        assert world.leaders == []
        a.answers_are_lost = False
        await world.run(3.0)

        assert world.leaders == [a]
        assert world.server.spec["leaseTransitions"] == 1

    played(script)


def test_of_two_that_take_at_once_one_has_a_conflict_and_no_trouble() -> None:
    async def script(world: World) -> None:
        world.server.put(PATH, given_up(unheld("llm", "planner"), START_S))
        a, b = world.candidate("a"), world.candidate("b")
        await world.run(3.0)

        assert len(world.leaders) == 1
        assert a.calls[:2] == b.calls[:2] == ["get", "replace"]
        assert (a.lease.trouble, b.lease.trouble) == (None, None)

    played(script)


def test_ending_gives_the_lease_up_so_that_the_next_leader_need_not_wait() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b")
        await world.run(3.0)
        await a.end()
        assert not a.lease.leads
        assert world.server.spec["holderIdentity"] == ""

        assert await world.run(60.0, until=lambda: b.lease.leads) <= lease_module.RENEW_S
        assert world.server.spec["leaseTransitions"] == 2

    played(script)


def test_the_fence_is_closed_before_the_lease_is_given_up() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b")
        await world.run(3.0)
        a.there_s = 0.5
        a.task.cancel()
        await world.run(2.0)
        assert world.server.spec["holderIdentity"] == ""
        await world.run(20.0)

        assert world.leaders == [b]
        await asyncio.wait((a.task,))

    played(script)


def test_a_renewal_still_on_its_way_does_not_keep_the_lease_from_being_given_up() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.there_s = 1.5
        await world.run(1.0)
        assert a.calls[-1] == "replace"
        # Its renewal lands half a second after it looked, and before what it then sends.
        a.there_s = 1.0
        a.task.cancel()
        await world.run(6.0)

        assert a.calls[-5:] == ["get", "replace", "get", "replace", "get"]
        assert world.server.spec["holderIdentity"] == ""

    played(script)


def test_ending_without_a_server_ends_all_the_same_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.refused = CUT
        await a.end()

    with caplog.at_level(logging.WARNING, "planner.lease"):
        played(script)
    assert caplog.messages == [f"Lease llm/planner: not given up, so the next leader has to wait: {CUT}"]


def test_a_lease_that_somebody_deleted_is_made_anew_and_led_after_its_duration() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        world.candidate("b")
        await world.run(3.0)
        del world.server.objects[PATH]
        await world.run(4.0)
        assert "holderIdentity" not in world.server.spec
        assert not a.lease.leads

        assert await world.run(60.0, until=lambda: bool(world.leaders)) <= TAKEOVER_S

    played(script)


def test_a_leader_that_cannot_know_keeps_others_waiting_when_its_lease_is_deleted_or_its_name_taken_out() -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        b = world.candidate("b")
        await world.run(3.0)
        for harm in (world.server.objects.clear, lambda: world.server.spec.update(holderIdentity="")):
            a.refused = CUT
            harm()
            world.server.version += 1
            await world.run(DEADLINE_S - 1.0)
            assert not b.lease.leads
            a.refused = None
            await world.run(TAKEOVER_S)
            assert len(world.leaders) == 1
            (a,), (b,) = world.leaders, [each for each in world.processes if not each.lease.leads]

    played(script)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        "garbage",
        {"holderIdentity": None},
        {"holderIdentity": 7, "leaseTransitions": "many", "leaseDurationSeconds": -1},
        {"holderIdentity": "somebody", "renewTime": "not yet", "acquireTime": 5, "leaseTransitions": -3},
    ],
    ids=["null", "empty", "no object", "no holder", "wrong types", "wrong times"],
)
def test_garbage_in_the_lease_is_waited_for_and_then_replaced(spec: Any) -> None:
    async def script(world: World) -> None:
        world.server.put(PATH, {"metadata": {"name": "planner", "labels": {"kept": "yes"}}, "spec": spec})
        a = world.candidate("a")
        await world.run(DURATION_S - 0.5)
        assert world.leaders == []
        await world.run(5.0)

        assert world.leaders == [a]
        assert world.server.spec["leaseTransitions"] == 1
        assert world.server.objects[PATH]["metadata"]["labels"] == {"kept": "yes"}

    played(script)


@pytest.mark.parametrize("answer", [None, [], "<html>", {}, {"metadata": {}}], ids=str)
def test_an_answer_that_is_no_lease_is_trouble_and_nothing_more(answer: Any) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.says = [answer]
        await world.run(DEADLINE_S + 3.0)

        assert not a.lease.leads
        assert a.lease.trouble == "the answer is no Lease: it has no resourceVersion"

    played(script)


def test_what_changed_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def script(world: World) -> None:
        a = await world.leading()
        a.refused = ApiError(503, "ServiceUnavailable")
        await world.run(30.0)
        a.refused = None
        await world.run(5.0)

    with caplog.at_level(logging.INFO, "planner.lease"):
        played(script)
    assert [message.rpartition(", as")[0] or message for message in caplog.messages][:4] == [
        "leading: Lease llm/planner",
        "Lease llm/planner: 503 ServiceUnavailable",
        "standing by: Lease llm/planner",
        "leading: Lease llm/planner",
    ]


def test_two_processes_of_one_name_have_different_identities() -> None:
    async def script(world: World) -> None:
        a, b = world.candidate("pod-1"), world.candidate("pod-1")

        assert a.lease.identity.startswith("pod-1_")
        assert a.lease.identity != b.lease.identity

    played(script)


# --- the rules ----------------------------------------------------------------------------------------------------

ME = Candidate("me", may_write_until_s=105.0, seen=Record("7", "me"), unchanged_since_s=95.0)
OTHERS = Record("7", "other")
WATCHED = Candidate("me", seen=OTHERS, unchanged_since_s=100.0)


@pytest.mark.parametrize(
    ("candidate", "record", "now_s", "expected"),
    [
        pytest.param(Candidate("me"), None, 1.0, (Candidate("me", unchanged_since_s=1.0), "create"), id="absent"),
        pytest.param(Candidate("me"), OTHERS, 100.0, (WATCHED, "wait"), id="first look at another's"),
        pytest.param(WATCHED, OTHERS, 114.9, (WATCHED, "wait"), id="another's, not long enough"),
        pytest.param(WATCHED, OTHERS, 115.0, (WATCHED, "take"), id="another's, run out"),
        pytest.param(
            WATCHED,
            Record("8", "other"),
            115.0,
            (Candidate("me", seen=Record("8", "other"), unchanged_since_s=115.0), "wait"),
            id="another's, renewed",
        ),
        pytest.param(
            WATCHED,
            Record("8", ""),
            101.0,
            (Candidate("me", seen=Record("8", ""), unchanged_since_s=101.0), "take"),
            id="given up",
        ),
        pytest.param(ME, ME.seen, 97.0, (ME, "renew"), id="ours"),
        pytest.param(ME, ME.seen, 500.0, (ME, "renew"), id="ours, and long ago"),
        pytest.param(
            ME,
            Record("8", "other"),
            97.0,
            (Candidate("me", seen=Record("8", "other"), unchanged_since_s=97.0), "wait"),
            id="lost: the fence is closed at once",
        ),
        pytest.param(ME, None, 97.0, (Candidate("me", unchanged_since_s=97.0), "create"), id="deleted under us"),
    ],
)
def test_what_a_candidate_does(
    candidate: Candidate, record: Record | None, now_s: float, expected: tuple[Candidate, str]
) -> None:
    assert decide(candidate, record, now_s) == expected


def test_an_answer_opens_the_fence_for_the_deadline_from_when_it_was_asked() -> None:
    assert held(WATCHED, Record("8", "me"), 115.0) == Candidate("me", 125.0, Record("8", "me"), 115.0)
    assert closed(ME).may_write_until_s < 0


def test_an_answer_that_names_another_opens_nothing() -> None:
    with pytest.raises(LeaseError, match="answered to name 'other'"):
        held(WATCHED, OTHERS, 115.0)


@pytest.mark.parametrize(
    ("spec", "holder"),
    [
        ({"holderIdentity": "other"}, "other"),
        ({"holderIdentity": "", "leaseDurationSeconds": 1}, ""),
        ({"holderIdentity": "", "leaseDurationSeconds": 15}, None),
        ({"leaseDurationSeconds": 1}, None),
        ({}, None),
    ],
    ids=["held", "given up", "taken out by hand", "by nobody yet", "empty"],
)
def test_a_lease_is_given_up_only_when_it_says_so(spec: dict[str, Any], holder: str | None) -> None:
    assert record_of({"metadata": {"resourceVersion": "7"}, "spec": spec}) == Record("7", holder)


def test_what_else_stands_in_the_lease_is_written_back() -> None:
    lease = {"metadata": {"resourceVersion": "7", "x": 1}, "spec": {"strategy": "mine", "leaseTransitions": 4}, "y": 2}
    now, more = "1970-01-01T00:00:01.500000Z", {"metadata": lease["metadata"], "y": 2}

    assert taken(lease, "me", 1.5) == more | {
        "spec": {
            "strategy": "mine",
            "leaseTransitions": 5,
            "holderIdentity": "me",
            "leaseDurationSeconds": 15,
            "acquireTime": now,
            "renewTime": now,
        }
    }
    assert renewed(lease, 1.5)["spec"] == lease["spec"] | {"leaseDurationSeconds": 15, "renewTime": now}  # type: ignore[operator]


# --- never two ----------------------------------------------------------------------------------------------------

HARMS = ("stop", "go on", "crash", "end", "cut", "deaf", "slow there", "slow back", "well", "delete", "take out")
steps = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(HARMS),
        st.integers(1, 24).map(lambda half: half * STEP_S),
    ),
    max_size=12,
)


async def befall(world: World, pair: list[Process], who: int, harm: str, seconds: float) -> None:
    process = pair[who]
    if harm == "stop":
        process.stop()
    elif harm == "go on":
        process.go_on()
    elif harm in {"crash", "end"}:
        if harm == "end":
            process.go_on()
            process.task.cancel()
            await world.run(STEP_S)
        await process.crash()
        pair[who] = world.candidate("again")
    elif harm == "cut":
        process.refused = CUT
    elif harm == "deaf":
        process.answers_are_lost = True
    elif harm == "slow there":
        process.there_s = seconds
    elif harm == "slow back":
        process.back_s = seconds
    elif harm == "well":
        process.recover()
    elif harm == "delete":
        world.server.objects.clear()
    elif PATH in world.server.objects:
        world.server.put(PATH, {**world.server.objects[PATH], "spec": {**world.server.spec, "holderIdentity": ""}})


@settings(max_examples=60)
@given(steps, st.sampled_from((-300.0, 0.0, 300.0)), st.sampled_from((0.8, 1.0, 1.2)))
def test_never_two_may_write_whatever_befalls_two_candidates_and_one_leads_when_all_is_well(
    steps: list[tuple[int, str, float]], skew_s: float, pace: float
) -> None:
    async def script(world: World) -> None:
        pair = [await world.leading(), world.candidate("b", skew_s, pace)]
        for who, harm, seconds in steps:
            await befall(world, pair, who, harm, seconds)
            await world.run(seconds)
        for process in pair:
            process.go_on()
            process.recover()
        await world.run(120.0, until=lambda: bool(world.leaders))

        assert len(world.leaders) == 1

    played(script)
