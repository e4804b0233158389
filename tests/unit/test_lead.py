"""The lead time, learnt from what is seen of replicas tick by tick."""

from __future__ import annotations

import pytest
from builders import INTERVAL_S, planner_settings, pool_samples, service_samples, service_settings
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.lead import ENOUGH, KEPT, Lead, Starts, lead, watched
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Replicas, Role

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
