"""Every reason a decision can carry, as data: a code, its numbers, and the one sentence they make.

`TEXT` is the whole vocabulary; logs, pages and reports print it and add nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What moved, or held, a plan."""

    NO_REPLICA_COUNTS = "no-replica-counts"
    NO_DEMAND = "no-demand"
    DELAYED_START = "delayed-start"
    FORECAST = "forecast"
    REACTIVE_FLOOR = "reactive-floor"
    UNATTAINABLE = "unattainable"
    OUTSIDE_PROFILE = "outside-profile"
    BOUNDED_ABOVE = "bounded-above"
    BOUNDED_BELOW = "bounded-below"
    BUDGET_CUT = "budget-cut"
    BUDGET_WAIT = "budget-wait"
    OVER_BUDGET = "over-budget"
    DOUBT = "doubt"
    ROLLOUT = "rollout"
    PENDING = "pending"
    WITHDRAW = "withdraw"
    BALANCE = "balance"
    FAILING = "failing"
    TOLERANCE = "tolerance"
    STABILISE_UP = "stabilise-up"
    STABILISE_DOWN = "stabilise-down"
    RATE_UP = "rate-up"
    RATE_DOWN = "rate-down"
    RAISE = "raise"
    LOWER = "lower"
    KEEP = "keep"


TEXT: Mapping[Code, str] = {
    Code.NO_REPLICA_COUNTS: "held: the {role} replica counts cannot be read ({cause})",
    Code.NO_DEMAND: "held: the load is unknown ({cause})",
    Code.DELAYED_START: "held: watched for {watched_s:.0f} s of the {delayed_start_s:.0f} s before the first change",
    Code.FORECAST: "{model} expects {point:.2f} req/s in {horizon_s:.0f} s; sized for its {quantile:.0%} quantile, "
    "{rate_per_s:.2f} req/s ({why})",
    Code.REACTIVE_FLOOR: "raised the demand to {floor_per_s:.2f} req/s: {rate_per_s:.2f} req/s arrive now and "
    "{waiting:.0f} requests wait",
    Code.UNATTAINABLE: "{role}: no replica count meets the agreement ({cause}); sized for the best reachable",
    Code.OUTSIDE_PROFILE: "{role}: {cause}",
    Code.BOUNDED_ABOVE: "{role}: {wanted} wanted, bounded above by max_replicas {bound}",
    Code.BOUNDED_BELOW: "{role}: {wanted} wanted, bounded below by min_replicas {bound}",
    Code.BUDGET_CUT: "{role}: {wanted} wanted, {granted} fit the budget of {budget_gpus} GPUs",
    Code.BUDGET_WAIT: "{role}: {granted} granted, only {now} now: starting and draining replicas hold the rest",
    Code.OVER_BUDGET: "{role}: the fleet holds {held_gpus} GPUs, budget {budget_gpus}: lowered at once",
    Code.DOUBT: "{role}: not lowered from {current} to {wanted} on doubt ({cause})",
    Code.ROLLOUT: "{role}: not lowered from {current} to {wanted} during a rollout",
    Code.PENDING: "{role}: not raised from {current} to {wanted}: {pending} replicas unschedulable "
    "for {pending_s:.0f} s",
    Code.WITHDRAW: "{role}: {current} ordered, {replicas} asked for: {pending} replicas unschedulable "
    "for {pending_s:.0f} s are given back, but for a probe",
    Code.BALANCE: "{role}: {wanted} wanted, raised only to {replicas}: {other} can have {obtainable} of {other_wanted}",
    Code.FAILING: "{role}: {wanted} wanted, {replicas} asked for: {failing} replicas failing, none Ready "
    "for {failing_s:.0f} s",
    Code.TOLERANCE: "{role}: {wanted} of {current} is within the tolerance of {tolerance:.0%}",
    Code.STABILISE_UP: "{role}: raised only to {replicas}, the lowest wish of the last {window_s:.0f} s",
    Code.STABILISE_DOWN: "{role}: {wanted} would do, {replicas} was wanted within the last {window_s:.0f} s",
    Code.RATE_UP: "{role}: raised to {replicas} of {wanted}: at most {step} more in one step",
    Code.RATE_DOWN: "{role}: lowered to {replicas} of {wanted}: at most {step} fewer in one step",
    Code.RAISE: "{role}: {current} -> {replicas}",
    Code.LOWER: "{role}: {current} -> {replicas}",
    Code.KEEP: "{role}: stays at {current}",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence about a decision, and the numbers in it."""

    code: Code
    values: Mapping[str, float | int | str]

    @property
    def text(self) -> str:
        """The sentence, for people."""
        return TEXT[self.code].format(**self.values)


def because(code: Code, **values: float | int | str) -> Reason:
    """A reason with its numbers: `because(Code.KEEP, role="decode", current=3)`."""
    return Reason(code, values)
