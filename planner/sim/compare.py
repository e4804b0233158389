"""Several policies against the same requests, side by side on all cores.

In one world each plays the same requests, so arrivals and lengths are the same for all; what differs is the fleet.
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
from planner.sim.baselines.contenders import Contender, Variation
from planner.sim.policies import Order, Policy, Record
from planner.sim.run import Result, simulate
from planner.slo.attainment import Attainment

SCHEMA = "sla-planner/comparison/2"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the metrics said, and what was expected, at one tick; None where nothing was."""

    rate_per_s: float | None
    ttft_s: float | None
    """Mean of the window's first tokens."""
    itl_s: float | None
    forecast: Forecast | None
    """Of the request rate; only the planner forecasts."""


@dataclass(frozen=True, slots=True)
class Played:
    """One policy's run."""

    name: str
    variation: Variation
    result: Result
    moments: Mapping[str, tuple[Moment, ...]]
    """Of each service, one per row of its timeline."""

    @property
    def attainment(self) -> Attainment:
        """Of all services."""
        return sum((service.outcome.attainment for service in self.result.services.values()), Attainment())

    @property
    def good_per_gpu_hour(self) -> float | None:
        """Requests that met both targets, per GPU-hour; None when nothing was spent."""
        hours = self.result.gpu_hours
        return self.attainment.met / hours if hours > 0 else None


def play(
    contender: Contender, *, on_tick: Callable[[float], None] | None = None, record: Record | None = None
) -> Played:
    """Run one policy; `record` is handed the planner's ticks. Raises what `simulate` raises."""
    world, fixed = contender.world, contender.fixed
    witness = _Witness(contender, record)
    result = simulate(
        world.workloads(fixed),
        witness,
        interval_s=world.interval_s,
        gpus=world.gpus if fixed is None else None,
        seed=world.variation.seed,
        on_tick=on_tick,
    )
    moments = {name: tuple(moments) for name, moments in witness.moments.items()}
    return Played(contender.name, world.variation, result, moments)


def compare(contenders: Sequence[Contender], jobs: int | None = None) -> Iterator[Played]:
    """Run them all side by side; results come in the order given.

    `jobs` processes at a time (None: as many as there are cores). Within `joblib.parallel_config` of another backend,
    such as Dask's, the runs go where that sends them.
    Raises ModuleNotFoundError without joblib.
    """
    import joblib

    jobs = min(len(contenders), jobs or os.cpu_count() or 1)
    tasks = (joblib.delayed(play)(contender) for contender in contenders)
    results: Iterator[Played] = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return results


def comparison_document(played: Sequence[Played]) -> dict[str, object]:
    """As JSON-able data, with the schema's version; a timeline is left to the run of one policy."""
    return {"schema": SCHEMA, "runs": [_row(one) for one in played]}


def _row(one: Played) -> Mapping[str, object]:
    result = one.result
    return {
        "policy": one.name,
        "variation": asdict(one.variation),
        "good_share": one.attainment.share,
        "gpu_hours": result.gpu_hours,
        "good_per_gpu_hour": one.good_per_gpu_hour,
        "peak_gpus": result.peak_gpus,
        "duration_s": result.duration_s,
        "interval_s": result.interval_s,
        "services": {
            name: {"outcome": asdict(each.outcome), "gpu_hours": each.gpu_hours, "actions": len(each.actions)}
            for name, each in result.services.items()
        },
    }


class _Witness:
    """Stands between fleet and policy, and keeps what a report needs beyond the result."""

    def __init__(self, contender: Contender, record: Record | None) -> None:
        self._policy: Policy = contender.make(contender.world, self._recorded)
        self._record = record
        self._forecasts: dict[str, Forecast | None] = dict.fromkeys(contender.world.services)
        self.moments: dict[str, list[Moment]] = {name: [] for name in contender.world.services}

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        orders = self._policy.decide(samples, now_s)
        for name, seen in samples.items():
            self.moments[name].append(
                Moment(_value(seen.rate_per_s), _value(seen.ttft_s), _value(seen.itl_s), self._forecasts[name])
            )
        return orders

    def _recorded(self, before: PlannerState, samples: Mapping[str, ServiceSamples], result: TickResult) -> None:
        self._forecasts = {name: decision.forecast for name, decision in result.decisions.items()}
        if self._record is not None:
            self._record(before, samples, result)


def _value(sampled: Sampled) -> float | None:
    return None if isinstance(sampled, Absent) else sampled.value
