"""Fewer GPUs than the budget allows, and replicas that never come: what is ordered, and how soon it serves.

The real tick on a virtual clock, with a cluster of racks: each service has its own GPUs, whatever the budget says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
from builders import (
    GUARDS,
    INTERVAL_S,
    planner_settings,
    pool_samples,
    pool_settings,
    service_samples,
    service_settings,
)

from planner.scaling.decision import TickResult
from planner.scaling.reasons import Code
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import PoolSamples, Role, Sample, Start

P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED
TAKES_S = 90.0
"""From a GPU to Ready."""
BUSY_PER_S, CALM_PER_S = 1000.0, 0.1
"""So much that every pool wants its maximum, and so little that each wants its minimum."""


def at_most(name: str, bounds: Mapping[Role, int], priority: int = 0) -> ServiceSettings:
    pools = {role: pool_settings(role, max_replicas=most) for role, most in bounds.items()}
    return service_settings(name, tuple(bounds), pools=pools, priority=priority, startup_s=TAKES_S)


@dataclass
class Pool:
    """Replicas by when each was placed, one GPU each; those that do not fit wait."""

    wanted: int
    placed_s: list[float] = field(default_factory=list)
    first_go: str = "pending"
    most: int = 1000
    """So many find a GPU."""
    broken: bool = False
    """New replicas crash for ever."""
    crashing: list[float] = field(default_factory=list)

    @property
    def held(self) -> int:
        return len(self.placed_s) + len(self.crashing)

    @property
    def pending(self) -> int:
        return self.wanted - self.held

    def place(self, gpus: int, now_s: float) -> int:
        """Place what fits into `gpus`; how many are left."""
        fit = min(self.pending, gpus, self.most - self.held)
        (self.crashing if self.broken else self.placed_s).extend([now_s] * fit)
        return gpus - fit

    def order(self, wanted: int) -> None:
        """The newest go first, after those that wait."""
        self.wanted = wanted
        while self.held > wanted:
            (self.crashing or self.placed_s).pop()

    def ready(self, now_s: float) -> int:
        return sum(now_s >= placed_s + TAKES_S for placed_s in self.placed_s)

    def starts(self, now_s: float) -> tuple[Start, ...]:
        placed_s = enumerate(self.placed_s)
        return tuple(Start(f"{n}-{at_s}", at_s + TAKES_S, TAKES_S) for n, at_s in placed_s if now_s >= at_s + TAKES_S)

    def samples(self, now_s: float) -> PoolSamples:
        ready = self.ready(now_s)
        return pool_samples(
            now_s, wanted=self.wanted, ready=ready, starting=self.held - ready, pending=self.pending, reporting=ready,
            failing=len(self.crashing), pending_go_first=self.first_go == "pending",
        )  # fmt: skip


class Racks:
    """Services on GPUs of their own, scaled by one planner; what was ordered, tick by tick."""

    def __init__(
        self, settings: PlannerSettings, gpus: Mapping[str, int], have: Mapping[str, Mapping[Role, int]]
    ) -> None:
        self.settings = settings
        self.gpus = dict(gpus)
        self.pools = {
            name: {role: Pool(count, [-TAKES_S] * count) for role, count in pools.items()}
            for name, pools in have.items()
        }
        self.state = initial_state(settings, 0.0)
        self.now_s = 0.0
        self.orders: list[tuple[float, str, Role, int, int]] = []
        self.short_gpu_s = 0.0
        """GPUs asked for beyond what there was, over time."""

    def step(self, **rates: float) -> TickResult:
        for name, pools in self.pools.items():
            left = self.gpus[name] - sum(pool.held for pool in pools.values())
            for pool in pools.values():
                left = pool.place(left, self.now_s)
        samples = {
            name: replace(
                service_samples(
                    self.now_s, rate_per_s=rates.get(name, BUSY_PER_S),
                    pools={role: pool.samples(self.now_s) for role, pool in pools.items()},
                ),
                starts={role: pool.starts(self.now_s) for role, pool in pools.items()},
            )
            for name, pools in self.pools.items()
        }  # fmt: skip
        self.state, result = tick(self.state, samples, self.settings, self.now_s)
        for name, decision in result.decisions.items():
            for role, replicas in decision.plan.items():
                pool = self.pools[name][role]
                if replicas != pool.wanted:
                    self.orders.append((self.now_s, name, role, pool.wanted, replicas))
                    pool.order(replicas)
        asked = sum(pool.wanted for pools in self.pools.values() for pool in pools.values())
        assert asked <= self.settings.budget_gpus
        self.short_gpu_s += INTERVAL_S * sum(pool.pending for pools in self.pools.values() for pool in pools.values())
        self.now_s += INTERVAL_S
        return result

    def run(self, minutes: float, **rates: float) -> Iterator[TickResult]:
        until_s = self.now_s + minutes * 60
        while self.now_s < until_s:
            yield self.step(**rates)

    def wanted(self) -> dict[tuple[str, Role], int]:
        return {(name, role): pool.wanted for name, pools in self.pools.items() for role, pool in pools.items()}


def codes(result: TickResult, service: str = "chat") -> set[Code]:
    return {reason.code for reason in result.decisions[service].reasons}


def alone(bounds: Mapping[Role, int], gpus: int, have: Mapping[Role, int], budget_gpus: int = 64) -> Racks:
    return Racks(planner_settings(at_most("chat", bounds), budget_gpus=budget_gpus), {"chat": gpus}, {"chat": have})


def test_for_an_hour_without_gpus_a_probe_is_asked_for_and_the_rest_as_soon_as_it_lands() -> None:
    racks = alone({A: 12}, gpus=5, have={A: 5})

    *_, last = racks.run(60)

    assert racks.orders == [(0.0, "chat", A, 5, 10), (30.0, "chat", A, 10, 12), (330.0, "chat", A, 12, 6)]
    assert Code.PENDING in codes(last)
    assert racks.short_gpu_s == 30 * 5 + 300 * 7 + (3600 - 330) * 1

    racks.gpus["chat"] = 12
    racks.orders.clear()
    found_s = racks.now_s
    while racks.pools["chat"][A].ready(racks.now_s) < 12:
        racks.step()
    assert racks.orders == [(found_s, "chat", A, 6, 12)]
    assert racks.now_s - found_s == TAKES_S + INTERVAL_S


def test_each_gpu_that_comes_costs_two_orders_and_no_tick_changes_its_mind() -> None:
    racks = alone({A: 12}, gpus=5, have={A: 5})
    list(racks.run(20))

    for _ in range(3):
        racks.orders.clear()
        racks.gpus["chat"] += 1
        list(racks.run(20))
        had = racks.gpus["chat"]
        assert [(before, after) for *_, before, after in racks.orders] == [(had, 12), (12, had + 1)]


def test_a_pool_whose_cut_would_take_what_serves_is_held_as_it_is() -> None:
    racks = alone({A: 12}, gpus=5, have={A: 5})
    racks.pools["chat"][A].first_go = "newest"

    list(racks.run(60))

    assert racks.wanted() == {("chat", A): 12}


def test_the_other_pool_grows_only_in_proportion_to_what_the_stuck_one_can_have() -> None:
    """Decode can have 2 and a probe of the 5 it wants; of the 16 that prefill wants then, 3/5 are 10."""
    racks = alone({P: 8, D: 4}, gpus=64, have={P: 2, D: 2})
    racks.pools["chat"][D].most = 2
    list(racks.run(30))
    before = racks.wanted()

    racks.settings = planner_settings(at_most("chat", {P: 16, D: 5}))
    *_, last = racks.run(30)

    assert before == {("chat", P): 8, ("chat", D): 3}
    assert racks.wanted() == {("chat", P): 10, ("chat", D): 3}
    assert {Code.BALANCE, Code.PENDING} <= codes(last)


def test_what_a_stuck_service_gives_back_serves_another() -> None:
    chat, batch = at_most("chat", {A: 12}, priority=1), at_most("batch", {A: 12})
    settings = planner_settings(chat, batch, budget_gpus=16)
    racks = Racks(settings, {"chat": 5, "batch": 12}, {"chat": {A: 5}, "batch": {A: 1}})

    before = [racks.wanted() for _ in racks.run(5)][-1]
    list(racks.run(10))

    assert before == {("chat", A): 12, ("batch", A): 4}
    assert racks.wanted() == {("chat", A): 6, ("batch", A): 10}
    assert racks.pools["batch"][A].ready(racks.now_s) == 10


def test_what_was_lent_comes_back_as_soon_as_it_can_be_used() -> None:
    chat, batch = at_most("chat", {A: 12}, priority=1), at_most("batch", {A: 12})
    settings = planner_settings(chat, batch, budget_gpus=16)
    racks = Racks(settings, {"chat": 5, "batch": 12}, {"chat": {A: 5}, "batch": {A: 1}})
    list(racks.run(20))
    lent = racks.wanted()

    racks.gpus["chat"] = 12
    list(racks.run(20))

    assert lent == {("chat", A): 6, ("batch", A): 10}
    assert racks.wanted() == {("chat", A): 12, ("batch", A): 4}


# --- replicas that fail -----------------------------------------------------------------------------------------


def test_a_bad_image_stops_the_growth_and_a_good_one_lets_it_go_on() -> None:
    racks = alone({A: 40}, gpus=64, have={A: 4})
    list(racks.run(3, chat=CALM_PER_S))
    pool = racks.pools["chat"][A]
    pool.broken, pool.wanted = True, 5
    racks.settings = planner_settings(
        replace(racks.settings.services["chat"], guards=replace(GUARDS, max_up_factor=0.0, max_up_replicas=1))
    )
    *_, last = racks.run(60)

    at_the_bound = 5 + round(GUARDS.max_pending_s / INTERVAL_S)
    assert pool.wanted <= at_the_bound
    assert Code.FAILING in codes(last)

    pool.broken, pool.placed_s, pool.crashing = False, [*pool.placed_s, *pool.crashing], []
    list(racks.run(60))
    assert pool.wanted == 40


def test_one_bad_node_does_not_stop_a_pool_of_twenty() -> None:
    racks = alone({A: 40}, gpus=64, have={A: 20})
    pool = racks.pools["chat"][A]
    pool.wanted, pool.crashing = 21, [0.0]

    list(racks.run(30))

    assert pool.wanted == 40
    assert pool.ready(racks.now_s) == 39


@pytest.mark.parametrize("field", ["wanted", "ready", "starting", "pending"])
def test_old_counts_withdraw_nothing(field: str) -> None:
    racks = alone({A: 12}, gpus=5, have={A: 5})
    list(racks.run(5))
    service = racks.settings.services["chat"]
    racks.now_s += 60
    seen = racks.pools["chat"][A].samples(racks.now_s)
    old = replace(seen, **{field: Sample(getattr(seen, field).value, racks.now_s - 600)})

    samples = {"chat": service_samples(racks.now_s, rate_per_s=BUSY_PER_S, pools={A: old})}
    _, result = tick(racks.state, samples, planner_settings(service), racks.now_s)

    assert result.decisions["chat"].plan == {A: 12}
