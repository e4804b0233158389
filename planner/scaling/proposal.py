"""One service's part of a tick, before and after the budget.

`learn` is what an observation teaches, whatever is decided on it. `propose` goes on to what the service would have if
it were alone. `claim` tells the budget what it holds and wants. `conclude` turns what was granted into orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from planner.scaling.burstiness import Burstiness
from planner.scaling.cap import Budget, Claim, Grant, Pool, PoolClaim
from planner.scaling.correction import Correction, correct
from planner.scaling.decide import PoolState, Situation, decide, granted, remember
from planner.scaling.decision import Decision, PoolDecision
from planner.scaling.demand import Lengths, lengths_of, outlook
from planner.scaling.demand import remember as remember_demand
from planner.scaling.doubt import doubt, publishes
from planner.scaling.forecast.types import Forecast
from planner.scaling.lead import Lead, lead, watched
from planner.scaling.obtainable import Obtainable, obtainable
from planner.scaling.reading import Missing, Valid
from planner.scaling.reasons import Code, Reason, because
from planner.scaling.settings import PoolSettings, ServiceSettings
from planner.scaling.size import Sizing, size
from planner.scaling.state import ServiceState
from planner.scaling.types import Observation, Role


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one service wants, and how it came to want it."""

    state: ServiceState
    """Already holding this tick's demand, factors, counts and wishes."""
    observation: Observation
    lead: Lead
    forecast: Forecast | None
    correction: Correction
    sizing: Sizing | None
    wanted: Mapping[Role, int]
    """Sized and within bounds; a pool whose demand or counts are unknown wants nothing and is absent."""
    obtainable: Obtainable
    """What of that is asked for."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one observation taught."""

    state: ServiceState
    """Holding this tick's demand, factors and counts."""
    lead: Lead
    lengths: Lengths
    correction: Correction


def learn(state: ServiceState, observation: Observation, service: ServiceSettings) -> Learnt:
    """Remember what there was, and learn from it."""
    history = remember_demand(state.history, observation, service.demand)
    starts = {
        role: watched(state.starts.get(role), pool.replicas.value, observation.at_s, pool.starts)
        for role, pool in observation.pools.items()
        if isinstance(pool.replicas, Valid)
    }
    known_starts = {**state.starts, **starts}
    lengths = lengths_of(history, service)
    rate = observation.rate_per_s
    known = state.burstiness or Burstiness(service.sizing.arrival_cv2)
    present = lengths.at(0.0 if isinstance(rate, Missing) else rate.value, known.arrival_cv2)
    correction = correct(state.factors, known, observation, present, service)
    committed = {
        role: pool.replicas.value.committed
        for role, pool in observation.pools.items()
        if not isinstance(pool.replicas, Missing)
    }
    remembered = replace(
        state,
        history=history,
        factors=correction.factors,
        committed={**state.committed, **committed},
        starts=known_starts,
        burstiness=correction.burstiness,
        published=publishes(state.published, observation),
    )
    return Learnt(remembered, lead(known_starts, service), lengths, correction)


def propose(state: ServiceState, observation: Observation, service: ServiceSettings) -> Proposal:
    """Observation to wishes: learn, forecast, size, bound, leave out what cannot be had."""
    learnt = learn(state, observation, service)
    remembered, correction = learnt.state, learnt.correction
    rate = observation.rate_per_s
    ahead = outlook(remembered.history, observation, service, learnt.lead.lead_s)
    if isinstance(rate, Missing) or ahead is None:
        cause = rate.cause if isinstance(rate, Missing) else "nothing is known of the load yet"
        reasons = (because(Code.NO_DEMAND, cause=cause),)
        kept = replace(remembered, pools=_wished(remembered, observation, {}, service))
        return Proposal(kept, observation, learnt.lead, None, correction, None, {}, Obtainable({}, {}, ()), reasons)
    demand = learnt.lengths.at(ahead.rate_per_s, correction.burstiness.arrival_cv2)
    sizing = size(demand, correction.factors, service)
    bounded, bound_reasons = _bounded(sizing, service.pools)
    known = {role for role, pool in observation.pools.items() if not isinstance(pool.replicas, Missing)}
    wanted = {role: bounded[role] for role in bounded if role in known}
    pools = _wished(remembered, observation, wanted, service)
    can_have = obtainable(wanted, pools, observation, service)
    return Proposal(
        replace(remembered, pools=pools),
        observation,
        learnt.lead,
        ahead.forecast,
        correction,
        sizing,
        wanted,
        can_have,
        (*ahead.reasons, *_remarks(sizing), *bound_reasons, *can_have.reasons),
    )


def _wished(
    state: ServiceState, observation: Observation, wanted: Mapping[Role, int], service: ServiceSettings
) -> Mapping[Role, PoolState]:
    """Each pool's memory with this tick's wish; as it was where the replicas are unknown.

    Who knows no better wishes for what there is: so the down window reaches back over an outage, after which a rate is
    for a while the mean of a window that is not full yet.
    """
    pools: dict[Role, PoolState] = {}
    for role in service.pools:
        before = state.pools.get(role, PoolState())
        replicas = observation.pools[role].replicas
        if isinstance(replicas, Missing):
            pools[role] = before
        else:
            wish = wanted.get(role, replicas.value.wanted)
            pools[role] = remember(before, replicas.value, wish, observation.at_s, service.guards)
    return pools


def claim(proposal: Proposal, service: ServiceSettings) -> Claim:
    """What the budget must know; a pool that cannot be seen claims what it was last seen to hold."""
    pools = {}
    for role, settings in service.pools.items():
        replicas = proposal.observation.pools[role].replicas
        held = proposal.state.committed.get(role, settings.min_replicas)
        current = held if isinstance(replicas, Missing) else replicas.value.wanted
        pools[role] = PoolClaim(
            current=current,
            committed=held,
            wanted=proposal.obtainable.asked.get(role, current),
            min_replicas=settings.min_replicas,
            gpus_per_replica=settings.gpus_per_replica,
        )
    return Claim(service.priority, pools)


def conclude(
    proposal: Proposal, grants: Mapping[Pool, Grant], budget: Budget, service: ServiceSettings
) -> tuple[ServiceState, Decision]:
    """Grants to orders, through the guards of each pool."""
    observation, state = proposal.observation, proposal.state
    watched_s = observation.at_s - state.started_s
    too_early = None
    if watched_s < service.guards.delayed_start_s:
        delayed_start_s = service.guards.delayed_start_s
        too_early = because(Code.DELAYED_START, watched_s=watched_s, delayed_start_s=delayed_start_s)
    doubted = doubt(observation, state.published, service.correction)
    remembered = {
        role: granted(pool, grants[service.name, role].granted) if role in proposal.wanted else pool
        for role, pool in state.pools.items()
    }
    pools = {
        role: _conclude_pool(
            remembered[role], role, proposal, grants[service.name, role], budget, service,
            doubted=doubted, too_early=too_early,
        )
        for role in service.pools
    }  # fmt: skip
    reasons = (*proposal.reasons, *(reason for pool in pools.values() for reason in pool.reasons))
    decision = Decision(
        service=service.name,
        at_s=observation.at_s,
        observation=observation,
        lead=proposal.lead,
        forecast=proposal.forecast,
        correction=proposal.correction,
        sizing=proposal.sizing,
        pools=pools,
        reasons=reasons,
    )
    return replace(state, pools=remembered), decision


def _conclude_pool(
    remembered: PoolState,
    role: Role,
    proposal: Proposal,
    grant: Grant,
    budget: Budget,
    service: ServiceSettings,
    *,
    doubted: str | None,
    too_early: Reason | None,
) -> PoolDecision:
    replicas, now_s = proposal.observation.pools[role].replicas, proposal.observation.at_s
    if isinstance(replicas, Missing):
        held = because(Code.NO_REPLICA_COUNTS, role=role, cause=replicas.cause)
        return PoolDecision(None, None, None, None, (held,))
    current = replicas.value.wanted
    wanted = proposal.wanted.get(role)
    if wanted is None:
        return PoolDecision(current, None, None, None, ())
    reasons: tuple[Reason, ...] = ()
    asked = proposal.obtainable.asked[role]
    if grant.granted < asked:
        reasons = (because(Code.BUDGET_CUT, role=role, wanted=asked, granted=grant.granted, budget_gpus=budget.gpus),)
    if too_early is not None:
        return PoolDecision(current, wanted, grant.granted, None, (*reasons, too_early))
    over_budget = None
    if budget.exceeded:
        over_budget = because(Code.OVER_BUDGET, role=role, held_gpus=budget.held, budget_gpus=budget.gpus)
    withdrawn = proposal.obtainable.withdrawn.get(role)
    situation = Situation(
        role, now_s, replicas.value, wanted, grant.granted, grant.now, doubted, over_budget, withdrawn
    )
    ordered, guard_reasons = decide(remembered, situation, service.guards)
    return PoolDecision(current, wanted, grant.granted, ordered, (*reasons, *guard_reasons))


def _bounded(sizing: Sizing, pools: Mapping[Role, PoolSettings]) -> tuple[dict[Role, int], tuple[Reason, ...]]:
    wanted, reasons = {}, []
    for role, settings in pools.items():
        replicas = sizing.pools[role].replicas
        if settings.max_replicas is not None and replicas > settings.max_replicas:
            reasons.append(because(Code.BOUNDED_ABOVE, role=role, wanted=replicas, bound=settings.max_replicas))
            replicas = settings.max_replicas
        if replicas < settings.min_replicas:
            reasons.append(because(Code.BOUNDED_BELOW, role=role, wanted=replicas, bound=settings.min_replicas))
            replicas = settings.min_replicas
        wanted[role] = replicas
    return wanted, tuple(reasons)


def _remarks(sizing: Sizing) -> tuple[Reason, ...]:
    remarks = []
    for role, pool in sizing.pools.items():
        if pool.unattainable is not None:
            remarks.append(because(Code.UNATTAINABLE, role=role, cause=pool.unattainable))
        if pool.outside is not None:
            remarks.append(because(Code.OUTSIDE_PROFILE, role=role, cause=pool.outside))
    return tuple(remarks)
