"""What of a wish can be had where replicas do not come. It stands before the budget, which then goes to who can use it.

- Unschedulable for `max_pending_s`: the pool can have what is ready or starting, and one more. That one stays asked for
  as a probe: the scheduler places it as soon as a GPU is free, and the pool is raised again. The rest is given back
  where a cut takes what is pending first; elsewhere it might take what serves, so the pool is only not raised.
  The service's other pool is not raised beyond the same share of its own wish, since it would wait for this one.
- Failing for as long, and none has become Ready since replicas were last ordered or changed: the pool is not raised,
  as more of the same would fail. A single failing replica may be its node's fault, so one more may try, alone. Others
  that come are proof enough that what fails is an exception.

Nothing here lowers a pool below what is ready and starting. Units: seconds, replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.scaling.decide import PoolState
from planner.scaling.reading import Missing, Valid
from planner.scaling.reasons import Code, Reason, because
from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Observation, Replicas, Role


@dataclass(frozen=True, slots=True)
class Obtainable:
    """What a service asks the budget for."""

    asked: Mapping[Role, int]
    """Each wish, less what cannot be had."""
    withdrawn: Mapping[Role, int]
    """Pools that give back replicas without a GPU, and what they ask for instead."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Limit:
    """What one pool can have, and why."""

    asked: int
    obtainable: int | None = None
    """Set when GPUs are short."""
    withdrawn: int | None = None
    reasons: tuple[Reason, ...] = ()


def obtainable(
    wanted: Mapping[Role, int], pools: Mapping[Role, PoolState], observation: Observation, service: ServiceSettings
) -> Obtainable:
    """What of `wanted` to ask for; `pools` already remember this tick."""
    limits = {role: _limit(role, wish, pools[role], observation, service) for role, wish in wanted.items()}
    asked: dict[Role, int] = {}
    reasons: list[Reason] = []
    for role, limit in limits.items():
        asked[role] = limit.asked
        reasons += limit.reasons
        for other, short in limits.items():
            if other is role or short.obtainable is None or short.obtainable >= wanted[other]:
                continue
            share = -(-wanted[role] * short.obtainable // wanted[other])
            most = max(share, _replicas(observation, role).wanted)
            if asked[role] > most:
                asked[role] = most
                reasons.append(
                    because(
                        Code.BALANCE, role=role, wanted=wanted[role], replicas=most,
                        other=other, obtainable=short.obtainable, other_wanted=wanted[other],
                    )
                )  # fmt: skip
    withdrawn = {role: limit.withdrawn for role, limit in limits.items() if limit.withdrawn is not None}
    return Obtainable(asked, withdrawn, tuple(reasons))


def _limit(role: Role, wish: int, state: PoolState, observation: Observation, service: ServiceSettings) -> _Limit:
    limit = _while_failing(role, wish, state, observation, service)
    pending_s = _lasted_s(state.pending_since_s, observation.at_s)
    if pending_s < service.guards.max_pending_s:
        return limit
    reading, replicas = observation.pools[role].replicas, _replicas(observation, role)
    current, numbers = replicas.wanted, {"pending": replicas.pending, "pending_s": pending_s}
    # Stale counts hold a raise; only those of now say what can be had.
    can = None
    if isinstance(reading, Valid):
        can = max(replicas.ready + replicas.starting + 1, service.pools[role].min_replicas)
        # In a rollout a cut is spread over the old replicas and the new ones, whatever they do.
        if can < current and replicas.pending_go_first and not replicas.rolling_out:
            withdraw = because(Code.WITHDRAW, role=role, current=current, replicas=can, **numbers)
            return _Limit(min(wish, can), can, can, (withdraw,))
    if wish <= current:
        return _Limit(wish, can)
    held = because(Code.PENDING, role=role, current=current, wanted=wish, **numbers)
    return _Limit(min(limit.asked, current), can, None, (held,))


def _while_failing(
    role: Role, wish: int, state: PoolState, observation: Observation, service: ServiceSettings
) -> _Limit:
    replicas, now_s = _replicas(observation, role), observation.at_s
    failing_s = min(_lasted_s(state.failing_since_s, now_s), _lasted_s(state.unproven_since_s, now_s))
    if replicas.failing is None or failing_s < service.guards.max_pending_s:
        return _Limit(wish)
    alone = replicas.failing == 1 and replicas.wanted - replicas.ready <= 1
    most = replicas.wanted + alone
    if wish <= most:
        return _Limit(wish)
    failing = because(
        Code.FAILING, role=role, wanted=wish, replicas=most, failing=replicas.failing, failing_s=failing_s
    )
    return _Limit(most, reasons=(failing,))


def _lasted_s(since_s: float | None, now_s: float) -> float:
    """Nothing that does not last is longer than any bound."""
    return -1.0 if since_s is None else now_s - since_s


def _replicas(observation: Observation, role: Role) -> Replicas:
    reading = observation.pools[role].replicas
    assert not isinstance(reading, Missing), "a pool without counts wants nothing"
    return reading.value
