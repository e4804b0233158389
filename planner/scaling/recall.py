"""What a service would remember, had it been watched: its state after moments that nobody was there to see.

A state is a fold over observations, so what was missed is folded in when it becomes known, oldest first. Wishes reach
only as far back as the guards look; before that nothing is forecast or sized, which is where the time goes.

Where the replica counts of a moment are unknown, the replicas that reported are taken for all that were ordered. That
is an assumption about the past, made so that load is not thrown away; start-ups are never measured by it.

Units: seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.scaling.observe import observe
from planner.scaling.proposal import learn, propose
from planner.scaling.settings import ServiceSettings
from planner.scaling.state import ServiceState
from planner.scaling.types import Absent, PoolSamples, Sample, ServiceSamples


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick's samples of one service."""

    at_s: float
    """When the tick was, or would have been."""
    samples: ServiceSamples


def ticks_before(now_s: float, service: ServiceSettings, last_s: float = -math.inf) -> tuple[float, ...]:
    """The ticks before one at `now_s` and after one at `last_s`, as far back as history reaches, oldest first."""
    most = int(service.demand.history_s / service.interval_s)
    ticks_s = (now_s - back * service.interval_s for back in range(most, 0, -1))
    return tuple(at_s for at_s in ticks_s if at_s > last_s + service.interval_s / 2)


def recall(
    state: ServiceState, moments: Sequence[Moment], service: ServiceSettings, until_s: float | None = None
) -> ServiceState:
    """The state after `moments`, which come in order and after everything in `state`.

    From the first of them that tells a load on, the service counts as watched. `until_s` is when the last moment will
    have been, where `moments` are not all.
    """
    heard_s = next((moment.at_s for moment in moments if isinstance(moment.samples.rate_per_s, Sample)), None)
    if heard_s is None:
        return state
    guards = service.guards
    reach_s = max(guards.stabilisation_up_s, guards.stabilisation_down_s, guards.max_pending_s)
    wishes_from_s = (moments[-1].at_s if until_s is None else until_s) - reach_s
    state = replace(state, started_s=min(state.started_s, heard_s))
    for moment in moments:
        if _tells_nothing(moment.samples):
            continue
        counted = all(isinstance(pool.wanted, Sample) for pool in moment.samples.pools.values())
        samples = moment.samples if counted else as_reported(moment.samples)
        observation = observe(samples, service.observe, moment.at_s)
        if moment.at_s < wishes_from_s:
            after = learn(state, observation, service).state
        else:
            after = propose(state, observation, service).state
        state = after if counted else replace(after, starts=state.starts)
    return state


def _tells_nothing(samples: ServiceSamples) -> bool:
    """Neither load nor replicas: such a moment leaves no memory."""
    pools = samples.pools.values()
    return isinstance(samples.rate_per_s, Absent) and all(
        isinstance(pool.wanted, Absent) and isinstance(pool.reporting, Absent) for pool in pools
    )


def as_reported(samples: ServiceSamples) -> ServiceSamples:
    """The samples of a fleet that is taken to be what reported: all ordered, all Ready, nothing on its way."""
    return replace(samples, pools={role: _as_reported(pool) for role, pool in samples.pools.items()})


def _as_reported(pool: PoolSamples) -> PoolSamples:
    reported = pool.reporting
    none = reported if isinstance(reported, Absent) else replace(reported, value=0.0)
    return replace(pool, wanted=reported, ready=reported, starting=none, pending=none, draining=none, rolling_out=none)
