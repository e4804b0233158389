"""The real tick scaling a simulated fleet: what it must keep whatever its tuning.

One service, Llama 3.1 8B on H200s, with the configuration of the demo. Bounds are wide on purpose: they are promises,
not records of how well some version did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulations import simulate_one

import planner.sim
from planner.config import build_settings, load_config
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.types import Role
from planner.sim.baselines import static_peak
from planner.sim.loads import Level, Request, drawn
from planner.sim.policies import PlannerPolicy, Record, StaticPolicy
from planner.sim.run import Result
from planner.sim.settings import conditions_as_configured, fleet_as_configured
from planner.sim.traces import load_trace

DEMO = Path(planner.sim.__file__).parent / "demo.yaml"
ISL, OSL = 3000, 150


@dataclass(frozen=True)
class World:
    """The planner's settings and the only service's."""

    settings: PlannerSettings
    name: str
    service: ServiceSettings

    def play(
        self,
        requests: Iterable[Request],
        *,
        start_with: Mapping[Role, int] | None = None,
        fixed: bool = False,
        record: Record | None = None,
    ) -> Result:
        fleet = fleet_as_configured(self.service, conditions_as_configured(self.service), start_with)
        policy = StaticPolicy() if fixed else PlannerPolicy(self.settings, record)
        return simulate_one(
            requests, policy, fleet, self.service.targets, interval_s=self.service.interval_s,
            gpus=self.settings.budget_gpus, service=self.name,
        )  # fmt: skip


def world(**flags: str) -> World:
    settings = build_settings(load_config(DEMO, {}, {f"--{flag}": value for flag, value in flags.items()}))
    ((name, service),) = settings.services.items()
    return World(settings, name, service)


def load(*minutes_and_rates: tuple[float, float]) -> list[Request]:
    """Poisson arrivals: each rate held for so many minutes."""
    levels, start_s = [], 0.0
    for minutes, rate_per_s in minutes_and_rates:
        levels.append(Level(start_s, start_s + minutes * 60, rate_per_s, ISL, OSL))
        start_s += minutes * 60
    return list(drawn(levels, 1.0, seed=11))


def good_share(result: Result) -> float:
    assert result.only.outcome.good_share is not None
    return result.only.outcome.good_share


def test_keeps_the_agreement_on_a_steady_load() -> None:
    result = world().play(load((20, 20)), start_with={Role.PREFILL: 4, Role.DECODE: 2})

    assert good_share(result) >= 0.95
    assert result.gpu_hours < 6 * 20 / 60, "an oversized start is cut"


def test_grows_with_a_ramp_where_a_fleet_left_alone_drowns() -> None:
    ramp = load(*((2, 4.0 + 3.0 * step) for step in range(12)))
    alone = world().play(ramp, fixed=True)
    scaled = world().play(ramp)

    assert good_share(alone) < 0.6
    assert good_share(scaled) > good_share(alone) + 0.2
    assert scaled.only.timeline[-1].pools[Role.PREFILL].wanted > 1


@pytest.mark.parametrize("budget", ["2", "4", "7"])
def test_never_holds_more_than_the_budget_however_high_the_load(budget: str) -> None:
    result = world(gpus=budget).play(load((4, 10), (6, 150), (4, 5)))

    assert result.peak_gpus <= int(budget)


def test_shrinks_after_a_spike_but_never_below_the_minimum() -> None:
    result = world().play(load((5, 40), (20, 1)), start_with={Role.PREFILL: 6, Role.DECODE: 3})

    last = result.only.timeline[-1].pools
    assert last[Role.PREFILL].wanted < 6
    assert last[Role.DECODE].wanted < 3
    assert all(counts.wanted >= 1 for row in result.only.timeline for counts in row.pools.values())


def test_a_silence_keeps_the_minimum_and_the_load_after_it_is_served() -> None:
    result = world().play(load((4, 10), (10, 0), (8, 10)))

    assert min(row.pools[role].wanted for row in result.only.timeline for role in row.pools) == 1
    assert result.only.outcome.finished > 0.99 * result.only.outcome.arrived - 200


def test_scales_one_pool_when_prefill_and_decode_share_replicas() -> None:
    result = world(mode="aggregated").play(load((4, 5), (16, 30)))

    assert set(result.only.timeline[-1].pools) == {Role.AGGREGATED}
    assert result.only.timeline[-1].pools[Role.AGGREGATED].wanted >= 2
    assert result.only.outcome.finished > 0.9 * result.only.outcome.arrived


def test_every_decision_says_why() -> None:
    result = world().play(load((4, 5), (6, 30)))

    assert all(row.reasons for row in result.only.timeline)
    assert result.only.actions
    assert all(action.reasons for action in result.only.actions)


def test_a_recorder_gets_each_tick_with_the_state_before_it() -> None:
    seen = []
    place = world()
    result = place.play(load((3, 10)), record=lambda before, samples, after: seen.append((before, samples, after)))

    assert [after.at_s for _, _, after in seen] == [row.at_s for row in result.only.timeline]
    assert all(set(samples) == {place.name} for _, samples, _ in seen)
    assert len({id(before) for before, _, _ in seen}) == len(seen)


def test_the_same_load_gives_the_same_bytes() -> None:
    def played() -> str:
        return json.dumps(world().play(load((3, 5), (5, 30))).document())

    assert played() == played()


def test_plays_a_recorded_trace_to_the_end(shared_data: Path) -> None:
    trace = load_trace(shared_data / "traces" / "requests" / "azure2023_code.csv.gz")
    place = world()
    result = place.play(trace)

    outcome = result.only.outcome
    assert outcome.arrived == 8819
    assert outcome.finished + outcome.in_flight == 8819
    assert result.peak_gpus <= place.settings.budget_gpus


def test_costs_less_than_a_fixed_fleet_for_the_peak_of_a_load_with_a_long_lull() -> None:
    place = world()
    requests = load((4, 60), (20, 3))
    peak = static_peak(
        requests, place.service.pools, place.service.profile, place.service.targets, place.service.interval_s
    )

    scaled = place.play(requests, start_with=peak)
    fixed = place.play(requests, start_with=peak, fixed=True)

    assert scaled.gpu_hours < 0.8 * fixed.gpu_hours
