"""The core's settings: frozen, already validated, in the core's units.

`planner.config` is what users write; it explains every default and builds these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner.scaling.forecast.types import Forecaster
from planner.scaling.profile import Profile
from planner.scaling.types import Role
from planner.slo.targets import Targets

Routing = Literal["least_loaded", "shared_queue", "power_of_two", "round_robin", "random"]
SizingMethod = Literal["queueing", "throughput"]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of one pool."""

    role: Role
    gpus_per_replica: int
    min_replicas: int = 1
    max_replicas: int | None = None
    """None: bounded by the budget alone."""


@dataclass(frozen=True, slots=True)
class ObserveSettings:
    """When a sample is believed."""

    max_age_s: float
    """A sample older than this is stale."""


@dataclass(frozen=True, slots=True)
class DemandSettings:
    """How history becomes the demand to size for."""

    quantile: float
    """Demand quantile sized for, from the forecaster's own past errors."""
    history_s: float
    """How much history is kept."""
    lengths_half_life_s: float
    """Input and output lengths are means weighted by requests and by age; the weight halves in this time."""
    reactive_floor: bool
    """Size for at least what is arriving and queued now."""


@dataclass(frozen=True, slots=True)
class CorrectionSettings:
    """How far observed latency may move the profile."""

    enabled: bool
    smoothing: float
    """Weight of the newest ratio in the running mean, in (0, 1]."""
    lowest: float
    highest: float
    min_requests: float
    """Fewer requests than this in the window say nothing."""
    max_utilisation: float
    """Above this predicted utilisation, waiting dominates latency, and the ratio says nothing about hardware."""


@dataclass(frozen=True, slots=True)
class SizingSettings:
    """How demand becomes replicas."""

    method: SizingMethod
    routing: Routing
    """How the router spreads requests over prefill (or aggregated) replicas."""
    arrival_cv2: float
    """Squared coefficient of variation of the time between arrivals, until learnt; 1 is Poisson."""
    isl_cv2: float
    """Used while the traffic's own is unknown."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How fast, and when not, a plan may change."""

    tolerance: float
    """A cut smaller than this share of the present replicas is not worth a change. Raises are never ignored."""
    stabilisation_up_s: float
    """Raise to the lowest wish of this window."""
    stabilisation_down_s: float
    """Lower to the highest wish of this window."""
    max_up_factor: float
    max_up_replicas: int
    """A tick adds at most the larger of factor * replicas and this many."""
    max_down_factor: float
    """A tick removes at most this share of the replicas, but always may remove one."""
    max_pending_s: float
    """A pool with unschedulable replicas for longer is not raised further."""
    delayed_start_s: float
    """No change before the planner has watched for this long."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """One service: its agreement, its hardware, its rules."""

    name: str
    targets: Targets
    profile: Profile
    pools: Mapping[Role, PoolSettings]
    """Either prefill and decode, or aggregated alone."""
    interval_s: float
    startup_s: float
    """Order to Ready, configured; the horizon of the forecast is this and one interval."""
    forecaster: Forecaster
    observe: ObserveSettings
    demand: DemandSettings
    correction: CorrectionSettings
    sizing: SizingSettings
    guards: GuardSettings
    priority: int = 0
    """Higher is served first when the budget is short."""

    @property
    def prefill_role(self) -> Role:
        """The pool that computes prompts."""
        return Role.AGGREGATED if Role.AGGREGATED in self.pools else Role.PREFILL

    @property
    def decode_role(self) -> Role:
        """The pool that writes tokens."""
        return Role.AGGREGATED if Role.AGGREGATED in self.pools else Role.DECODE


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """All services under one GPU budget."""

    services: Mapping[str, ServiceSettings]
    budget_gpus: int
