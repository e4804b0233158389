"""Orders to launchers: handing out, answers, refusals, silence; on a virtual clock, without HTTP."""

from __future__ import annotations

import asyncio
from asyncio import run
from collections.abc import Mapping

import pytest

from planner.clock import VirtualClock
from planner.connectors.orders import LauncherError, Order
from planner.connectors.types import Applied, Plan
from planner.connectors.virtual import Acknowledged, VirtualConnector
from planner.scaling.types import Absent, Role, Sampled

PREFILL, DECODE = Role.PREFILL, Role.DECODE
BEGINNING = {PREFILL: 2, DECODE: 3}
Counts = Mapping[Role, int]


class Scene:
    """A connector, its clock, and shorthands."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.connector = VirtualConnector(
            {"chat": BEGINNING, "search": {Role.AGGREGATED: 1}},
            self.clock,
            state=None,
            accept_within_s=60,
            report_max_age_s=90,
        )
        self._decisions = 0

    def apply(self, prefill: int, decode: int) -> Applied:
        self._decisions += 1
        return run(self.connector.apply(Plan("chat", {PREFILL: prefill, DECODE: decode}, f"{self._decisions:03}")))

    def complete(self, order_id: str, ready: Counts | None = None) -> Acknowledged:
        return self.connector.acknowledge("chat", order_id, completed=True, reason=None, ready=ready)

    def refuse(self, order_id: str, ready: Counts | None = None, reason: str | None = "no room") -> Acknowledged:
        return self.connector.acknowledge("chat", order_id, completed=False, reason=reason, ready=ready)

    def fetch(self, after: str | None = None) -> Order | None:
        return run(self.connector.orders("chat", after, wait_s=0))

    def wait(self, seconds: float) -> None:
        run(self.clock.advance(seconds))

    def read(self, role: Role = DECODE) -> dict[str, float | str]:
        """Counts that are not zero; causes of those that are absent."""
        pool = run(self.connector.read("chat"))[role]
        names = ("wanted", "ready", "starting", "pending", "draining", "rolling_out")
        told = {name: _told(getattr(pool, name)) for name in names}
        return {name: value for name, value in told.items() if value != 0}


def _told(sampled: Sampled) -> float | str:
    return sampled.cause if isinstance(sampled, Absent) else sampled.value


# --- handing out ------------------------------------------------------------------------------------------------


def test_an_order_says_what_every_pool_should_have() -> None:
    scene = Scene()

    applied = run(scene.connector.apply(Plan("chat", {DECODE: 5}, "007")))

    assert applied == Applied("applied", "ordered prefill 2, decode 5, before prefill 2, decode 3")
    assert scene.fetch() == Order("007", {PREFILL: 2, DECODE: 5}, given_at_s=0)


def test_before_any_order_there_is_none_to_fetch() -> None:
    scene = Scene()

    assert (scene.fetch(), scene.fetch(after="lost with an earlier state file")) == (None, None)
    assert scene.apply(2, 3) == Applied("unchanged", "prefill 2, decode 3 from the beginning")


def test_a_launcher_that_waits_is_woken_by_the_order() -> None:
    async def play() -> tuple[Order | None, float]:
        scene = Scene()
        waiting = asyncio.create_task(scene.connector.orders("chat", None, wait_s=30))
        await scene.clock.advance(12)
        await scene.connector.apply(Plan("chat", {DECODE: 5}, "001"))
        return await waiting, scene.clock.now_s()

    assert run(play()) == (Order("001", {PREFILL: 2, DECODE: 5}, 12), 12)


def test_a_launcher_that_waits_in_vain_is_told_so_in_time() -> None:
    async def play() -> tuple[bool, bool, Order | None]:
        scene = Scene()
        await scene.connector.apply(Plan("chat", {DECODE: 5}, "001"))
        waiting = asyncio.create_task(scene.connector.orders("chat", "001", wait_s=30))
        await scene.clock.advance(29)
        early = waiting.done()
        await scene.connector.apply(Plan("search", {Role.AGGREGATED: 4}, "002"))
        await scene.clock.advance(1)
        return early, waiting.done(), await waiting

    assert run(play()) == (False, True, None)


def test_closing_sends_those_away_who_wait() -> None:
    async def play() -> Order | None:
        scene = Scene()
        waiting = asyncio.create_task(scene.connector.orders("chat", None, wait_s=1e9))
        await scene.clock.advance(1)
        await scene.connector.close()
        return await waiting

    assert run(play()) is None


def test_one_who_stops_waiting_disturbs_nobody() -> None:
    async def play() -> Order | None:
        scene = Scene()
        first, second = (asyncio.create_task(scene.connector.orders("chat", None, 30)) for _ in range(2))
        await scene.clock.advance(1)
        first.cancel()
        await scene.clock.advance(1)
        await scene.connector.apply(Plan("chat", {DECODE: 5}, "001"))
        return await second

    assert run(play()) == Order("001", {PREFILL: 2, DECODE: 5}, 2)


@pytest.mark.parametrize("answer", ["nothing", "completed", "refused"])
def test_a_launcher_that_was_restarted_gets_the_order_in_force_again(answer: str) -> None:
    scene = Scene()
    scene.apply(2, 5)
    if answer != "nothing":
        scene.connector.acknowledge("chat", "001", answer == "completed", None, None)

    assert scene.fetch(after=None) == Order("001", {PREFILL: 2, DECODE: 5}, 0)
    assert scene.fetch(after="001") is None


def test_the_same_plan_again_is_no_new_order() -> None:
    scene = Scene()
    scene.apply(2, 5)

    assert scene.apply(2, 5) == Applied("unchanged", "order 001 of prefill 2, decode 5 is open")
    scene.complete("001")
    assert scene.apply(2, 5) == Applied("unchanged", "order 001 of prefill 2, decode 5 is completed")


def test_an_id_is_never_given_twice() -> None:
    scene = Scene()
    scene.apply(2, 5)

    again = run(scene.connector.apply(Plan("chat", {DECODE: 6}, "001")))

    assert again == Applied("failed", "decision 001 was ordered before, with other replicas")
    assert scene.fetch() == Order("001", {PREFILL: 2, DECODE: 5}, 0)


# --- what is read -----------------------------------------------------------------------------------------------


def test_an_order_is_starting_until_it_is_completed() -> None:
    scene = Scene()
    scene.apply(2, 5)
    assert scene.read() == {"wanted": 5, "ready": 3, "starting": 2}

    scene.complete("001")
    assert scene.read() == {"wanted": 5, "ready": 5}


def test_what_loads_after_an_order_was_completed_is_starting() -> None:
    scene = Scene()
    scene.apply(2, 5)

    scene.complete("001", ready={PREFILL: 2, DECODE: 4})

    assert scene.read() == {"wanted": 5, "ready": 4, "starting": 1}


def test_what_is_ready_above_the_order_is_draining() -> None:
    scene = Scene()
    scene.apply(2, 1)

    assert scene.read() == {"wanted": 1, "ready": 3, "draining": 2}


def test_an_order_nobody_answers_is_overdue_and_its_replicas_pending() -> None:
    scene = Scene()
    scene.apply(2, 5)
    scene.wait(60)
    assert scene.read() == {"wanted": 5, "ready": 3, "starting": 2}

    scene.wait(1)

    assert scene.read() == {"wanted": 5, "ready": 3, "pending": 2}
    assert scene.apply(2, 5) == Applied(
        "unchanged", "order 001 of prefill 2, decode 5 is overdue: no launcher answered within 60 s"
    )


def test_an_overdue_order_may_still_be_completed() -> None:
    scene = Scene()
    scene.apply(2, 5)
    scene.wait(1000)

    assert scene.complete("001") == "completed"
    assert scene.read() == {"wanted": 5, "ready": 5}


def test_a_launcher_that_never_reports_is_believed_by_its_completions() -> None:
    scene = Scene()
    scene.apply(2, 5)
    scene.complete("001")

    scene.wait(1e6)

    assert scene.read() == {"wanted": 5, "ready": 5}


def test_a_launcher_that_reported_and_fell_silent_leaves_the_counts_unknown() -> None:
    scene = Scene()
    scene.connector.report("chat", BEGINNING)
    scene.wait(90)
    assert scene.read() == {"wanted": 3, "ready": 3}

    scene.wait(5)

    silent = "launcher silent for 95 s"
    assert scene.read() == {"wanted": 3, "ready": silent, "starting": silent, "pending": silent, "draining": silent}
    scene.connector.report("chat", {PREFILL: 2, DECODE: 1})
    assert scene.read() == {"wanted": 3, "ready": 1, "starting": 2}


def test_a_count_is_as_old_as_its_report() -> None:
    scene = Scene()
    scene.wait(10)
    scene.connector.report("chat", BEGINNING)
    scene.wait(20)

    pool = run(scene.connector.read("chat"))[DECODE]

    assert not isinstance(pool.ready, Absent)
    assert not isinstance(pool.wanted, Absent)
    assert (pool.ready.at_s, pool.wanted.at_s) == (10, 30)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ordered", "ready", "wanted"),
    [
        pytest.param((2, 8), None, (2, 3), id="nothing reported: what was completed last"),
        pytest.param((2, 8), (2, 5), (2, 5), id="room for some"),
        pytest.param((2, 8), (2, 2), (2, 3), id="a replica that crashed meanwhile is not given up"),
        pytest.param((2, 8), (1, 5), (2, 5), id="nor in a pool that was left alone"),
        pytest.param((2, 1), (2, 3), (2, 3), id="would not stop any"),
        pytest.param((2, 1), (2, 2), (2, 2), id="stopped some"),
    ],
)
def test_refused_the_target_falls_back_to_what_stands(
    ordered: tuple[int, int], ready: tuple[int, int] | None, wanted: tuple[int, int]
) -> None:
    scene = Scene()
    scene.apply(*ordered)

    assert scene.refuse("001", None if ready is None else dict(zip(BEGINNING, ready, strict=True))) == "refused"

    assert (scene.read(PREFILL)["wanted"], scene.read(DECODE)["wanted"]) == wanted


def test_a_refusal_does_not_bring_back_what_still_drains_in_another_pool() -> None:
    scene = Scene()
    scene.apply(1, 3)
    scene.complete("001", ready={PREFILL: 2, DECODE: 3})
    scene.apply(1, 8)

    scene.refuse("002", ready={PREFILL: 2, DECODE: 3})

    assert scene.read(PREFILL) == {"wanted": 1, "ready": 2, "draining": 1}


def test_refused_the_target_falls_back_to_the_last_report_unless_it_is_old() -> None:
    for age_s, wanted in ((80, 5), (100, 3)):
        scene = Scene()
        scene.apply(2, 8)
        scene.connector.report("chat", {PREFILL: 2, DECODE: 5})
        scene.wait(age_s)

        scene.refuse("001")

        assert scene.read()["wanted"] == wanted


def test_what_was_refused_is_pending_during_the_back_off_and_may_be_wanted_again_after() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001", ready={PREFILL: 2, DECODE: 5})

    assert scene.read() == {"wanted": 5, "ready": 5, "pending": 3}
    scene.wait(30)
    assert scene.read() == {"wanted": 5, "ready": 5}


def test_what_was_refused_is_ordered_again_only_after_a_back_off_that_doubles() -> None:
    scene = Scene()
    back_offs_s = []
    scene.apply(2, 8)
    for _ in range(7):
        order = scene.fetch()
        assert order is not None
        scene.refuse(order.id)
        since_s = scene.clock.now_s()
        while scene.apply(2, 8).status == "refused":
            scene.wait(10)
        back_offs_s.append(scene.clock.now_s() - since_s)

    assert back_offs_s == [30, 60, 120, 240, 480, 600, 600]


def test_a_refused_plan_is_answered_with_the_launchers_reason() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001", reason="rack 4\nis down " + "for repair " * 100)

    applied = scene.apply(2, 8)

    assert applied.status == "refused"
    assert applied.detail.startswith("the launcher refused prefill 2, decode 8: rack 4 is down for repair")
    assert applied.detail.endswith("; asked again in 30 s")
    assert len(applied.detail) < 300


def test_a_refusal_needs_no_reason() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001", reason=None)

    assert "no reason was given" in scene.apply(2, 8).detail


def test_another_plan_is_ordered_at_once_and_the_refused_one_still_waits() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001")

    assert scene.apply(2, 4).status == "applied"
    scene.complete("002")
    assert scene.apply(2, 8).status == "refused"
    assert scene.read() == {"wanted": 4, "ready": 4}


def test_what_the_target_fell_back_to_is_an_order_of_its_own_when_it_is_planned() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001", ready={PREFILL: 2, DECODE: 2})

    assert scene.apply(2, 3).status == "applied"
    assert scene.fetch(after="001") == Order("002", BEGINNING, 0)


def test_completed_at_last_the_back_off_begins_anew() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.refuse("001")
    scene.wait(30)
    scene.apply(2, 8)
    scene.complete("002")
    scene.apply(2, 3)
    scene.apply(2, 8)

    scene.refuse("004")

    assert scene.apply(2, 8).detail.endswith("; asked again in 30 s")


# --- answers that cross each other ------------------------------------------------------------------------------


def test_the_same_answer_again_is_taken_the_same_way_and_changes_nothing() -> None:
    scene = Scene()
    scene.apply(2, 8)
    assert [scene.refuse("001", ready={PREFILL: 2, DECODE: 5}) for _ in range(3)] == ["refused"] * 3
    assert scene.apply(2, 8).detail.endswith("; asked again in 30 s")

    scene.apply(2, 6)
    assert [scene.complete("003", ready={PREFILL: 2, DECODE: 6}) for _ in range(3)] == ["completed"] * 3
    assert scene.read() == {"wanted": 6, "ready": 6}


def test_an_answer_that_was_delayed_on_its_way_is_taken_like_the_first_time() -> None:
    scene = Scene()
    scene.apply(2, 1)
    answers = [scene.complete("001", ready={PREFILL: 2, DECODE: decode}) for decode in (3, 1, 3)]

    assert answers == ["completed"] * 3


@pytest.mark.parametrize("completed", [True, False], ids=["completed", "refused"])
def test_an_answer_to_an_earlier_order_comes_too_late(completed: bool) -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.apply(2, 4)
    before = scene.read()

    assert scene.connector.acknowledge("chat", "001", completed, None, {PREFILL: 2, DECODE: 99}) == "superseded"
    assert scene.read() == before


def test_of_two_launchers_one_that_completes_outweighs_one_that_refuses() -> None:
    scene = Scene()
    scene.apply(2, 8)
    assert (scene.complete("001"), scene.refuse("001")) == ("completed", "already completed")
    assert scene.read() == {"wanted": 8, "ready": 8}

    scene.apply(2, 9)
    assert (scene.refuse("002"), scene.complete("002")) == ("refused", "completed")
    assert scene.read() == {"wanted": 9, "ready": 9}
    assert scene.apply(2, 9).status == "unchanged"


def test_replicas_started_for_an_order_that_was_replaced_may_be_reported_until_the_next_is_completed() -> None:
    scene = Scene()
    scene.apply(2, 8)
    scene.apply(2, 1)
    scene.connector.report("chat", {PREFILL: 2, DECODE: 8})
    assert scene.read() == {"wanted": 1, "ready": 8, "draining": 7}

    scene.complete("002", ready={PREFILL: 2, DECODE: 1})

    with pytest.raises(LauncherError, match=r"ready\.decode: 2 is more than the 1 that can exist"):
        scene.connector.report("chat", {PREFILL: 2, DECODE: 2})


# --- what cannot be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "message"),
    [
        pytest.param({"prefill": 2, "decode": 6}, r"^ready\.decode: 6 is more than the 5 that can exist; ", id="a lie"),
        pytest.param({"prefill": 2, "decode": -1}, r"^ready\.decode: -1 must be a whole number, 0 or more$", id="less"),
        pytest.param({"prefill": 2, "decode": 1.5}, r"^ready\.decode: 1\.5 must be a whole number", id="half"),
        pytest.param({"prefill": 2, "decode": True}, r"^ready\.decode: True must be a whole number", id="no number"),
        pytest.param({"decode": 3}, r"^ready: prefill is missing; report every pool of the service, ", id="a gap"),
        pytest.param(
            {"prefill": 2, "decode": 3, "aggregated": 1},
            r"^ready: there is no aggregated pool; report prefill and decode$",
            id="unknown pool",
        ),
    ],
)
def test_counts_that_cannot_be_are_refused_and_change_nothing(ready: Mapping[str, int], message: str) -> None:
    scene = Scene()
    scene.apply(2, 5)
    counts = {Role(role): count for role, count in ready.items()}

    with pytest.raises(LauncherError, match=message):
        scene.connector.report("chat", counts)
    with pytest.raises(LauncherError, match=message):
        scene.complete("001", ready=counts)
    with pytest.raises(LauncherError, match=message):
        scene.refuse("001", ready=counts)

    assert scene.read() == {"wanted": 5, "ready": 3, "starting": 2}


def test_an_order_that_was_never_given_cannot_be_answered() -> None:
    scene = Scene()
    message = "^order: '042' was not given, or is long past; fetch the order in force$"

    with pytest.raises(LauncherError, match=message):
        scene.complete("042")
    scene.apply(2, 5)
    with pytest.raises(LauncherError, match=message):
        scene.complete("042")


def test_launchers_of_an_unknown_service_are_told_which_there_are() -> None:
    connector = Scene().connector
    message = "^service: 'chta' is unknown; the services are chat, search$"

    with pytest.raises(LauncherError, match=message):
        run(connector.orders("chta", None, 30))
    with pytest.raises(LauncherError, match=message):
        connector.acknowledge("chta", "001", completed=True, reason=None, ready=None)
    with pytest.raises(LauncherError, match=message):
        connector.report("chta", BEGINNING)


def test_plans_for_what_is_not_there_are_refused_with_what_there_is() -> None:
    connector = Scene().connector

    assert run(connector.apply(Plan("chta", {DECODE: 1}, "001"))) == Applied(
        "refused", "service: 'chta' is unknown; the services are chat, search"
    )
    assert run(connector.apply(Plan("search", {DECODE: 1}, "001"))) == Applied(
        "refused", "replicas: search has no decode pool"
    )
