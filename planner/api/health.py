"""How a service fares, in one word and one sentence.

The gravest that holds: trouble (somebody should look), blind (what a plan needs cannot be seen), holding (a plan is
made and deliberately not, or not wholly, followed), ok.
"""

from __future__ import annotations

from planner.api.facts import Facts
from planner.api.schemas import Health
from planner.scaling.decision import Decision
from planner.scaling.reading import Missing
from planner.scaling.reasons import Code

_TROUBLE = frozenset({Code.UNATTAINABLE})
_BLIND = frozenset({Code.NO_DEMAND, Code.NO_REPLICA_COUNTS})
_HOLDING = frozenset(
    {
        Code.BUDGET_CUT,
        Code.BUDGET_WAIT,
        Code.DELAYED_START,
        Code.DOUBT,
        Code.OVER_BUDGET,
        Code.PENDING,
        Code.ROLLOUT,
    }
)


def health(facts: Facts) -> Health:
    """The state and the sentence for it."""
    if (why := _trouble(facts)) is not None:
        return Health(state="trouble", sentence=why)
    if facts.line is None:
        return Health(state="blind", sentence="no decision yet")
    decision = facts.line.decision
    if (why := _blind(decision)) is not None:
        return Health(state="blind", sentence=why)
    if (why := _ordered(facts) or _first(decision, _HOLDING)) is not None:
        return Health(state="holding", sentence=why)
    return Health(state="ok", sentence=_outcome(decision))


def _trouble(facts: Facts) -> str | None:
    if facts.trouble or facts.line is None:
        return next(iter(facts.trouble), None)
    applied = facts.line.applied
    if applied is not None and applied.status in ("failed", "refused"):
        return f"{applied.status}: {applied.detail}"
    return _first(facts.line.decision, _TROUBLE)


def _blind(decision: Decision) -> str | None:
    rate = decision.observation.rate_per_s
    unseen = f"the rate is missing: {rate.cause}" if isinstance(rate, Missing) else None
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


def _outcome(decision: Decision) -> str:
    """Each pool's last reason, which says where it goes."""
    return "; ".join(pool.reasons[-1].text for pool in decision.pools.values() if pool.reasons) or "nothing to change"
