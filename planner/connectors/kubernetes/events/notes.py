"""What a decision has to say to whoever describes its targets: the few things that an operator acts on, or wonders at.

A change says so, with why; so does what keeps a change from being made, or was wrong with the metrics, for as long as
it lasts. How a plan is smoothed on its way is for the decision's own record: it stays silent, as does a plan that
stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from planner.connectors.kubernetes.objects.draining import GRACE, Drain
from planner.connectors.types import Applied, Status
from planner.scaling.decision import Decision
from planner.scaling.forecast.model import AS_CONFIGURED
from planner.scaling.reading import Missing
from planner.scaling.reasons import Code, Reason
from planner.scaling.types import Role


class EventReason(StrEnum):
    """The reason of an Event, as people and alerts select it."""

    SUCCESSFUL_RESCALE = "SuccessfulRescale"
    FAILED_RESCALE = "FailedRescale"
    RESCALE_REFUSED = "RescaleRefused"
    RESCALE_ADVISED = "RescaleAdvised"
    """What would be changed, were it not for a pause or advisory mode."""
    SCALE_DEFERRED = "ScaleDeferred"
    REPLICAS_LIMITED = "ReplicasLimited"
    BUDGET_LIMITED = "BudgetLimited"
    SLA_UNATTAINABLE = "SlaUnattainable"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    METRICS_DOUBTFUL = "MetricsDoubtful"
    METRICS_RECOVERED = "MetricsRecovered"
    FALLBACK_ACTIVATED = "FallbackActivated"
    FALLBACK_ENDED = "FallbackEnded"
    CONFLICT_DETECTED = "ConflictDetected"
    """Somebody else sets the replicas."""
    GRACE_PERIOD_SHORT = "GracePeriodShort"
    """Replicas are taken away that have no time to end their requests."""
    CONFIGURATION_REFUSED = "ConfigurationRefused"
    """Labels or annotations make no service, or not another one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How Events of one reason are classed."""

    type: Literal["Normal", "Warning"]
    action: str
    """What was done, or not, about the target."""


KINDS: Mapping[EventReason, Kind] = {
    EventReason.SUCCESSFUL_RESCALE: Kind("Normal", "Rescale"),
    EventReason.FAILED_RESCALE: Kind("Warning", "Rescale"),
    EventReason.RESCALE_REFUSED: Kind("Warning", "Rescale"),
    EventReason.RESCALE_ADVISED: Kind("Normal", "Advise"),
    EventReason.SCALE_DEFERRED: Kind("Normal", "Defer"),
    EventReason.REPLICAS_LIMITED: Kind("Normal", "Limit"),
    EventReason.BUDGET_LIMITED: Kind("Warning", "Limit"),
    EventReason.SLA_UNATTAINABLE: Kind("Warning", "Limit"),
    EventReason.METRICS_UNAVAILABLE: Kind("Warning", "Hold"),
    EventReason.METRICS_DOUBTFUL: Kind("Warning", "Observe"),
    EventReason.METRICS_RECOVERED: Kind("Normal", "Observe"),
    EventReason.FALLBACK_ACTIVATED: Kind("Warning", "Forecast"),
    EventReason.FALLBACK_ENDED: Kind("Normal", "Forecast"),
    EventReason.CONFLICT_DETECTED: Kind("Warning", "Hold"),
    EventReason.GRACE_PERIOD_SHORT: Kind("Warning", "Rescale"),
    EventReason.CONFIGURATION_REFUSED: Kind("Warning", "Configure"),
}

TOLD: Mapping[Code, EventReason] = {
    Code.NO_REPLICA_COUNTS: EventReason.METRICS_UNAVAILABLE,
    Code.NO_DEMAND: EventReason.METRICS_UNAVAILABLE,
    Code.UNATTAINABLE: EventReason.SLA_UNATTAINABLE,
    Code.BOUNDED_ABOVE: EventReason.REPLICAS_LIMITED,
    Code.BUDGET_CUT: EventReason.BUDGET_LIMITED,
    Code.OVER_BUDGET: EventReason.BUDGET_LIMITED,
    Code.BUDGET_WAIT: EventReason.SCALE_DEFERRED,
    Code.DELAYED_START: EventReason.SCALE_DEFERRED,
    Code.DOUBT: EventReason.SCALE_DEFERRED,
    Code.ROLLOUT: EventReason.SCALE_DEFERRED,
    Code.PENDING: EventReason.SCALE_DEFERRED,
    Code.WITHDRAW: EventReason.SCALE_DEFERRED,
    Code.BALANCE: EventReason.SCALE_DEFERRED,
    Code.FAILING: EventReason.SCALE_DEFERRED,
}
"""What a decision's reasons become. Those of a change are told with it; all others stay silent."""

_CHANGES = frozenset({Code.RAISE, Code.LOWER})
_RESCALES: Mapping[Status, EventReason] = {
    "applied": EventReason.SUCCESSFUL_RESCALE,
    "failed": EventReason.FAILED_RESCALE,
    "refused": EventReason.RESCALE_REFUSED,
    "dry-run": EventReason.RESCALE_ADVISED,
    "paused": EventReason.RESCALE_ADVISED,
}
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say."""

    reason: EventReason
    text: str
    role: Role | None = None
    """The pool whose target it is about; None: all of the service's."""

    @property
    def likeness(self) -> str:
        """Equal for notes that say the same of other numbers. Of changes, each is its own."""
        return self.text if self.reason is EventReason.SUCCESSFUL_RESCALE else _NUMBER.sub("#", self.text)


def events_of(
    decision: Decision, applied: Applied | None, before: Decision | None, remarks: tuple[str, ...] = ()
) -> tuple[Note, ...]:
    """What to say of one decision.

    `applied` is what became of it, None when nothing was to be changed; `before` is the service's decision before this
    one, where there is one; `remarks` are those of its samples.
    """
    return (
        *(() if applied is None else _rescales(decision, applied)),
        *(Note(TOLD[each.code], each.text, _role(each)) for each in decision.reasons if each.code in TOLD),
        *(Note(EventReason.METRICS_DOUBTFUL, remark) for remark in remarks),
        *(() if before is None else (*_recovery(decision, before), *_fallback(decision, before))),
    )


def _rescales(decision: Decision, applied: Applied) -> tuple[Note, ...]:
    reason = _RESCALES.get(applied.status)
    if reason is None:
        return ()
    notes = []
    for role, pool in decision.pools.items():
        if not pool.changes:
            continue
        about = [each for each in decision.reasons if _role(each) in (None, role)]
        changes = [each.text for each in about if each.code in _CHANGES]
        why = [each.text for each in about if each.code not in _CHANGES]
        if applied.status != "applied":
            why = [f"{applied.status}: {applied.detail}"]
        notes.append(Note(reason, "; ".join((*changes, *why)), role))
    return tuple(notes)


def grace_note(decision: Decision, applied: Applied | None, role: Role, has_s: int | None) -> Note | None:
    """A warning where a pool was lowered whose requests, as they were seen last, take longer than a pod `has_s`."""
    pool, seen = decision.pools[role], decision.observation
    if applied is None or applied.status != "applied" or has_s is None or pool.current is None:
        return None
    if pool.replicas is None or pool.replicas >= pool.current:
        return None
    ttft, osl, itl = seen.ttft_s, seen.osl_tokens, seen.itl_s
    if isinstance(ttft, Missing) or isinstance(osl, Missing) or isinstance(itl, Missing):
        return None
    drain = Drain(role, ttft.value, osl.value, itl.value)
    if drain.long_s <= has_s:
        return None
    text = f"{role}: lowered, and long requests may be cut: {GRACE} is {has_s} s, {drain}; {drain.remedy}"
    return Note(EventReason.GRACE_PERIOD_SHORT, text, role)


def _recovery(decision: Decision, before: Decision) -> tuple[Note, ...]:
    if not _blind(before) or _blind(decision):
        return ()
    return (Note(EventReason.METRICS_RECOVERED, "the load and the replica counts are known again"),)


def _blind(decision: Decision) -> bool:
    return any(TOLD.get(each.code) is EventReason.METRICS_UNAVAILABLE for each in decision.reasons)


def _fallback(decision: Decision, before: Decision) -> tuple[Note, ...]:
    """Said when it changes; a start is none, when every model lacks history."""
    now, then = decision.forecast, before.forecast
    if now is None or then is None or (now.why == AS_CONFIGURED) == (then.why == AS_CONFIGURED):
        return ()
    if now.why == AS_CONFIGURED:
        return (Note(EventReason.FALLBACK_ENDED, f"the forecast is {now.model}'s again, as configured"),)
    return (Note(EventReason.FALLBACK_ACTIVATED, f"the forecast is {now.model}'s: {now.why}"),)


def _role(reason: Reason) -> Role | None:
    role = reason.values.get("role")
    return None if role is None else Role(str(role))
