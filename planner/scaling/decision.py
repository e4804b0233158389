"""What a tick decides, with everything that led there. A decision is data: it can be stored, shown and re-run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.scaling.cap import Budget
from planner.scaling.correction import Correction
from planner.scaling.forecast.types import Forecast
from planner.scaling.lead import Lead
from planner.scaling.reasons import Reason
from planner.scaling.size.types import Sizing
from planner.scaling.types import Observation, Role


@dataclass(frozen=True, slots=True)
class PoolDecision:
    """One pool's way from wish to order; replicas. What is unknown is None."""

    current: int | None
    """Ordered at present."""
    wanted: int | None
    """The wish: sized and within the pool's bounds."""
    granted: int | None
    """What of that can be had and the budget allows."""
    replicas: int | None
    """What to order; None leaves the pool alone."""
    reasons: tuple[Reason, ...]

    @property
    def changes(self) -> bool:
        """Something is to be ordered."""
        return self.replicas is not None and self.replicas != self.current


@dataclass(frozen=True, slots=True)
class Decision:
    """One service's decision at one tick."""

    service: str
    at_s: float
    observation: Observation
    lead: Lead
    """How long an order made now takes to serve; with one interval, the forecast's horizon."""
    forecast: Forecast | None
    correction: Correction
    sizing: Sizing | None
    """None when the load is unknown: then nothing was sized, and every pool is left alone."""
    pools: Mapping[Role, PoolDecision]
    reasons: tuple[Reason, ...]
    """Reasons of the service as a whole, then each pool's."""

    @property
    def plan(self) -> Mapping[Role, int]:
        """Replicas to have per pool; pools that are left alone do not appear."""
        return {role: pool.replicas for role, pool in self.pools.items() if pool.replicas is not None}

    @property
    def changes(self) -> bool:
        """Something is to be ordered."""
        return any(pool.changes for pool in self.pools.values())


@dataclass(frozen=True, slots=True)
class TickResult:
    """All services' decisions and the budget they share."""

    at_s: float
    decisions: Mapping[str, Decision]
    budget: Budget
