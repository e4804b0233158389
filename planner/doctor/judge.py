"""From what was answered to what an operator should know.

A check is a function from the evidence on one service to its findings; a new one joins `_CHECKS`. What merely follows
from another finding is not said: a service without series has one problem, not ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.doctor import engines, freshness, labels, pods, quantities, slo
from planner.doctor.evidence import Evidence, ServiceEvidence
from planner.doctor.finding import Finding, Level, parted

Check = Callable[[Evidence, ServiceEvidence], Iterator[Finding]]

_CHECKS: tuple[Check, ...] = (
    labels.selector,
    labels.router,
    engines.detected,
    labels.pools,
    pods.reporting,
    pods.identity,
    pods.twice,
    freshness.scrapes,
    freshness.ages,
    quantities.quantities,
    slo.edges,
)
"""In the order in which they are told."""

_MUCH_SKEW_S = 5.0
_SLOW = 0.5
"""Share of the deadline that a round should not exceed: a busy Prometheus takes twice as long."""


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """All findings, those on the Prometheus itself first. When it does not answer, that is the only one."""
    if evidence.failure is not None:
        return (Finding(None, "answers", Level.PROBLEM, *parted(evidence.failure.text)),)
    on_services = (finding for one in evidence.services for check in _CHECKS for finding in check(evidence, one))
    return (*_answers(evidence), *labels.services(evidence), *on_services)


def _answers(evidence: Evidence) -> Iterator[Finding]:
    took_s, deadline_s = evidence.took_s, evidence.setup.deadline_s
    text = f"a round took {took_s:.2f} s, prometheus.timeout_s is {deadline_s:g} s; queries: {evidence.queries}"
    if took_s > _SLOW * deadline_s:
        remedy = f"prometheus.timeout_s: give {2 * took_s:.0f}, or see why Prometheus is slow"
        yield Finding(None, "answers", Level.REMARK, text, remedy)
    else:
        yield Finding(None, "answers", Level.GOOD, text)
    for cause in evidence.unanswered:
        yield Finding(None, "answers", Level.PROBLEM, *parted(f"a question was not answered: {cause}"))
    if evidence.skew_s is not None:
        text = f"{abs(evidence.skew_s):.1f} s {'ahead of' if evidence.skew_s > 0 else 'behind'} this machine's"
        if abs(evidence.skew_s) <= _MUCH_SKEW_S:
            yield Finding(None, "clock", Level.GOOD, text)
        else:
            text += "; ages are right all the same, times of past load are not"
            yield Finding(None, "clock", Level.REMARK, text, "set both clocks by the same time server")
    for warning in evidence.warnings:
        yield Finding(None, "warning", Level.REMARK, f"{engines.WARNS}{warning}", "mend it in Prometheus")
