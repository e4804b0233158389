"""Replicas for a demand: figures worked by hand, and what must hold for every demand and agreement."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builders import DEMAND, SIZING, TARGETS, h200
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import demands, profiles, sizings, targets

from planner.scaling.profile import Profile
from planner.scaling.settings import SizingSettings
from planner.scaling.size import Factors, size_pool
from planner.scaling.size.types import PoolSizing
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets

BY_THROUGHPUT = replace(SIZING, method="throughput")
P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED


def sized(
    role: Role,
    demand: Demand = DEMAND,
    agreement: Targets = TARGETS,
    settings: SizingSettings = SIZING,
    factors: Factors | None = None,
    profile: Profile | None = None,
) -> PoolSizing:
    return size_pool(role, demand, factors or Factors(), agreement, profile or h200(), settings)


def value_of(sizing: PoolSizing, symbol: str) -> float:
    (found,) = (step.value for step in sizing.steps if step.symbol == symbol)
    return found


def test_the_published_formulas_give_the_replicas_worked_by_hand() -> None:
    """100 req/s, isl 3000, osl 150, ttft 200 ms, itl 20 ms on the measured H200 profile.

    Prefill: TTFT(2134) = 49.97 ms and TTFT(3151) = 63.21 ms, so TTFT(3000) is about 61.0 ms, or 49,200 tokens/s:
    100 * 3000 / 49,200 = 6.1, rounded up 7.
    Decode: context 3000 + 150/2 = 3075. At the neighbouring context 2997, ITL is 15.48 ms with 97 requests and
    22.13 ms with 145; 20 ms lies between, where throughput is 6,101 to 6,371 tokens/s:
    100 * 150 / 6,200 = 2.4, rounded up 3.
    """
    prefill = sized(P, settings=BY_THROUGHPUT)
    decode = sized(D, settings=BY_THROUGHPUT)

    assert value_of(prefill, "prefill work") == 300_000
    assert value_of(prefill, "prefill capacity") == pytest.approx(49_200, rel=0.01)
    assert prefill.replicas == 7
    assert value_of(decode, "decode work") == 15_000
    assert value_of(decode, "decode capacity") == pytest.approx(6_200, rel=0.03)
    assert decode.replicas == 3


def test_the_published_factors_shrink_prefill_and_tighten_decode() -> None:
    """f_ttft 0.5 halves prefill work (6.1 -> 3.05, 4 replicas); above 1 it is not used. f_itl 2 asks for 10 ms."""
    halved = sized(P, settings=BY_THROUGHPUT, factors=Factors(ttft=0.5))
    doubled = sized(P, settings=BY_THROUGHPUT, factors=Factors(ttft=2.0))
    decode = sized(D, settings=BY_THROUGHPUT, factors=Factors(itl=2.0))

    assert (halved.replicas, doubled.replicas) == (4, 7)
    assert value_of(decode, "decode capacity") == pytest.approx(4_800, rel=0.03)
    assert decode.replicas == 4


def test_an_aggregated_replica_does_the_work_of_both() -> None:
    """6.1 replicas of prefill and 2.4 of decode: 8.5, rounded up 9."""
    assert sized(A, settings=BY_THROUGHPUT).replicas == 9


def test_the_queueing_method_adds_what_the_objective_asks_for() -> None:
    """Offered load 6.1 servers. With 7, 64 % wait and 33 ms on average: too many longer than 100 - 61 = 39 ms."""
    prefill = sized(P, agreement=replace(TARGETS, ttft_ms=100))

    assert value_of(prefill, "a") == pytest.approx(6.1, abs=0.1)
    assert prefill.replicas == 8
    assert value_of(prefill, "P(c)") >= 0.95 > value_of(prefill, "P(c-1)")
    assert prefill.unattainable is None


def test_decode_keeps_the_concurrency_where_the_target_holds() -> None:
    """15,000 tokens/s within 20 ms: a replica holds 126 requests, 6,270 tokens/s, so 2 are too few; 3 run at 80 %."""
    decode = sized(D)

    assert value_of(decode, "n*") == 126
    assert value_of(decode, "R") == 15_000
    assert decode.replicas == 3
    assert value_of(decode, "P(c)") >= 0.95
    assert 50 < value_of(decode, "E[n]") < 126


def test_a_tighter_objective_costs_replicas() -> None:
    spare = [sized(P, agreement=replace(TARGETS, objective=objective)).replicas for objective in (0.8, 0.95, 0.999)]

    assert spare == sorted(spare)
    assert spare[0] < spare[-1]


def test_an_unattainable_ttft_is_named_with_the_best_reachable_and_never_drops_capacity() -> None:
    fleets = [sized(P, agreement=replace(TARGETS, ttft_ms=ttft_ms)) for ttft_ms in (200, 62, 30, 5)]

    assert [fleet.replicas for fleet in fleets] == sorted(fleet.replicas for fleet in fleets)
    assert fleets[0].unattainable is None
    assert fleets[2].unattainable == (
        "0% of the prompts can be served within ttft 30 ms even without a queue, the objective is 95%; "
        "without a queue the mean is 61 ms"
    )


def test_an_unattainable_itl_is_named_and_never_drops_capacity() -> None:
    fleets = [sized(D, agreement=replace(TARGETS, itl_ms=itl_ms)) for itl_ms in (20, 8, 5, 4, 1)]

    assert [fleet.replicas for fleet in fleets] == sorted(fleet.replicas for fleet in fleets)
    assert fleets[-1].unattainable == "itl 1 ms; one request alone takes 4.4 ms a token"


def test_lengths_outside_the_profile_are_named() -> None:
    long = replace(DEMAND, isl_tokens=40_000, rate_per_s=1)

    assert sized(P, long).outside == (
        "100% of the prompts lie outside the profile's measured input lengths; timed as at its edge"
    )
    assert (
        sized(D, long).outside
        == "context 40075 tokens lies outside the profile's measured contexts; timed as at its edge"
    )


@pytest.mark.parametrize("role", [P, D, A])
@pytest.mark.parametrize("method", ["queueing", "throughput"])
def test_no_load_needs_one_replica(role: Role, method: str) -> None:
    chosen = BY_THROUGHPUT if method == "throughput" else SIZING

    assert sized(role, replace(DEMAND, rate_per_s=0), settings=chosen).replicas == 1


roles = st.sampled_from([P, D, A])


@settings(deadline=None)
@given(
    role=roles, demand=demands(), agreement=targets(), sizing=sizings(), profile=profiles(), more=st.floats(1, 3)
)  # fmt: skip
def test_more_load_never_needs_fewer_replicas(
    role: Role, demand: Demand, agreement: Targets, sizing: SizingSettings, profile: Profile, more: float
) -> None:
    heavier = replace(demand, rate_per_s=demand.rate_per_s * more)

    few, many = (sized(role, load, agreement, sizing, profile=profile).replicas for load in (demand, heavier))
    assert many >= few


@settings(deadline=None)
@given(
    role=roles, demand=demands(), agreement=targets(), sizing=sizings(), profile=profiles(),
    looser=st.tuples(st.floats(1, 5), st.floats(1, 5), st.floats(0, 1)),
)  # fmt: skip
def test_a_looser_agreement_never_needs_more_replicas(
    role: Role,
    demand: Demand,
    agreement: Targets,
    sizing: SizingSettings,
    profile: Profile,
    looser: tuple[float, float, float],
) -> None:
    ttft, itl, objective = looser
    easier = replace(
        agreement,
        ttft_ms=agreement.ttft_ms * ttft,
        itl_ms=agreement.itl_ms * itl,
        objective=0.8 + (agreement.objective - 0.8) * objective,
    )

    tight, loose = (sized(role, demand, asked, sizing, profile=profile).replicas for asked in (agreement, easier))
    assert loose <= tight


@settings(deadline=None)
@given(demand=demands(), agreement=targets(), factor=st.floats(1, 3))
def test_slower_hardware_never_needs_fewer_replicas(demand: Demand, agreement: Targets, factor: float) -> None:
    for role, factors in ((P, Factors(ttft=factor)), (D, Factors(itl=factor))):
        slower = sized(role, demand, agreement, factors=factors)
        assert slower.replicas >= sized(role, demand, agreement).replicas


@settings(deadline=None)
@given(role=roles, demand=demands(), agreement=targets(), sizing=sizings())
def test_the_arithmetic_on_record_is_finite_and_names_the_result(
    role: Role, demand: Demand, agreement: Targets, sizing: SizingSettings
) -> None:
    result = sized(role, demand, agreement, sizing)

    assert value_of(result, "c") == result.replicas
    assert all(math.isfinite(step.value) for step in result.steps)
    assert 0 <= result.utilisation <= 1
