"""From a granted wish to an order: how fast, and when not.

A decision only ever moves between what is ordered now and what the budget granted, so nothing here can exceed the
budget. In this order:

- withdraw: replicas that find no GPU are given back at once (`obtainable`); no other waits for less.
- raise: to the lowest wish of the up window; at most a step.
- lower: not on doubt, not during a rollout; not for a cut within the tolerance; to the highest wish of the down
  window; at most a step. A fleet over its budget is lowered at once.

Both windows begin with what is ordered at the start, so that a planner that has just started, and knows nothing of the
wishes before, cannot shrink a fleet for one down window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from planner.scaling.reasons import Code, Reason, because
from planner.scaling.settings import GuardSettings
from planner.scaling.types import Replicas, Role


@dataclass(frozen=True, slots=True)
class Wish:
    """Replicas wanted at a moment, as far as the budget granted them; before the guards."""

    at_s: float
    replicas: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """What one pool's guards remember."""

    wishes: tuple[Wish, ...] = ()
    pending_since_s: float | None = None
    """Since when replicas have been unschedulable without a break."""
    failing_since_s: float | None = None
    """Since when replicas have failed without a break."""
    unproven_since_s: float | None = None
    """Since when replicas were ordered, or their template was changed, without that one has become Ready."""
    seen: Replicas | None = None
    """The counts of the last tick."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One pool at one tick."""

    role: Role
    now_s: float
    replicas: Replicas
    wanted: int
    granted: int
    grantable_now: int
    doubt: str | None
    """Why this pool must not be lowered; None when all that matters is valid."""
    over_budget: Reason | None
    """Set when the fleet holds more than its budget."""
    withdrawn: int | None = None
    """Set when replicas that find no GPU are given back: what to ask for instead."""


def remember(state: PoolState, replicas: Replicas, wanted: int, now_s: float, settings: GuardSettings) -> PoolState:
    """The guards' memory with this tick's wish, without what no window reaches."""
    wishes = state.wishes or (Wish(now_s, replicas.wanted),)
    reach_s = now_s - max(settings.stabilisation_up_s, settings.stabilisation_down_s)
    kept = tuple(wish for wish in wishes if wish.at_s > reach_s)
    return PoolState(
        wishes=(*kept, Wish(now_s, wanted)),
        pending_since_s=_since(state.pending_since_s, replicas.pending > 0, now_s),
        failing_since_s=_since(state.failing_since_s, replicas.failing is not None and replicas.failing > 0, now_s),
        unproven_since_s=_unproven_since(state, replicas, now_s),
        seen=replicas,
    )


def granted(state: PoolState, replicas: int) -> PoolState:
    """The guards' memory once this tick's wish met the budget.

    Else a service that goes on wishing for what the budget has given to another would never hand it over.
    """
    *before, newest = state.wishes
    return replace(state, wishes=(*before, replace(newest, replicas=replicas)))


def decide(state: PoolState, situation: Situation, settings: GuardSettings) -> tuple[int, tuple[Reason, ...]]:
    """Replicas to order, and why; `state` already remembers this tick."""
    current = situation.replicas.wanted
    reasons: tuple[Reason, ...] = ()
    if situation.withdrawn is not None and situation.over_budget is None:
        replicas = situation.withdrawn
    elif situation.granted > current:
        replicas, reasons = _raise(state, situation, settings)
    elif situation.granted < current:
        replicas, reasons = _lower(state, situation, settings)
    else:
        replicas = current
    code = Code.RAISE if replicas > current else Code.LOWER if replicas < current else Code.KEEP
    return replicas, (*reasons, because(code, role=situation.role, current=current, replicas=replicas))


def _raise(state: PoolState, situation: Situation, settings: GuardSettings) -> tuple[int, tuple[Reason, ...]]:
    role, current, target = situation.role, situation.replicas.wanted, situation.granted
    reasons: list[Reason] = []
    lowest = max(current, _extreme(min, state, situation.now_s, settings.stabilisation_up_s))
    if lowest < target:
        target = lowest
        window_s = settings.stabilisation_up_s
        reasons.append(because(Code.STABILISE_UP, role=role, replicas=target, window_s=window_s))
    if situation.grantable_now < target:
        target = max(current, situation.grantable_now)
        reasons.append(because(Code.BUDGET_WAIT, role=role, granted=situation.granted, now=target))
    step = max(settings.max_up_replicas, math.ceil(current * settings.max_up_factor))
    if target > current + step:
        wanted, target = target, current + step
        reasons.append(because(Code.RATE_UP, role=role, replicas=target, wanted=wanted, step=step))
    return target, tuple(reasons)


def _lower(state: PoolState, situation: Situation, settings: GuardSettings) -> tuple[int, tuple[Reason, ...]]:
    role, current, target = situation.role, situation.replicas.wanted, situation.granted
    if situation.over_budget is not None:
        return target, (situation.over_budget,)
    values: dict[str, int | float | str] = {"role": role, "current": current, "wanted": target}
    if situation.doubt is not None:
        return current, (because(Code.DOUBT, cause=situation.doubt, **values),)
    if situation.replicas.rolling_out:
        return current, (because(Code.ROLLOUT, **values),)
    if current - target <= settings.tolerance * current:
        return current, (because(Code.TOLERANCE, tolerance=settings.tolerance, **values),)
    reasons: list[Reason] = []
    highest = min(current, _extreme(max, state, situation.now_s, settings.stabilisation_down_s))
    if highest > target:
        window_s = settings.stabilisation_down_s
        reasons.append(because(Code.STABILISE_DOWN, role=role, wanted=target, replicas=highest, window_s=window_s))
        target = highest
    step = max(1, math.floor(current * settings.max_down_factor))
    if target < current - step:
        wanted, target = target, current - step
        reasons.append(because(Code.RATE_DOWN, role=role, replicas=target, wanted=wanted, step=step))
    return target, tuple(reasons)


def _since(since_s: float | None, holds: bool, now_s: float) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else since_s


def _unproven_since(state: PoolState, replicas: Replicas, now_s: float) -> float | None:
    before, since_s = state.seen, state.unproven_since_s
    if before is None:
        # Who comes to a fleet that serves takes it for sound.
        return None if replicas.ready > 0 and not replicas.rolling_out else now_s
    nothing_to_come = replicas.ready >= replicas.wanted and not replicas.rolling_out
    if replicas.ready > before.ready or nothing_to_come:
        since_s = None
    tried = replicas.wanted > before.wanted or (replicas.rolling_out and not before.rolling_out)
    # More of what is not proven proves nothing: a pool that is raised at every tick would be fed for ever.
    return now_s if tried and since_s is None else since_s


def _extreme(of: Callable[[Iterable[int]], int], state: PoolState, now_s: float, window_s: float) -> int:
    """Lowest or highest wish younger than the window; this tick's own always counts."""
    *before, newest = state.wishes
    recent = [wish.replicas for wish in before if wish.at_s > now_s - window_s]
    return of([*recent, newest.replicas])
