"""One tick on a live system, from what its metrics say now and said before; nothing is changed.

No orchestrator is asked: the fleet is taken to be the replicas that report. Seconds since the epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from planner.clock import Clock
from planner.scaling.decision import TickResult
from planner.scaling.recall import Moment, as_reported, recall, ticks_before
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.state import PlannerState, initial_state
from planner.scaling.tick import tick
from planner.scaling.types import Sample, ServiceSamples
from planner.sources.types import Historian, PastError, Source


class LiveSource(Source, Historian, Protocol):
    """Tells the present and the past."""


@dataclass(frozen=True, slots=True)
class Once:
    """The tick, and what it stands on."""

    result: TickResult
    past: Mapping[str, int]
    """Of each service, the past ticks of which the load was told."""
    remarks: tuple[str, ...]
    """What is odd, or could not be had, a sentence each."""

    @property
    def seen(self) -> bool:
        """Whether every service's load and replicas were told."""
        return all(
            decision.sizing is not None and all(pool.wanted is not None for pool in decision.pools.values())
            for decision in self.result.decisions.values()
        )


async def once(settings: PlannerSettings, source: LiveSource, clock: Clock) -> Once:
    """Ask, remember, decide."""
    now_s = clock.now_s()
    names = list(settings.services)
    collected = await asyncio.gather(*map(source.collect, names))
    samples = {name: as_reported(each) for name, each in zip(names, collected, strict=True)}
    state = initial_state(settings, now_s)
    past: dict[str, int] = {}
    remarks = [f"{name}: {remark}" for name in names for remark in samples[name].remarks]
    services = {}
    for name, service in settings.services.items():
        try:
            moments = await _past(source, name, service, now_s)
        except PastError as error:
            remarks.append(f"{name}: its past is not known: {error}")
            moments = []
        past[name] = sum(isinstance(moment.samples.rate_per_s, Sample) for moment in moments)
        services[name] = recall(state.services[name], moments, service)
    _, result = tick(PlannerState(services), samples, settings, now_s)
    return Once(result, past, tuple(remarks))


async def _past(source: LiveSource, name: str, service: ServiceSettings, now_s: float) -> list[Moment]:
    at_s = ticks_before(now_s, service)
    told: list[ServiceSamples] = []
    async for piece in source.past([name], at_s):
        told += piece[name]
    return [Moment(each_s, each) for each_s, each in zip(at_s, told, strict=True)]
