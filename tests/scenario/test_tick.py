"""The whole tick, as scripts on given times and as properties over all observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import GUARDS, INTERVAL_S, planner_settings, pool_samples, service_samples, service_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.scaling.decision import Decision, TickResult
from planner.scaling.forecast import build
from planner.scaling.reading import Valid
from planner.scaling.reasons import Code
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import PlannerState, initial_state, tick
from planner.scaling.types import Absent, PoolSamples, Role, Sample, ServiceSamples

P, D = Role.PREFILL, Role.DECODE


class Fleet:
    """One service whose orders take effect at once, driven tick by tick."""

    def __init__(self, settings: PlannerSettings, prefill: int = 2, decode: int = 2) -> None:
        self.settings = settings
        self.counts = {P: prefill, D: decode}
        self.state = initial_state(settings, 0)
        self.at_s = 0.0

    def samples(self, rate_per_s: float, **values: float) -> ServiceSamples:
        pools = {role: pool_samples(self.at_s, wanted=count, ready=count) for role, count in self.counts.items()}
        return service_samples(self.at_s, rate_per_s=rate_per_s, pools=pools, **values)

    def step(self, samples: ServiceSamples) -> Decision:
        self.state, result = tick(self.state, {"chat": samples}, self.settings, self.at_s)
        decision = result.decisions["chat"]
        self.counts |= decision.plan
        self.at_s += INTERVAL_S
        return decision

    def run(self, rate_per_s: float, minutes: float) -> Decision:
        for _ in range(round(minutes * 60 / INTERVAL_S)):
            decision = self.step(self.samples(rate_per_s))
        return decision


def codes(decision: Decision) -> list[Code]:
    return [reason.code for reason in decision.reasons]


def test_after_an_outage_longer_than_the_down_window_half_a_window_of_samples_lowers_nothing() -> None:
    fleet = Fleet(planner_settings())
    fleet.run(60, minutes=2)
    before = dict(fleet.counts)

    outage_s = GUARDS.stabilisation_down_s + INTERVAL_S
    for _ in range(round(outage_s / INTERVAL_S)):
        fleet.step(replace(fleet.samples(60), rate_per_s=Absent("Prometheus is down")))
    after = []
    for rate_per_s in (20, 40, 60):
        fleet.step(fleet.samples(rate_per_s))
        after.append(fleet.counts[P])

    assert after == [before[P]] * 3
    assert before[P] > 2


def test_follows_the_load_up_at_once_and_down_after_the_window() -> None:
    fleet = Fleet(planner_settings())

    fleet.run(1, minutes=10)
    assert fleet.counts == {P: 1, D: 1}
    fleet.run(60, minutes=1)
    at_peak = dict(fleet.counts)
    assert at_peak[P] >= 60 * 0.061  # the offered load
    assert at_peak[D] >= 1
    fleet.run(1, minutes=1)
    assert fleet.counts == at_peak
    fleet.run(1, minutes=240)
    assert fleet.counts == {P: 1, D: 1}


def test_holds_the_plan_while_the_load_is_missing_and_recovers_by_itself() -> None:
    fleet = Fleet(planner_settings())
    fleet.run(30, minutes=5)
    held = dict(fleet.counts)

    for _ in range(20):
        decision = fleet.step(replace(fleet.samples(30), rate_per_s=Absent("HTTP 503")))
        assert codes(decision) == [Code.NO_DEMAND]
        assert decision.plan == {}
    assert fleet.counts == held

    fleet.run(60, minutes=2)
    assert fleet.counts[P] > held[P]


def test_a_pool_whose_counts_are_unknown_is_left_alone_and_the_other_is_not() -> None:
    fleet = Fleet(planner_settings())
    fleet.run(10, minutes=5)
    samples = fleet.samples(80)
    blind = replace(samples.pools[D], ready=Absent("forbidden"))

    decision = fleet.step(replace(samples, pools={**samples.pools, D: blind}))

    assert D not in decision.plan
    assert decision.plan[P] > 2
    assert Code.NO_REPLICA_COUNTS in codes(decision)


def test_nothing_changes_before_the_delayed_start() -> None:
    service = service_settings(guards=replace(GUARDS, delayed_start_s=30))
    fleet = Fleet(planner_settings(service))

    first = fleet.step(fleet.samples(80))
    assert first.plan == {}
    assert Code.DELAYED_START in codes(first)
    assert fleet.step(fleet.samples(80)).plan[P] > 2


def test_an_idle_service_keeps_its_minimum() -> None:
    fleet = Fleet(planner_settings(), prefill=3, decode=3)

    for _ in range(240):
        samples = fleet.samples(0)
        quiet = {role: replace(pool, running=Sample(0, fleet.at_s)) for role, pool in samples.pools.items()}
        absent = Absent("no requests in the window")
        idle = replace(
            samples, isl_tokens=absent, osl_tokens=absent, isl_cv2=absent, ttft_s=absent, queue_s=absent, itl_s=absent
        )
        fleet.step(replace(idle, pools=quiet))

    assert fleet.counts == {P: 1, D: 1}


def test_two_services_share_the_budget_by_priority() -> None:
    chat, batch = service_settings("chat", priority=1), service_settings("batch")
    settings = planner_settings(chat, batch, budget_gpus=12)
    state = initial_state(settings, 0)

    samples = {"chat": service_samples(rate_per_s=90), "batch": service_samples(rate_per_s=90)}
    _, result = tick(state, samples, settings, 0)

    granted = {name: {role: p.granted for role, p in d.pools.items()} for name, d in result.decisions.items()}
    assert granted == {"chat": {P: 7, D: 3}, "batch": {P: 1, D: 1}}


def test_a_blind_service_keeps_what_it_has_and_delays_nobody() -> None:
    chat, batch = service_settings("chat"), service_settings("batch", priority=1)
    settings = planner_settings(chat, batch, budget_gpus=10)
    both = {"chat": service_samples(rate_per_s=40), "batch": service_samples(rate_per_s=5)}
    state, _ = tick(initial_state(settings, 0), both, settings, 0)
    absent = Absent("connection refused")
    dark = PoolSamples(*[absent] * 9)
    blind = {"chat": service_samples(30, rate_per_s=90), "batch": replace(both["batch"], pools={P: dark, D: dark})}

    _, result = tick(state, blind, settings, 30)

    assert result.decisions["batch"].plan == {}
    assert result.budget.held == 8  # the blind service is taken to hold the 4 it was last seen with
    raised = sum(result.decisions["chat"].plan.values())
    assert raised > 4
    assert raised + 4 <= 10


@pytest.mark.parametrize("model", ["constant", "moving-average", "kalman-level", "kalman", "arima"])
def test_a_restart_with_the_same_history_decides_the_same(model: str) -> None:
    """A new process folds the recorded samples through the same tick: state and next decision are equal."""

    def service_with_fresh_forecaster() -> PlannerSettings:
        return planner_settings(service_settings(forecaster=build(model, interval_s=INTERVAL_S)))

    fleet = Fleet(service_with_fresh_forecaster())
    recorded = []
    for i in range(60):
        samples = fleet.samples(10 + (i % 7) + i / 3)
        recorded.append((fleet.at_s, samples))
        fleet.step(samples)

    restarted = service_with_fresh_forecaster()
    state = initial_state(restarted, 0)
    for at_s, samples in recorded:
        state, _ = tick(state, {"chat": samples}, restarted, at_s)

    following = {"chat": fleet.samples(33)}
    assert state == fleet.state
    assert tick(state, following, restarted, fleet.at_s) == tick(fleet.state, following, fleet.settings, fleet.at_s)


# --- properties -------------------------------------------------------------------------------------------------

SETTINGS = planner_settings(service_settings(guards=replace(GUARDS, stabilisation_down_s=0)), budget_gpus=24)
FIELDS = ["rate_per_s", "isl_tokens", "osl_tokens", "isl_cv2", "ttft_s", "queue_s", "itl_s"]
POOL_FIELDS = ["wanted", "ready", "starting", "pending", "draining", "rolling_out", "reporting", "waiting", "running"]

pools = st.builds(
    lambda ready, starting, pending, draining, waiting, running, failing, pending_go_first: pool_samples(
        60, wanted=ready + starting + pending, ready=ready, starting=starting, pending=pending, draining=draining,
        waiting=waiting, running=running, failing=min(failing, starting), pending_go_first=pending_go_first,
    ),
    ready=st.integers(0, 10), starting=st.integers(0, 3), pending=st.integers(0, 2), draining=st.integers(0, 3),
    waiting=st.integers(0, 50), running=st.integers(0, 200), failing=st.integers(0, 3), pending_go_first=st.booleans(),
)  # fmt: skip
samples_at_60 = st.builds(
    lambda prefill, decode, rate, isl, osl, cv2, ttft, itl: service_samples(
        60, rate_per_s=rate, pools={P: prefill, D: decode}, isl_tokens=isl, osl_tokens=osl, isl_cv2=cv2, ttft_s=ttft,
        itl_s=itl,
    ),
    prefill=pools, decode=pools, rate=st.floats(0, 150), isl=st.floats(1, 20_000), osl=st.floats(1, 1000),
    cv2=st.floats(0, 4), ttft=st.floats(0.001, 10), itl=st.floats(0.001, 1),
)  # fmt: skip
histories = st.lists(st.floats(0, 150), min_size=1, max_size=2)


def after(rates: list[float]) -> PlannerState:
    state = initial_state(SETTINGS, -3600)
    for i, rate in enumerate(rates):
        state, _ = tick(state, {"chat": service_samples(30.0 * i, rate_per_s=rate)}, SETTINGS, 30.0 * i)
    return state


def orders(result: TickResult) -> dict[Role, tuple[int | None, int | None]]:
    return {role: (pool.current, pool.replicas) for role, pool in result.decisions["chat"].pools.items()}


def drop(samples: ServiceSamples, field: str, how: Callable[[float], Sample | Absent]) -> ServiceSamples:
    if field in FIELDS:
        damaged_field: dict[str, Any] = {field: how(getattr(samples, field).value)}
        return replace(samples, **damaged_field)
    role, name = field.split(".")
    pool = samples.pools[Role(role)]
    damaged = replace(pool, **{name: how(getattr(pool, name).value)})
    return replace(samples, pools={**samples.pools, Role(role): damaged})


ALL_FIELDS = FIELDS + [f"{role}.{name}" for role in (P, D) for name in POOL_FIELDS]


@settings(deadline=None)
@given(
    rates=histories,
    samples=samples_at_60,
    field=st.sampled_from(ALL_FIELDS),
    how=st.sampled_from([lambda _: Absent("gone"), lambda _: Sample(float("nan"), 60), lambda v: Sample(v, -600)]),
)
def test_a_missing_or_stale_field_never_lowers_replicas(
    rates: list[float], samples: ServiceSamples, field: str, how: Callable[[float], Sample | Absent]
) -> None:
    damaged = drop(samples, field, how)
    idle = samples.rate_per_s == Sample(0.0, 60)
    _, result = tick(after(rates), {"chat": damaged}, SETTINGS, 60)

    if result.budget.exceeded or (idle and field in FIELDS):  # a fleet over budget must shrink; idle has no lengths
        return
    for current, ordered in orders(result).values():
        assert ordered is None or current is None or ordered >= current


@settings(deadline=None)
@given(samples=samples_at_60, field=st.sampled_from(ALL_FIELDS), stale=st.booleans())
def test_replicas_that_find_no_gpu_are_given_back_and_no_other_with_them(
    samples: ServiceSamples, field: str, stale: bool
) -> None:
    """Both pools have been without GPUs for 300 s; one field is damaged."""
    stuck = {role: pool_samples(-240, wanted=4, ready=2, pending=2) for role in (P, D)}
    history = {"chat": service_samples(-240, rate_per_s=90, pools=stuck)}
    state, _ = tick(initial_state(SETTINGS, -3600), history, SETTINGS, -240)
    damaged = drop(samples, field, (lambda value: Sample(value, -600)) if stale else (lambda _: Absent("gone")))

    _, result = tick(state, {"chat": damaged}, SETTINGS, 60)

    if result.budget.exceeded:
        return
    for role, (current, ordered) in orders(result).items():
        replicas = result.decisions["chat"].observation.pools[role].replicas
        if ordered is not None and current is not None and ordered < current and samples.rate_per_s != Sample(0.0, 60):
            assert isinstance(replicas, Valid)
            assert ordered > replicas.value.ready + replicas.value.starting
            assert replicas.value.pending_go_first


@settings(deadline=None)
@given(rates=histories, samples=samples_at_60)
def test_orders_never_exceed_the_budget_nor_fall_below_the_minima(rates: list[float], samples: ServiceSamples) -> None:
    _, result = tick(after(rates), {"chat": samples}, SETTINGS, 60)

    added = sum(max(0, (ordered or 0) - (current or 0)) for current, ordered in orders(result).values())
    assert added == 0 or result.budget.held + added <= SETTINGS.budget_gpus
    for current, ordered in orders(result).values():
        assert ordered is None or ordered >= min(1, current or 0)


@settings(deadline=None)
@given(rates=histories, samples=samples_at_60)
def test_the_tick_is_deterministic_and_changes_nothing_it_was_given(
    rates: list[float], samples: ServiceSamples
) -> None:
    state = after(rates)

    once = tick(state, {"chat": samples}, SETTINGS, 60)
    again = tick(after(rates), {"chat": samples}, SETTINGS, 60)

    assert once == again
    assert state == after(rates)


@settings(deadline=None)
@given(rates=histories, samples=samples_at_60, more=st.floats(1, 3))
def test_more_arrivals_never_want_fewer_replicas(rates: list[float], samples: ServiceSamples, more: float) -> None:
    assert isinstance(samples.rate_per_s, Sample)
    busier = replace(samples, rate_per_s=Sample(samples.rate_per_s.value * more, 60))
    off = service_settings(correction=replace(SETTINGS.services["chat"].correction, enabled=False))
    settings = planner_settings(off)

    def wanted(seen: ServiceSamples) -> dict[Role, int | None]:
        _, result = tick(after(rates), {"chat": seen}, settings, 60)
        return {role: pool.wanted for role, pool in result.decisions["chat"].pools.items()}

    few, many = wanted(samples), wanted(busier)
    assert all((many[role] or 0) >= (few[role] or 0) for role in few)
