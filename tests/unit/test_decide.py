"""The guards, as scripts on given times: wish this, expect that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import GUARDS, replicas

from planner.scaling.decide import PoolState, Situation, decide, remember
from planner.scaling.reasons import Code, because
from planner.scaling.settings import GuardSettings
from planner.scaling.types import Replicas, Role


class Pool:
    """A pool whose orders take effect at once, seen through its guards."""

    def __init__(self, wanted: int, settings: GuardSettings = GUARDS) -> None:
        self.counts: Replicas = replicas(wanted)
        self.settings = settings
        self.state = PoolState()
        self.codes: list[Code] = []

    def wish(self, at_s: float, wanted: int, **situation: Any) -> int:
        counts = situation.pop("replicas", self.counts)
        self.state = remember(self.state, counts, wanted, at_s, self.settings)
        values = {"granted": wanted, "grantable_now": wanted, "doubt": None, "over_budget": None} | situation
        now = Situation(role=Role.DECODE, now_s=at_s, replicas=counts, wanted=wanted, **values)
        ordered, reasons = decide(self.state, now, self.settings)
        self.codes = [reason.code for reason in reasons]
        assert all(reason.text for reason in reasons)
        self.counts = replicas(ordered)
        return ordered


def test_a_raise_is_ordered_at_once() -> None:
    assert Pool(2).wish(0, 4) == 4


def test_a_planner_that_has_just_started_cannot_shrink_the_fleet_for_one_window() -> None:
    pool = Pool(6)

    assert pool.wish(0, 2) == 6
    assert pool.codes == [Code.STABILISE_DOWN, Code.KEEP]
    assert pool.wish(119, 2) == 6
    assert pool.wish(120, 2) == 3  # the 6 of the start is out of the window; at most half at a time
    assert pool.codes == [Code.RATE_DOWN, Code.LOWER]
    assert pool.wish(150, 2) == 2


def test_a_cut_goes_to_the_highest_wish_of_the_window() -> None:
    pool = Pool(8)

    pool.wish(0, 8)
    pool.wish(60, 5)
    pool.wish(90, 4)
    assert pool.wish(120, 3) == 5  # of 60 s
    assert pool.wish(180, 3) == 4  # of 90 s
    assert pool.wish(240, 3) == 3


def test_a_raise_with_a_window_goes_to_its_lowest_wish() -> None:
    pool = Pool(2, replace(GUARDS, stabilisation_up_s=60))

    assert pool.wish(0, 5) == 2  # the 2 of the start
    assert pool.codes == [Code.STABILISE_UP, Code.KEEP]
    assert pool.wish(30, 4) == 2
    assert pool.wish(60, 6) == 4  # of 30 s


@pytest.mark.parametrize(
    ("current", "wanted", "ordered"),
    [
        pytest.param(1, 9, 5, id="at least four more"),
        pytest.param(10, 50, 20, id="at most doubled"),
        pytest.param(10, 12, 12, id="within the step"),
    ],
)
def test_a_raise_is_limited_per_step(current: int, wanted: int, ordered: int) -> None:
    assert Pool(current).wish(0, wanted) == ordered


def test_one_replica_may_always_go() -> None:
    pool = Pool(2, replace(GUARDS, max_down_factor=0.1, stabilisation_down_s=0))

    assert pool.wish(0, 1) == 1


def test_small_cuts_are_within_the_tolerance_but_small_raises_are_made() -> None:
    settings = replace(GUARDS, tolerance=0.1, stabilisation_down_s=0)

    assert Pool(20, settings).wish(0, 18) == 20
    assert Pool(20, settings).wish(0, 17) == 17
    assert Pool(20, settings).wish(0, 21) == 21


def test_doubt_holds_a_cut_but_not_a_raise() -> None:
    settings = replace(GUARDS, stabilisation_down_s=0)
    pool = Pool(4, settings)

    assert pool.wish(0, 2, doubt="rate: 3 of 5 Ready replicas report") == 4
    assert pool.codes == [Code.DOUBT, Code.KEEP]
    assert pool.wish(30, 6, doubt="rate: 3 of 5 Ready replicas report") == 6


def test_a_rollout_holds_a_cut_but_not_a_raise() -> None:
    settings = replace(GUARDS, stabilisation_down_s=0)

    assert Pool(4, settings).wish(0, 2, replicas=replicas(4, rolling_out=True)) == 4
    assert Pool(4, settings).wish(0, 6, replicas=replicas(4, rolling_out=True)) == 6


def test_replicas_without_gpus_are_given_back_at_once_whatever_guards_a_cut() -> None:
    pool = Pool(12)
    stuck = replicas(12, ready=5, pending=7)

    assert pool.wish(0, 12, replicas=stuck, granted=6, withdrawn=6, doubt="rate: missing") == 6
    assert pool.codes == [Code.LOWER]


def test_a_fleet_over_its_budget_gives_back_more_than_replicas_without_gpus() -> None:
    pool = Pool(12)
    over = because(Code.OVER_BUDGET, role="decode", held_gpus=16, budget_gpus=8)

    assert pool.wish(0, 12, replicas=replicas(12, ready=5, pending=7), granted=3, withdrawn=6, over_budget=over) == 3


TRIED = PoolState(unproven_since_s=0.0, seen=replicas(4, ready=2, failing=2))


@pytest.mark.parametrize(
    ("state", "counts", "unproven_since_s"),
    [
        pytest.param(PoolState(), replicas(4, ready=2), None, id="a fleet that serves is taken for sound"),
        pytest.param(PoolState(), replicas(4, ready=0), 60.0, id="one that does not serve is not"),
        pytest.param(PoolState(), replicas(4, rolling_out=True), 60.0, id="nor one that rolls out"),
        pytest.param(PoolState(seen=replicas(4)), replicas(6, ready=4), 60.0, id="ordered"),
        pytest.param(PoolState(seen=replicas(4)), replicas(4, rolling_out=True), 60.0, id="a roll-out begins"),
        pytest.param(PoolState(seen=replicas(4)), replicas(4, ready=3), None, id="one is lost"),
        pytest.param(TRIED, replicas(4, ready=2, failing=2), 0.0, id="none has come"),
        pytest.param(TRIED, replicas(8, ready=2, failing=2), 0.0, id="more ordered and none has come"),
        pytest.param(TRIED, replicas(4, ready=3, failing=1), None, id="one has come"),
        pytest.param(TRIED, replicas(8, ready=3, failing=1), 60.0, id="one has come and more are ordered"),
        pytest.param(TRIED, replicas(2), None, id="all others were cancelled"),
        pytest.param(TRIED, replicas(2, rolling_out=True), 0.0, id="all others were cancelled, but it rolls out"),
    ],
)
def test_replicas_are_proven_by_one_that_becomes_ready(
    state: PoolState, counts: Replicas, unproven_since_s: float | None
) -> None:
    assert remember(state, counts, 8, 60.0, GUARDS).unproven_since_s == unproven_since_s


def test_trouble_lasts_from_the_tick_that_saw_it_first_to_the_one_that_sees_it_no_more() -> None:
    pool = Pool(4)

    def since(at_s: float, **counts: int) -> tuple[float | None, float | None]:
        pool.wish(at_s, 4, replicas=replicas(4, **counts))
        return pool.state.pending_since_s, pool.state.failing_since_s

    assert since(0, ready=2, starting=2) == (None, None)
    assert since(30, ready=1, starting=1, pending=2, failing=1) == (30, 30)
    assert since(60, ready=1, starting=2, pending=1, failing=2) == (30, 30)
    assert since(90, ready=1, starting=3, failing=0) == (None, None)


def test_a_raise_waits_for_gpus() -> None:
    pool = Pool(2)

    assert pool.wish(0, 5, grantable_now=3) == 3
    assert pool.codes == [Code.BUDGET_WAIT, Code.RAISE]


def test_a_fleet_over_its_budget_is_lowered_at_once() -> None:
    pool = Pool(8)
    over = because(Code.OVER_BUDGET, role="decode", held_gpus=16, budget_gpus=8)

    assert pool.wish(0, 8, granted=3, over_budget=over, doubt="rate: missing") == 3


@pytest.mark.parametrize("current", [0, 1, 3, 10])
@pytest.mark.parametrize("granted", [0, 1, 3, 10])
def test_an_order_lies_between_what_is_there_and_what_was_granted(current: int, granted: int) -> None:
    pool = Pool(current)
    for at_s in range(0, 600, 30):
        before = pool.counts.wanted
        ordered = pool.wish(at_s, granted)
        assert min(before, granted) <= ordered <= max(before, granted)
    assert ordered == granted
