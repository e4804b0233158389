"""What the planner is compared with: each by its own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from builders import CORRECTION, planner_settings, pool_samples, pool_settings, service_samples, service_settings
from hypothesis import given
from hypothesis import strategies as st
from simulations import world_of

from planner.errors import UserError
from planner.scaling.forecast import LEVELS, Series, build
from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Absent, Demand, Role, ServiceSamples
from planner.sim.baselines.clairvoyant import ClairvoyantPolicy, needs
from planner.sim.baselines.contenders import ORACLE_OBJECTIVES, Variation, World, contenders
from planner.sim.baselines.hpa import HpaPolicy, Reading, recommend
from planner.sim.baselines.published import PointForecaster, published
from planner.sim.baselines.static import splits
from planner.sim.baselines.windows import arrival_cv2, demands
from planner.sim.loads import Request
from planner.sim.policies import PlannerPolicy, StaticPolicy

P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED


def spread(count: int, gap_s: float, start_s: float = 0.0) -> list[Request]:
    return [Request(start_s + i * gap_s, 3000, 150) for i in range(count)]


# --- a trace as windows --------------------------------------------------------------------------------------------


def test_demand_is_told_per_window_and_silence_is_left_out() -> None:
    requests = [Request(1.0, 100, 10), Request(2.0, 300, 30), Request(65.0, 50, 5)]

    assert list(demands(requests, 30.0, 2.0)) == [
        (0, Demand(2 / 30, 200.0, 20.0, 0.25, 2.0)),
        (2, Demand(1 / 30, 50.0, 5.0, 0.0, 2.0)),
    ]


def test_arrivals_as_regular_as_a_clock_do_not_vary_whatever_the_rate_does_between_windows() -> None:
    requests = [*spread(30, 1.0), *spread(300, 0.1, start_s=30.0)]

    assert arrival_cv2(requests, 30.0) == pytest.approx(0.0, abs=1e-9)


def test_poisson_arrivals_vary_by_one_and_clumps_of_ten_by_about_nineteen() -> None:
    random = Random(5)
    at_s, poisson = 0.0, []
    for _ in range(20_000):
        at_s += random.expovariate(10.0)
        poisson.append(Request(at_s, 100, 10))
    clumps = [request for request in poisson for _ in range(10)]

    assert arrival_cv2(poisson, 30.0) == pytest.approx(1.0, abs=0.1)
    # A clump of ten leaves nine gaps of 0 and one of exponential length: 10 * 2 - 1.
    assert arrival_cv2(clumps, 30.0) == pytest.approx(19.0, rel=0.1)


def test_burstiness_of_too_few_arrivals_is_unknown_not_zero() -> None:
    assert arrival_cv2(spread(3, 1.0), 30.0) is None


# --- static --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pools", "gpus", "expected"),
    [
        pytest.param({P: 1, D: 1}, 4, [{P: 1, D: 3}, {P: 2, D: 2}, {P: 3, D: 1}], id="one GPU each"),
        pytest.param({P: 1, D: 4}, 9, [{P: 1, D: 2}, {P: 5, D: 1}], id="decode on four"),
        pytest.param({P: 1, D: 1}, 1, [], id="too few"),
        pytest.param({P: 2, D: 2}, 5, [], id="odd"),
        pytest.param({A: 2}, 6, [{A: 3}], id="aggregated"),
        pytest.param({A: 2}, 5, [], id="aggregated, half a replica"),
        pytest.param({A: 2}, 0, [], id="none"),
    ],
)
def test_splits_are_all_fleets_of_exactly_so_many_gpus(
    pools: Mapping[Role, int], gpus: int, expected: list[Mapping[Role, int]]
) -> None:
    settings = {role: pool_settings(role, gpus_per_replica=per_replica) for role, per_replica in pools.items()}

    assert splits(settings, gpus) == expected


# --- Horizontal Pod Autoscaler -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "ready", "total", "desired"),
    [
        pytest.param(2, 2, 4.0, 4, id="twice the target doubles"),
        pytest.param(4, 4, 1.0, 1, id="a quarter of the target quarters"),
        pytest.param(10, 10, 11.0, 10, id="1.1 is within the tolerance"),
        pytest.param(10, 10, 11.2, 12, id="1.12 is not"),
        pytest.param(10, 10, 9.0, 10, id="0.9 is within the tolerance"),
        pytest.param(10, 10, 8.8, 9, id="0.88 is not"),
        pytest.param(3, 3, 0.0, 0, id="idle; the minimum is applied later"),
        pytest.param(4, 2, 6.0, 6, id="raise: replicas that start count as idle, 6/4 of 4"),
        pytest.param(4, 2, 3.0, 4, id="raise turned round by those that start: nothing"),
        pytest.param(4, 2, 4.2, 4, id="raise within the tolerance once they count: nothing"),
        pytest.param(4, 2, 1.0, 3, id="cut: replicas that start count as at target, 3/4 of 4"),
        pytest.param(3, 0, 0.0, 3, id="nobody reports: nothing"),
    ],
)
def test_recommends_by_the_ratio_to_a_target_of_one(wanted: int, ready: int, total: float, desired: int) -> None:
    assert recommend(Reading(wanted, ready, total), 1.0) == desired


@given(st.integers(1, 50), st.integers(0, 50), st.floats(0, 500), st.floats(0.1, 10))
def test_a_recommendation_never_goes_against_the_metric(ready: int, starting: int, total: float, target: float) -> None:
    current = ready + starting
    desired = recommend(Reading(current, ready, total), target)

    assert desired <= current if total < target * ready else desired >= current


def hpa(metric: Any = "utilisation", target: float = 0.5, service: ServiceSettings | None = None) -> HpaPolicy:
    return HpaPolicy(service or service_settings(), budget_gpus=20, metric=metric, target=target)


def seen(prefill: int, decode: int, **gauges: float) -> Mapping[str, ServiceSamples]:
    pools = {role: pool_samples(wanted=count, ready=count, **gauges) for role, count in ((P, prefill), (D, decode))}
    return {"chat": service_samples(pools=pools)}


def ordered(policy: HpaPolicy, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[Role, int]:
    orders = policy.decide(samples, now_s)
    return orders["chat"].replicas if orders else {}


def test_lowers_to_the_highest_recommendation_of_five_minutes_which_begin_with_what_is_ordered() -> None:
    policy = hpa()

    assert ordered(policy, seen(4, 1, running=0), 0.0)[P] == 4, "a fresh window holds what is ordered"
    assert ordered(policy, seen(4, 1, running=4), 60.0)[P] == 8
    assert ordered(policy, seen(4, 1, running=0), 290.0)[P] == 4
    assert ordered(policy, seen(4, 1, running=0), 359.0)[P] == 4, "8 was recommended 299 s ago"
    assert ordered(policy, seen(4, 1, running=0), 375.0)[P] == 1, "and is forgotten"


@pytest.mark.parametrize(("current", "most"), [(1, 5), (4, 8), (6, 12)])
def test_raises_by_the_larger_of_double_and_four(current: int, most: int) -> None:
    assert ordered(hpa("queue", 1.0), seen(current, 1, waiting=1000), 0.0)[P] == most


def test_looks_every_15_s_at_most() -> None:
    policy = hpa()

    assert [bool(policy.decide(seen(1, 1), now_s)) for now_s in (10.0, 20.0, 25.0, 30.0, 40.0)] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_never_leaves_the_bounds_nor_takes_the_others_last_gpu() -> None:
    bounded = service_settings(pools={P: pool_settings(P, min_replicas=2, max_replicas=3), D: pool_settings(D)})
    policy = hpa("queue", 1.0, bounded)

    assert ordered(policy, seen(2, 16, waiting=1000), 0.0) == {P: 3, D: 18}


def test_a_decode_replica_is_full_with_what_keeps_the_itl_target() -> None:
    service = service_settings()
    policy = hpa("utilisation", 1.0, service)

    assert ordered(policy, seen(1, 1, running=0), 0.0) == {P: 1, D: 1}
    text = policy.decide(seen(1, 1, running=0), 15.0)["chat"].causes[1].text
    assert text == "decode: 0.0 requests running per replica, target 126.0: 0 recommended, 1 ordered"


def test_a_metric_that_cannot_be_read_moves_nothing() -> None:
    blind = replace(pool_samples(wanted=3, ready=3), running=Absent("no answer"))
    samples = {"chat": service_samples(pools={P: blind, D: pool_samples(wanted=1, ready=1, running=0)})}

    assert P not in ordered(hpa(), samples, 0.0)


# --- published formulas --------------------------------------------------------------------------------------------


def test_the_point_stands_at_every_level() -> None:
    history = Series((30.0, 60.0, 90.0), (1.0, 5.0, 2.0))
    forecaster = PointForecaster(build("constant", 30.0))

    forecast = forecaster.forecast(history, 90.0, 30.0)

    assert forecaster.name == "constant"
    assert forecast.point == 2.0
    assert forecast.quantiles == tuple((level, 2.0) for level in LEVELS)


def test_the_published_planner_obeys_its_formula_at_once_in_both_directions() -> None:
    service = service_settings(correction=replace(CORRECTION, enabled=False))
    settings = planner_settings(published(service, budget_gpus=64))
    policy = PlannerPolicy(settings)

    def decided(rate_per_s: float, current: int, now_s: float) -> int:
        pools = {role: pool_samples(now_s, wanted=current, ready=current, waiting=50) for role in (P, D)}
        samples = {"chat": service_samples(now_s, rate_per_s=rate_per_s, pools=pools)}
        return policy.decide(samples, now_s)["chat"].replicas[P]

    # 100 req/s x 3000 tokens over one GPU's 49,000 tokens/s; nothing for the 50 that wait.
    assert decided(100.0, 1, 30.0) == 7
    assert decided(10.0, 7, 60.0) == 1


# --- clairvoyant ---------------------------------------------------------------------------------------------------

BUSY_FROM_S = 300.0


def quiet_then_busy() -> list[Request]:
    return [*spread(300, 1.0), *spread(6000, 0.01, start_s=BUSY_FROM_S), *spread(60, 1.0, start_s=360.0)]


def test_needs_are_sized_window_by_window_within_bounds() -> None:
    service = service_settings(pools={P: pool_settings(P, max_replicas=5), D: pool_settings(D, min_replicas=2)})

    needed = needs(quiet_then_busy(), service)

    assert len(needed) == 14
    assert needed[0] == {P: 1, D: 2}
    assert needed[10][P] == 5


def test_a_silent_window_needs_the_minimum() -> None:
    assert needs([Request(95.0, 3000, 150)], service_settings()) == [{P: 1, D: 1}] * 4


def test_orders_a_start_up_and_an_interval_ahead_and_lowers_at_once() -> None:
    policy = ClairvoyantPolicy(planner_settings(budget_gpus=64), {"chat": quiet_then_busy()})

    def decided(now_s: float, current: int) -> int:
        return policy.decide(seen(current, 1), now_s)["chat"].replicas[P]

    ahead_s = 120.0 + 30.0
    assert decided(BUSY_FROM_S - ahead_s - 30.0, 1) == 1
    assert decided(BUSY_FROM_S - ahead_s + 30.0, 1) >= 7
    assert decided(360.0, 8) == 1


def test_stays_within_the_budget() -> None:
    policy = ClairvoyantPolicy(planner_settings(budget_gpus=4), {"chat": quiet_then_busy()})

    order = policy.decide(seen(1, 1), BUSY_FROM_S)["chat"]

    assert sum(order.replicas.values()) <= 4
    assert order.replicas[P] > 1


# --- what users write ----------------------------------------------------------------------------------------------


def world(**overrides: Any) -> World:
    return world_of(planner_settings(service_settings(**overrides)), quiet_then_busy())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("planner", ["planner"], id="planner"),
        pytest.param("planner, planner", ["planner"], id="each once"),
        pytest.param("static:7+3", ["static:7+3"], id="split"),
        pytest.param("static:4", ["static:1+3", "static:2+2", "static:3+1"], id="every split"),
        pytest.param("hpa:queue=2,hpa:utilisation", ["hpa:queue=2", "hpa:utilisation"], id="hpa"),
        pytest.param("forecaster:arima", ["forecaster:arima"], id="forecaster"),
        pytest.param("oracle", [f"clairvoyant:{share:g}" for share in ORACLE_OBJECTIVES], id="oracle"),
        pytest.param(
            "default",
            ["planner", "published", "hpa:utilisation", "hpa:queue", "static:peak", "clairvoyant"],
            id="default",
        ),
    ],
)
def test_reads_policies(text: str, names: list[str]) -> None:
    assert [contender.name for contender in contenders(text, world())] == names


def test_a_contender_differs_from_the_planner_in_what_its_name_says() -> None:
    forecaster, published_one, oracle = contenders("forecaster:arima,published,clairvoyant:0.9", world())

    assert forecaster.world.services["chat"].forecaster.name == "arima"
    assert published_one.world.services["chat"].sizing.method == "throughput"
    assert oracle.world.services["chat"].targets.objective == 0.9


def test_only_a_static_contender_is_fixed() -> None:
    fixed, planner = contenders("static:7+3,planner", world())

    assert (fixed.fixed, planner.fixed) == ({"chat": {P: 7, D: 3}}, None)
    assert isinstance(fixed.make(fixed.world, lambda *_: None), StaticPolicy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("planer", "--compare: 'planer' is no policy; did you mean planner?", id="near match"),
        pytest.param("xyz", "'xyz' is no policy; use planner, forecaster, published,", id="nothing near"),
        pytest.param("planner,", "'' is no policy", id="empty"),
        pytest.param("planner:x", "'planner:x' has one part too many; write planner", id="argument"),
        pytest.param("forecaster", "'forecaster' lacks its name; write forecaster:constant", id="no forecaster"),
        pytest.param("forecaster:arma", "forecaster: 'arma' is unknown; use one of constant", id="forecaster"),
        pytest.param("hpa:cpu", "'hpa:cpu' has no such metric; use utilisation or queue", id="metric"),
        pytest.param("hpa:queue=0", "'hpa:queue=0' must have a positive target", id="target 0"),
        pytest.param("hpa:queue=inf", "'hpa:queue=inf' must have a positive target", id="target inf"),
        pytest.param("static:1", "'static:1' is no fleet of prefill and decode; use static:peak, ", id="one GPU"),
        pytest.param("static:1+0", "'static:1.0' is no fleet", id="no decode"),
        pytest.param("static:1+1+1", "static:2.2 .prefill . decode replicas., or static:N to split", id="three pools"),
        pytest.param("static", "'static:' is no fleet", id="static alone"),
        pytest.param("clairvoyant:1", "'clairvoyant:1' must name a share between 0 and 1", id="certainty"),
    ],
)
def test_says_what_would_make_sense(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        contenders(text, world())


def two_services() -> World:
    settings = planner_settings(service_settings(name="chat"), service_settings(name="code"), budget_gpus=6)
    return world_of(settings, quiet_then_busy())


def test_a_static_fleet_is_one_services_but_a_peak_is_everyones() -> None:
    (peak,) = contenders("static:peak", two_services())

    assert peak.fixed is not None
    assert set(peak.fixed) == {"chat", "code"}
    with pytest.raises(UserError, match=r"'static:7\+3' is one fleet, and 2 services are played; use static:peak"):
        contenders("static:7+3", two_services())


def test_clairvoyants_of_two_services_share_the_budget() -> None:
    here = two_services()
    (contender,) = contenders("clairvoyant", here)
    pools = {role: pool_samples(wanted=1, ready=1) for role in (P, D)}

    orders = contender.make(here, lambda *_: None).decide(
        {name: service_samples(pools=pools) for name in here.services}, now_s=270.0
    )

    assert sum(count for order in orders.values() for count in order.replicas.values()) == 6


def test_autoscalers_of_two_services_know_nothing_of_each_other() -> None:
    here = two_services()
    (contender,) = contenders("hpa:utilisation", here)
    busy, idle = ({role: pool_samples(wanted=2, ready=2, running=running) for role in (P, D)} for running in (2.0, 0.0))

    orders = contender.make(here, lambda *_: None).decide(
        {"chat": service_samples(pools=busy), "code": service_samples(pools=idle)}, now_s=270.0
    )

    assert orders["chat"].replicas[P] > 2
    assert orders["code"].replicas == {P: 2, D: 2}, "not below what the window began with"


def test_services_that_do_not_tick_together_cannot_be_simulated_together() -> None:
    settings = planner_settings(
        service_settings(name="chat", interval_s=30.0), service_settings(name="code", interval_s=60.0)
    )
    with pytest.raises(UserError, match="interval_s: 30 and 60 differ; services that are simulated together must tick"):
        world_of(settings, quiet_then_busy())


def test_a_start_up_time_to_try_is_both_true_and_believed() -> None:
    here = two_services().with_startup(7.0)

    assert {service.startup_s for service in here.services.values()} == {7.0}
    assert {conditions.lives.startup_s for conditions in here.conditions.values()} == {7.0}
    assert here.variation == Variation(startup_s=7.0)


def test_an_aggregated_service_takes_one_count() -> None:
    aggregated = world_of(planner_settings(service_settings(roles=(A,))), spread(10, 1.0))

    assert [one.fixed for one in contenders("static:3", aggregated)] == [{"chat": {A: 3}}]
    with pytest.raises(UserError, match=r"'static:1\+1' is no fleet of aggregated; use static:peak, or static:N"):
        contenders("static:1+1", aggregated)
