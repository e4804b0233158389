"""What the simulated fleet is made of.

It is the truth a policy does not see, and may differ from the policy's own settings as hardware differs from a profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.errors import UserError
from planner.scaling.settings import Routing, ServiceSettings
from planner.scaling.types import Role
from planner.sim.prefill import Discipline
from planner.sim.timing import TabulatedTiming, Timing


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """One pool at the start of a run."""

    gpus_per_replica: int
    replicas: int
    """Ready at time 0."""


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The fleet that is played.

    Raises UserError when the pools are neither prefill and decode nor aggregated alone, or do not fit the cluster.
    """

    pools: Mapping[Role, PoolSetup]
    timing: Timing
    startup_s: float
    """A placed replica is ready this much later."""
    routing: Routing
    """In front of the prefill (or aggregated) pool."""
    gpus: int | None = None
    """GPUs in the cluster; replicas beyond stay pending. None: never short."""
    prefill: Discipline = field(default_factory=Discipline)
    """Of a prefill pool's engines."""
    decode_routing: Routing = "least_loaded"
    first_token_from: Role = Role.PREFILL
    """Who writes the first token of a disaggregated service: prefill at once, or decode with its first step, so that
    the wait for a place there counts towards TTFT."""

    def __post_init__(self) -> None:
        if set(self.pools) not in ({Role.PREFILL, Role.DECODE}, {Role.AGGREGATED}):
            raise UserError(
                f"pools: {', '.join(sorted(self.pools)) or 'none'} make no service; "
                "give prefill and decode, or aggregated alone"
            )
        if not self.startup_s >= 0:
            raise UserError(f"startup_s: {self.startup_s!r} must be 0 or more seconds")
        first = sum(pool.replicas * pool.gpus_per_replica for pool in self.pools.values())
        if self.gpus is not None and first > self.gpus:
            raise UserError(
                f"gpus: the first replicas need {first} GPUs, the cluster has {self.gpus}; start with fewer replicas"
            )


def fleet_as_configured(
    service: ServiceSettings, gpus: int | None, replicas: Mapping[Role, int] | None = None
) -> FleetSettings:
    """The fleet a service's settings describe: what the profile promises comes true.

    `replicas` at time 0; None: each pool's minimum. Raises UserError when they do not fit the cluster.
    """
    first = {role: pool.min_replicas for role, pool in service.pools.items()} if replicas is None else replicas
    return FleetSettings(
        pools={role: PoolSetup(pool.gpus_per_replica, first[role]) for role, pool in service.pools.items()},
        timing=TabulatedTiming(service.profile),
        startup_s=service.startup_s,
        routing=service.sizing.routing,
        gpus=gpus,
    )
