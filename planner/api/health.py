"""How a service fares, in one word and one sentence.

The gravest that holds: trouble (somebody should look), blind (what a plan needs cannot be seen, or not wholly), holding
(a plan is made and deliberately not, or not wholly, followed), ok.
"""

from __future__ import annotations

from planner.api.facts import Facts
from planner.api.schemas import Health
from planner.scaling.decision import Decision
from planner.scaling.reading import Valid
from planner.scaling.reasons import Code
from planner.slo.targets import MS_PER_S

_TROUBLE = frozenset({Code.UNATTAINABLE})
_BLIND = frozenset({Code.NO_DEMAND, Code.NO_REPLICA_COUNTS})
_HOLDING = frozenset(
    {
        Code.BALANCE,
        Code.BUDGET_CUT,
        Code.BUDGET_WAIT,
        Code.DELAYED_START,
        Code.DOUBT,
        Code.FAILING,
        Code.OVER_BUDGET,
        Code.PENDING,
        Code.ROLLOUT,
        Code.WITHDRAW,
    }
)

_BROKEN_SHARE = 0.8
"""Of the objective: a window a little below it is chance, one so far below is not."""


def health(facts: Facts) -> Health:
    """The state and the sentence for it."""
    if (why := _trouble(facts)) is not None:
        return Health(state="trouble", sentence=why)
    if facts.line is None:
        return Health(state="blind", sentence="no decision yet")
    decision = facts.line.decision
    if (why := _blind(decision)) is not None:
        return Health(state="blind", sentence=why)
    if (why := _ordered(facts) or _held_back(facts) or _first(decision, _HOLDING)) is not None:
        return Health(state="holding", sentence=why)
    return Health(state="ok", sentence=_outcome(decision))


def _trouble(facts: Facts) -> str | None:
    if facts.trouble or facts.line is None:
        return next(iter(facts.trouble), None)
    applied = facts.line.applied
    if applied is not None and applied.status in ("failed", "refused"):
        return f"{applied.status}: {applied.detail}"
    return _first(facts.line.decision, _TROUBLE) or _broken(facts)


def _broken(facts: Facts) -> str | None:
    """Whether the agreement is being broken, and not by chance in one window."""
    point, targets = facts.point, facts.settings.targets
    if point is None:
        return None
    if point.good_share is not None and point.good_share < targets.objective * _BROKEN_SHARE:
        return f"{point.good_share:.0%} of the requests are in time, the objective is {targets.objective:.0%}"
    for name, seen_s, target_s in (("TTFT", point.ttft_s, targets.ttft_s), ("ITL", point.itl_s, targets.itl_s)):
        if seen_s is not None and seen_s > target_s:
            return f"{name} is {seen_s * MS_PER_S:,.0f} ms on average, the target is {target_s * MS_PER_S:g} ms"
    return None


def _blind(decision: Decision) -> str | None:
    rate = decision.observation.rate_per_s
    # A stale rate may raise the fleet and so leaves no reason where it would not; yet nothing is lowered by it.
    unseen = None if isinstance(rate, Valid) else f"the rate is {rate.status}: {rate.cause}"
    return _first(decision, _BLIND) or unseen


def _first(decision: Decision, codes: frozenset[Code]) -> str | None:
    return next((reason.text for reason in decision.reasons if reason.code in codes), None)


def _ordered(facts: Facts) -> str | None:
    if facts.dry_run is not None:
        return f"dry run by {facts.dry_run.by}: {facts.dry_run.why}"
    if facts.pause is not None:
        return f"paused by {facts.pause.by}: {facts.pause.why}"
    if facts.hold is not None:
        counts = ", ".join(f"{role} at {count}" for role, count in facts.hold.replicas.items())
        return f"held ({counts}) by {facts.hold.by}: {facts.hold.why}"
    return None


def _held_back(facts: Facts) -> str | None:
    """The connector will not, as while somebody else's count stands, or another planner leads."""
    applied = None if facts.line is None else facts.line.applied
    return f"not applied: {applied.detail}" if applied is not None and applied.status == "paused" else None


def _outcome(decision: Decision) -> str:
    """Each pool's last reason, which says where it goes."""
    return "; ".join(pool.reasons[-1].text for pool in decision.pools.values() if pool.reasons) or "nothing to change"
