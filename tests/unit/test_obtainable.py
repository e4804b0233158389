"""What can be had while replicas find no GPU or fail: limits, shares and probes, on given counts and times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import GUARDS, observation, pool_settings, replicas, service_settings
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.decide import PoolState
from planner.scaling.obtainable import Obtainable, obtainable
from planner.scaling.reading import Stale
from planner.scaling.reasons import Code
from planner.scaling.types import Replicas, Role

P, D = Role.PREFILL, Role.DECODE
NOW_S = 1000.0
SERVICE = service_settings()
LATELY, LONG_AGO = NOW_S - GUARDS.max_pending_s + 1, NOW_S - GUARDS.max_pending_s


def decode(
    wish: int, counts: Replicas, *, prefill_wish: int = 2, service: Any = SERVICE, stale: bool = False, **state: Any
) -> Obtainable:
    """What a service asks for whose decode pool is as given, and whose 2 prefill replicas are well."""
    seen = observation(NOW_S, counts={P: replicas(2), D: counts})
    if stale:
        pool = replace(seen.pools[D], replicas=Stale(counts, NOW_S - 600, "old"))
        seen = replace(seen, pools={**seen.pools, D: pool})
    return obtainable({P: prefill_wish, D: wish}, {P: PoolState(), D: PoolState(**state)}, seen, service)


def text(found: Obtainable) -> list[str]:
    return [reason.text for reason in found.reasons]


STUCK = replicas(12, ready=4, starting=1, pending=7, pending_go_first=True)
HELD = replace(STUCK, pending_go_first=False)


def test_what_finds_no_gpu_is_given_back_but_for_a_probe() -> None:
    found = decode(14, STUCK, pending_since_s=LONG_AGO)

    assert found == Obtainable({P: 2, D: 6}, {D: 6}, found.reasons)
    assert text(found) == [
        "decode: 12 ordered, 6 asked for: 7 replicas unschedulable for 300 s are given back, but for a probe"
    ]


@pytest.mark.parametrize(
    ("counts", "state", "asked", "withdrawn"),
    [
        pytest.param(STUCK, {"pending_since_s": LATELY}, 14, None, id="not yet"),
        pytest.param(STUCK, {"pending_since_s": LONG_AGO, "stale": True}, 12, None, id="stale counts hold a raise"),
        pytest.param(HELD, {"pending_since_s": LONG_AGO}, 12, None, id="a cut would take what serves"),
        pytest.param(
            replace(STUCK, rolling_out=True), {"pending_since_s": LONG_AGO}, 12, None, id="a roll-out shares a cut"
        ),
        pytest.param(
            replicas(6, ready=4, starting=1, pending=1, pending_go_first=True),
            {"pending_since_s": 0.0},
            6,
            None,
            id="the probe stays",
        ),
        pytest.param(replicas(6, ready=5, starting=1), {}, 14, None, id="the probe found a GPU"),
    ],
)
def test_replicas_that_find_no_gpu_are_not_added_to(
    counts: Replicas, state: dict[str, Any], asked: int, withdrawn: int | None
) -> None:
    found = decode(14, counts, **state)

    assert (found.asked[D], found.withdrawn.get(D)) == (asked, withdrawn)


def test_a_held_raise_says_how_long() -> None:
    assert text(decode(14, HELD, pending_since_s=0.0)) == [
        "decode: not raised from 12 to 14: 7 replicas unschedulable for 1000 s"
    ]


@pytest.mark.parametrize(("wish", "asked"), [(9, 6), (6, 6), (3, 3)])
def test_replicas_without_gpus_go_also_where_fewer_are_wanted_and_the_guards_do_the_rest(wish: int, asked: int) -> None:
    found = decode(wish, STUCK, pending_since_s=LONG_AGO)

    assert (found.asked[D], found.withdrawn) == (asked, {D: 6})


def test_the_minimum_stays_asked_for() -> None:
    service = service_settings(pools={P: pool_settings(P), D: pool_settings(D, min_replicas=8)})

    assert decode(14, STUCK, service=service, pending_since_s=LONG_AGO).withdrawn == {D: 8}


@pytest.mark.parametrize(
    ("prefill_wish", "asked"),
    [
        pytest.param(8, 4, id="the same share"),
        pytest.param(9, 5, id="rounded up"),
        pytest.param(3, 2, id="never below what is ordered"),
        pytest.param(1, 1, id="its own wish to have fewer"),
    ],
)
@pytest.mark.parametrize("counts", [STUCK, HELD], ids=["withdrawn", "held"])
def test_the_other_pool_is_raised_to_the_same_share_of_its_wish(
    counts: Replicas, prefill_wish: int, asked: int
) -> None:
    found = decode(12, counts, prefill_wish=prefill_wish, pending_since_s=LONG_AGO)

    assert found.asked[P] == asked
    assert P not in found.withdrawn


def test_a_pool_held_back_for_the_other_says_so() -> None:
    found = decode(12, STUCK, prefill_wish=8, pending_since_s=LONG_AGO)

    assert text(found)[0] == "prefill: 8 wanted, raised only to 4: decode can have 6 of 12"


# --- failing ----------------------------------------------------------------------------------------------------

LONG: dict[str, Any] = {"failing_since_s": 0.0, "unproven_since_s": LONG_AGO}


@pytest.mark.parametrize(
    ("counts", "state", "asked"),
    [
        pytest.param(replicas(24, ready=20, starting=4, failing=4), LONG, 24, id="a bad image in a pool of twenty"),
        pytest.param(replicas(4, ready=0, starting=4, failing=2), LONG, 4, id="none was ever Ready"),
        pytest.param(
            replicas(24, ready=20, starting=4, failing=4), {**LONG, "failing_since_s": LATELY}, 30, id="not for long"
        ),
        pytest.param(
            replicas(24, ready=20, starting=4, failing=4), {**LONG, "unproven_since_s": LATELY}, 30, id="just ordered"
        ),
        pytest.param(
            replicas(24, ready=20, starting=4, failing=4),
            {**LONG, "unproven_since_s": None},
            30,
            id="others came: bad nodes",
        ),
        pytest.param(replicas(21, ready=20, starting=1, failing=1), LONG, 22, id="one may be its node: one more tries"),
        pytest.param(replicas(22, ready=20, starting=2, failing=1), LONG, 22, id="that one is on its way"),
        pytest.param(replicas(22, ready=20, starting=2, failing=2), LONG, 22, id="that one fails, too"),
        pytest.param(replicas(24, ready=20, starting=4, failing=None), LONG, 30, id="nobody tells"),
    ],
)
def test_a_pool_whose_replicas_fail_is_not_fed_unless_others_come(
    counts: Replicas, state: dict[str, Any], asked: int
) -> None:
    found = decode(30, counts, **state)

    assert (found.asked, found.withdrawn) == ({P: 2, D: asked}, {})
    assert [reason.code for reason in found.reasons] == [Code.FAILING] * (asked < 30)


def test_a_raise_held_for_failing_replicas_says_how_many_and_how_long() -> None:
    found = decode(30, replicas(24, ready=20, starting=4, failing=4), **LONG)

    assert text(found) == ["decode: 30 wanted, 24 asked for: 4 replicas failing, none Ready for 300 s"]


def test_failing_replicas_take_no_part_in_a_wish_for_fewer() -> None:
    assert decode(3, replicas(4, ready=2, starting=2, failing=2), **LONG) == Obtainable({P: 2, D: 3}, {}, ())


# --- properties -------------------------------------------------------------------------------------------------


@st.composite
def counts(draw: st.DrawFn) -> Replicas:
    ready, starting, pending = (draw(st.integers(0, 8)) for _ in range(3))
    return Replicas(
        wanted=max(0, ready + starting + pending + draw(st.integers(-3, 3))), ready=ready, starting=starting,
        pending=pending, draining=draw(st.integers(0, 3)), rolling_out=draw(st.booleans()),
        failing=draw(st.none() | st.integers(0, starting)), pending_go_first=draw(st.booleans()),
    )  # fmt: skip


since = st.none() | st.floats(0, NOW_S)
states = st.builds(PoolState, pending_since_s=since, failing_since_s=since, unproven_since_s=since)


@given(
    wanted=st.fixed_dictionaries({P: st.integers(1, 40), D: st.integers(1, 40)}),
    pools=st.fixed_dictionaries({P: states, D: states}),
    seen=st.fixed_dictionaries({P: counts(), D: counts()}),
)
def test_no_replica_that_serves_or_starts_is_taken_and_nothing_is_raised_for_it(
    wanted: dict[Role, int], pools: dict[Role, PoolState], seen: dict[Role, Replicas]
) -> None:
    found = obtainable(wanted, pools, observation(NOW_S, counts=seen), SERVICE)

    for role, replica_counts in seen.items():
        assert (
            min(wanted[role], replica_counts.ready + replica_counts.starting, replica_counts.wanted)
            <= (found.asked[role])
            <= wanted[role]
        )
        if role in found.withdrawn:
            kept = found.withdrawn[role]
            assert replica_counts.ready + replica_counts.starting < kept < replica_counts.wanted
            assert replica_counts.pending_go_first
            assert found.asked[role] <= kept
        else:
            assert found.asked[role] >= min(wanted[role], replica_counts.wanted)
