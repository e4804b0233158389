"""What a simulated fleet is made of.

It is the truth a policy does not see, and may differ from the policy's own settings as hardware differs from a profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from planner.errors import UserError
from planner.scaling.settings import Routing, ServiceSettings
from planner.scaling.types import Role
from planner.sim.engine import Discipline
from planner.sim.lives import Lives
from planner.sim.metrics import Scraping
from planner.sim.timing import TabulatedTiming, Timing

ONE_PROMPT_A_STEP = Discipline()
CHUNKED = Discipline(step_tokens=8192)
"""vLLM's default budget for servers on large GPUs."""


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """One pool at the start of a run."""

    gpus_per_replica: int
    replicas: int
    """Ready at time 0."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How engines, router, network and cluster behave. Raises UserError for what cannot be."""

    lives: Lives
    routing: Routing
    """In front of the prefill (or aggregated) pool."""
    decode_routing: Routing = "least_loaded"
    prefill: Discipline = ONE_PROMPT_A_STEP
    """Of a prefill pool's engines."""
    batching: Discipline = CHUNKED
    """Of a decode or aggregated pool's engines."""
    first_token_from: Literal["prefill", "decode"] = "prefill"
    """Who writes the first token of a disaggregated service: prefill at once, or decode with its first step, so that
    the wait for a place there counts towards TTFT."""
    prefix_hit_rate: float = 0.0
    """Share of every prompt that is found in the prefix cache and not computed."""
    kv_transfer_tokens_per_s: float | None = None
    """How fast a prompt's KV cache moves from prefill to decode; None: in no time."""
    speeds: tuple[float, ...] = (1.0,)
    """Of the replicas of a pool in the order they are made, over and over; 1 is what the timing says."""
    scraping: Scraping = field(default_factory=Scraping)
    """How the engines' metrics reach the policy."""

    def __post_init__(self) -> None:
        if not 0 <= self.prefix_hit_rate < 1:
            raise UserError(f"prefix_hit_rate: {self.prefix_hit_rate!r} must lie from 0 to below 1")
        if self.kv_transfer_tokens_per_s is not None and not self.kv_transfer_tokens_per_s > 0:
            raise UserError(f"kv_transfer_tokens_per_s: {self.kv_transfer_tokens_per_s!r} must be above 0")
        if not self.speeds or not all(0 < speed < float("inf") for speed in self.speeds):
            raise UserError(f"speeds: {self.speeds!r} must be one or more numbers above 0, such as (1, 0.8)")


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The fleet of one service.

    Raises UserError when the pools are neither prefill and decode nor aggregated alone.
    """

    pools: Mapping[Role, PoolSetup]
    timing: Timing
    conditions: Conditions

    def __post_init__(self) -> None:
        if set(self.pools) not in ({Role.PREFILL, Role.DECODE}, {Role.AGGREGATED}):
            raise UserError(
                f"pools: {', '.join(sorted(self.pools)) or 'none'} make no service; "
                "give prefill and decode, or aggregated alone"
            )

    @property
    def first_gpus(self) -> int:
        """GPUs that the replicas of time 0 hold."""
        return sum(pool.replicas * pool.gpus_per_replica for pool in self.pools.values())


def conditions_as_configured(service: ServiceSettings) -> Conditions:
    """What a service's settings believe: nothing fails, and the profile's promises come true."""
    return Conditions(Lives(service.startup_s), service.sizing.routing)


def fleet_as_configured(
    service: ServiceSettings, conditions: Conditions, replicas: Mapping[Role, int] | None = None
) -> FleetSettings:
    """The fleet a service's settings describe, under these conditions.

    `replicas` at time 0; None: each pool's minimum.
    """
    first = {role: pool.min_replicas for role, pool in service.pools.items()} if replicas is None else replicas
    return FleetSettings(
        pools={role: PoolSetup(pool.gpus_per_replica, first[role]) for role, pool in service.pools.items()},
        timing=TabulatedTiming(service.profile),
        conditions=conditions,
    )
