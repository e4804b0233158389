"""Several policies against the same requests, side by side on all cores.

Each plays the same trace with the same seed, so arrivals and lengths are the same for all; what differs is the fleet.
A fixed fleet is what it was asked to be; the budget binds the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from planner.scaling.decision import TickResult
from planner.scaling.forecast.types import Forecast
from planner.scaling.tick import PlannerState
from planner.scaling.types import Absent, Sampled, ServiceSamples
from planner.sim.baselines.contenders import Contender
from planner.sim.policies import Order, Policy, Record
from planner.sim.run import Result, simulate
from planner.sim.settings import fleet_as_configured

SCHEMA = "sla-planner/comparison/1"


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen and expected at one tick; None where nothing was."""

    ttft_s: float | None
    """Mean of the window's first tokens."""
    itl_s: float | None
    forecast: Forecast | None
    """Of the request rate; only the planner forecasts."""


@dataclass(frozen=True, slots=True)
class Played:
    """One policy's run."""

    name: str
    startup_s: float
    result: Result
    moments: tuple[Moment, ...]
    """One per row of the result's timeline."""

    @property
    def good_per_gpu_hour(self) -> float | None:
        """Requests that met both targets, per GPU-hour; None when nothing was spent."""
        hours = self.result.gpu_hours
        return self.result.outcome.attainment.met / hours if hours > 0 else None


def play(
    contender: Contender, seed: int, *, on_tick: Callable[[float], None] | None = None, record: Record | None = None
) -> Played:
    """Run one policy; `record` is handed the planner's ticks. Raises what `simulate` raises."""
    world = contender.world
    service, budget = world.service, world.settings.budget_gpus
    witness = _Witness(contender, record)
    result = simulate(
        world.requests,
        witness,
        fleet_as_configured(service, budget if contender.fixed is None else None, contender.fixed),
        service.targets,
        interval_s=service.interval_s,
        seed=seed,
        service=service.name,
        on_tick=on_tick,
    )
    return Played(contender.name, service.startup_s, result, tuple(witness.moments))


def compare(contenders: Sequence[Contender], seed: int, jobs: int | None = None) -> Iterator[Played]:
    """Run them all, `jobs` at a time (None: as many as there are cores); results come in the order given.

    Raises ModuleNotFoundError without joblib.
    """
    import joblib

    jobs = min(len(contenders), jobs or os.cpu_count() or 1)
    tasks = (joblib.delayed(play)(contender, seed) for contender in contenders)
    results: Iterator[Played] = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return results


def comparison_document(played: Sequence[Played]) -> dict[str, object]:
    """As JSON-able data, with the schema's version; a timeline is left to the run of one policy."""
    return {"schema": SCHEMA, "runs": [_row(one) for one in played]}


def _row(one: Played) -> Mapping[str, object]:
    result = one.result
    return {
        "policy": one.name,
        "startup_s": one.startup_s,
        "outcome": asdict(result.outcome),
        "gpu_hours": result.gpu_hours,
        "good_per_gpu_hour": one.good_per_gpu_hour,
        "peak_gpus": result.peak_gpus,
        "duration_s": result.duration_s,
        "interval_s": result.interval_s,
        "actions": len(result.actions),
    }


class _Witness:
    """Stands between fleet and policy, and keeps what a report needs beyond the result."""

    def __init__(self, contender: Contender, record: Record | None) -> None:
        self._name = contender.world.service.name
        self._policy: Policy = contender.make(contender.world, self._recorded)
        self._record = record
        self._forecast: Forecast | None = None
        self.moments: list[Moment] = []

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        orders = self._policy.decide(samples, now_s)
        seen = samples[self._name]
        self.moments.append(Moment(_value(seen.ttft_s), _value(seen.itl_s), self._forecast))
        return orders

    def _recorded(self, before: PlannerState, samples: Mapping[str, ServiceSamples], result: TickResult) -> None:
        self._forecast = result.decisions[self._name].forecast
        if self._record is not None:
            self._record(before, samples, result)


def _value(sampled: Sampled) -> float | None:
    return None if isinstance(sampled, Absent) else sampled.value
