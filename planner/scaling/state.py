"""What the core remembers from tick to tick; nothing else does.

A state is the fold of `tick` over the observations so far, so a restart rebuilds it from history and decides what a
process that never stopped would have decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.scaling.burstiness import Burstiness
from planner.scaling.decide import PoolState
from planner.scaling.demand import DemandPoint
from planner.scaling.lead import Starts
from planner.scaling.settings import PlannerSettings
from planner.scaling.size.types import Factors
from planner.scaling.types import Role


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service's memory."""

    started_s: float
    history: tuple[DemandPoint, ...] = ()
    factors: Factors = field(default_factory=Factors)
    pools: Mapping[Role, PoolState] = field(default_factory=dict)
    committed: Mapping[Role, int] = field(default_factory=dict)
    """Replicas last seen holding GPUs: what a pool is taken to hold while its counts cannot be read."""
    starts: Mapping[Role, Starts] = field(default_factory=dict)
    """Each pool's start-ups."""
    burstiness: Burstiness | None = None
    """None before the first tick: then it is what was configured."""
    published: frozenset[str] = frozenset()
    """Readings that not every engine gives and this one has given: missing, they are doubtful."""


@dataclass(frozen=True, slots=True)
class PlannerState:
    """Every service's memory."""

    services: Mapping[str, ServiceState]


def initial_state(settings: PlannerSettings, now_s: float) -> PlannerState:
    """The state of a planner that starts at `now_s` and has seen nothing."""
    return PlannerState({name: ServiceState(started_s=now_s) for name in settings.services})
