"""The lead time, learnt from what is seen of replicas tick by tick."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import INTERVAL_S, planner_settings, pool_samples, service_samples, service_settings
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.lead import ENOUGH, KEPT, LONGEST_S, Lead, Starts, lead, watched
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Replicas, Role, Start

P, D = Role.PREFILL, Role.DECODE


def played(*counts: Replicas, every_s: float = 30.0) -> Starts:
    """The counts of ticks in order, the first at 0."""
    starts = None
    for number, replicas in enumerate(counts):
        starts = watched(starts, replicas, number * every_s)
    assert starts is not None
    return starts


def pool(wanted: int, ready: int, pending: int = 0, rolling_out: bool = False) -> Replicas:
    return Replicas(wanted, ready, starting=max(0, wanted - ready - pending), pending=pending, rolling_out=rolling_out)


def test_a_start_up_counts_from_the_tick_before_the_one_that_sees_its_order() -> None:
    starts = played(pool(1, 1), pool(2, 1), pool(2, 1), pool(2, 2))

    assert (starts.took_s, starts.under_way) == ((90.0,), ())


def test_replicas_that_come_are_the_oldest_ordered() -> None:
    starts = played(pool(1, 1), pool(2, 1), pool(4, 1), pool(4, 3), pool(4, 4))

    assert starts.took_s == (90.0, 60.0, 90.0)


@pytest.mark.parametrize(
    ("counts", "took_s"),
    [
        pytest.param([pool(3, 1), pool(3, 2), pool(3, 3)], (), id="ordered before anybody watched"),
        pytest.param([pool(1, 1), pool(3, 1), pool(2, 1), pool(2, 2)], (90.0,), id="one start is cancelled"),
        pytest.param([pool(2, 2), pool(2, 1), pool(2, 2)], (), id="crashed and came back"),
        pytest.param(
            [pool(1, 1), pool(2, 1, 1), pool(2, 1, 1), pool(2, 1), pool(2, 2)], (60.0,), id="waited for a GPU"
        ),
        pytest.param([pool(1, 1), pool(2, 1), pool(2, 1, rolling_out=True), pool(2, 2)], (), id="rolled out"),
        pytest.param([pool(2, 2), pool(1, 1), pool(1, 1)], (), id="shrunk"),
    ],
)
def test_only_starts_seen_from_their_order_on_are_measured(counts: list[Replicas], took_s: tuple[float, ...]) -> None:
    assert played(*counts).took_s == took_s


COUNTS = st.builds(pool, st.integers(0, 6), st.integers(0, 6), st.integers(0, 3), st.booleans())


@given(st.lists(COUNTS, min_size=1, max_size=80))
def test_whatever_is_seen_what_is_kept_is_bounded_and_possible(counts: list[Replicas]) -> None:
    starts = played(*counts)

    assert len(starts.took_s) <= KEPT
    assert all(0 < took_s <= 30.0 * len(counts) for took_s in starts.took_s)
    assert len(starts.under_way) <= sum(each.wanted for each in counts)
    assert list(starts.under_way) == sorted(starts.under_way)


# --- told by the orchestrator -----------------------------------------------------------------------------------

DAY_S = 86_400.0


def start(replica: str, placed_at_s: float, took_s: float) -> Start:
    return Start(replica, placed_at_s + took_s, took_s)


def heard(*told: tuple[Start, ...], every_s: float = 30.0) -> Starts:
    """What is told at ticks in order, the first after a day."""
    starts = None
    for number, each in enumerate(told):
        starts = watched(starts, pool(4, 4), DAY_S + number * every_s, each)
    assert starts is not None
    return starts


A, B = start("a", DAY_S - 500, 100), start("b", DAY_S - 140, 150)


def test_starts_told_at_the_first_look_are_known_at_once() -> None:
    starts = heard((A, start("days ago", 0, 90)))

    assert starts.took_s == (90, 100)


@pytest.mark.parametrize(
    ("told", "took_s"),
    [
        pytest.param([(A,), (A, B), (A, B)], (100, 150), id="each is counted once"),
        pytest.param([(A,), (), (start("a", DAY_S - 500, 550),)], (100,), id="readiness was lost and came back"),
        pytest.param([(), (start("a", 0, DAY_S + 20),)], (), id="nobody starts for a day"),
        pytest.param([(A,), (A, start("old", 100, 90))], (100,), id="old ones that are told late"),
        pytest.param([(A,), (A, start("a2", DAY_S - 80, 100))], (100, 100), id="as fast as another"),
        pytest.param(
            [(*(start(name, 0, 90) for name in "abcd"), start("e", 0, 2_000))], (90,) * 4, id="far from the rest"
        ),
        pytest.param([(start("a", 0, DAY_S - 5), start("b", 9, DAY_S - 9))], (), id="all lost it a while ago"),
        pytest.param([()], (), id="nothing is Ready"),
    ],
)
def test_a_told_start_counts_when_it_is_news_and_can_be_true(
    told: list[tuple[Start, ...]], took_s: tuple[float, ...]
) -> None:
    assert heard(*told).took_s == took_s


def test_counts_measure_where_nothing_is_told_and_only_there() -> None:
    told = watched(played(pool(1, 1), pool(2, 1)), pool(2, 2), 60.0, (start("a", -60, 70),))
    untold = watched(told, pool(2, 2), 90.0)

    assert (told.took_s, told.under_way) == ((70,), ())
    assert (untold.took_s, untold.told) == ((70,), told.told)


STARTS = st.builds(start, st.sampled_from("abcdefgh"), st.floats(0, DAY_S), st.floats(0, 2 * LONGEST_S))


@given(st.lists(st.lists(STARTS, max_size=8).map(tuple), min_size=1, max_size=20))
def test_whatever_is_told_what_is_kept_is_bounded_and_can_be_true(told: list[tuple[Start, ...]]) -> None:
    starts = heard(*told)

    assert len(starts.took_s) <= KEPT
    assert all(0 <= took_s <= LONGEST_S for took_s in starts.took_s)
    assert set(starts.told or ()) <= {each.replica for tick in told for each in tick}


def test_what_the_orchestrator_tells_reaches_the_lead_time() -> None:
    """Five starts of 200 s, seven ticks; configured are 120 s."""
    settings = planner_settings(service_settings(startup_s=120.0))
    told = tuple(start(f"r{number}", 0.0, 200.0) for number in range(ENOUGH))
    pools = {role: pool_samples(DAY_S) for role in (P, D)}
    samples = replace(service_samples(DAY_S, pools=pools), starts={P: told})

    _, result = tick(initial_state(settings, 0.0), {"chat": samples}, settings, DAY_S)

    assert result.decisions["chat"].lead == Lead(210.0, ENOUGH)


def seen(*took_s: float) -> Starts:
    return Starts(0.0, 1, 1, took_s=took_s)


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        pytest.param({}, Lead(120.0, 0), id="nothing seen"),
        pytest.param({P: seen(*[300.0] * (ENOUGH - 1)), D: seen()}, Lead(120.0, 0), id="too few"),
        pytest.param({P: seen(*[300.0] * 3), D: seen(300.0, 300.0)}, Lead(300.0, 5), id="enough together"),
        pytest.param({P: seen(*[60.0] * ENOUGH)}, Lead(60.0, 5), id="one pool speaks for the other"),
        pytest.param({P: seen(*[60.0] * 60), D: seen(*[90.0] * 5)}, Lead(90.0, 65), id="a pool known to be slower"),
        pytest.param({P: seen(*[60.0] * 18, 200.0, 300.0)}, Lead(60.0, 20), id="0.9 quantile"),
        pytest.param({P: seen(*[61.0] * 5)}, Lead(60.0, 5), id="a tick that came late"),
        pytest.param({P: seen(*[70.0] * 5)}, Lead(90.0, 5), id="up to whole ticks"),
    ],
)
def test_the_lead_time_is_the_slow_start_of_all_pools_or_of_one_known_to_be_slower(
    pools: dict[Role, Starts], expected: Lead
) -> None:
    assert lead(pools, service_settings()) == expected


def test_the_forecast_reaches_as_far_as_starts_have_been_seen_to_take() -> None:
    """Orders that take five ticks, 150 s; configured are 120."""
    settings = planner_settings(service_settings(startup_s=120.0))
    state, now_s = initial_state(settings, 0.0), 0.0
    wanted, ready, horizons_s = 1, 1, []
    for number in range(60):
        wanted = 1 + number // 6
        ready = 1 + max(0, number - 4) // 6
        pools = {role: pool_samples(now_s, wanted=wanted, ready=ready) for role in (P, D)}
        state, result = tick(state, {"chat": service_samples(now_s, pools=pools)}, settings, now_s)
        forecast = result.decisions["chat"].forecast
        assert forecast is not None
        horizons_s.append(forecast.horizon_s)
        now_s += INTERVAL_S

    assert horizons_s[0] == 150.0
    assert horizons_s[-1] == 180.0
    assert result.decisions["chat"].lead.starts >= ENOUGH
