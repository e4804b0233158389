"""From history to the demand to size for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import INTERVAL_S, observation, service_settings

from planner.scaling.demand import DemandPoint, lengths_of, outlook, remember
from planner.scaling.reading import Missing, Stale, Valid
from planner.scaling.reasons import Code
from planner.scaling.types import Demand, PoolObservation, Role

SERVICE = service_settings()


def point(at_s: float, rate_per_s: float = 10, isl: float | None = 3000, osl: float | None = 150) -> DemandPoint:
    return DemandPoint(at_s, rate_per_s, isl, osl, None)


def test_a_valid_load_is_remembered_and_an_old_one_forgotten() -> None:
    history = (point(0), point(30))
    settings = replace(SERVICE.demand, history_s=60)

    after = remember(history, observation(90, rate_per_s=12), settings)

    assert after == (point(30), DemandPoint(90, 12.0, 3000.0, 150.0, 0.5))


@pytest.mark.parametrize("rate", [Missing("HTTP 503"), Stale(4.0, 0.0, "3 of 5 Ready replicas report")], ids=repr)
def test_a_load_that_is_not_valid_leaves_a_gap(rate: Missing | Stale[float]) -> None:
    seen = replace(observation(30), rate_per_s=rate)

    assert remember((point(0),), seen, SERVICE.demand) == (point(0),)


def test_nothing_is_known_without_history_and_observation() -> None:
    assert outlook((), replace(observation(), rate_per_s=Missing("time-out")), SERVICE, 120.0) is None


def test_the_demand_is_the_forecast_quantile_at_start_up_time_and_one_interval() -> None:
    history = tuple(point(30 * i) for i in range(40))

    ahead = outlook(history, observation(39 * 30.0), SERVICE, 120.0)

    assert ahead is not None
    assert ahead.forecast is not None
    assert ahead.forecast.horizon_s == SERVICE.startup_s + INTERVAL_S
    assert ahead.rate_per_s == ahead.forecast.quantile(0.9)


def test_what_arrives_and_waits_now_is_a_floor() -> None:
    history = tuple(point(30 * i) for i in range(40))
    surge = observation(40 * 30.0, rate_per_s=50)
    queue = PoolObservation(surge.pools[Role.PREFILL].replicas, Valid(300.0, 1200), Valid(1.0, 1200))
    surge = replace(surge, pools={**surge.pools, Role.PREFILL: queue})

    ahead = outlook(history, surge, SERVICE, 120.0)
    without = outlook(history, surge, replace(SERVICE, demand=replace(SERVICE.demand, reactive_floor=False)), 120.0)

    assert ahead is not None
    assert ahead.rate_per_s == 50 + 300 / 150
    assert [reason.code for reason in ahead.reasons] == [Code.FORECAST, Code.REACTIVE_FLOOR]
    assert without is not None
    assert without.rate_per_s < 50


def test_a_partial_load_raises_the_demand_but_never_lowers_it() -> None:
    history = tuple(point(30 * i) for i in range(40))
    full = outlook(history, observation(1200, rate_per_s=10), SERVICE, 120.0)
    for partial_per_s in (4.0, 40.0):
        stale = replace(observation(1200), rate_per_s=Stale(partial_per_s, 1200, "3 of 5 Ready replicas report"))
        partial = outlook(history, stale, SERVICE, 120.0)
        assert full is not None
        assert partial is not None
        assert partial.rate_per_s == max(full.rate_per_s, partial_per_s)


def test_lengths_before_traffic_are_the_agreements() -> None:
    assert lengths_of((), SERVICE).at(5) == Demand(5, 3000, 150, SERVICE.sizing.isl_cv2)


def test_lengths_are_weighted_by_requests_and_halve_with_age() -> None:
    """Weights: 10 req/s at half weight and 20 req/s at full weight, so (5 * 1000 + 20 * 2000) / 25."""
    history = (point(0, rate_per_s=10, isl=1000), point(300, rate_per_s=20, isl=2000))

    assert lengths_of(history, SERVICE).isl_tokens == pytest.approx(1800)


def test_a_long_silence_forgets_no_lengths() -> None:
    history = (point(0, isl=1000, osl=10), *(point(t, 0, None, None) for t in range(30, 9000, 30)))

    lengths = lengths_of(history, SERVICE)
    assert (lengths.isl_tokens, lengths.osl_tokens) == (1000, 10)
