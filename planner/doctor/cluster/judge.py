"""From what the API server answered to what an operator should know.

A check of pools is a function from the evidence on the cluster and on one pool to its findings; a new one joins
`_CHECKS`. What merely follows from another finding is not said: a target that is not there has one problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from planner.doctor.cluster import access, capacity, draining, gpus, pods, targets, writing
from planner.doctor.cluster.evidence import ClusterEvidence, PoolEvidence
from planner.doctor.finding import Finding, Level, parted
from planner.scaling.types import ServiceSamples

Check = Callable[[ClusterEvidence, PoolEvidence], Iterator[Finding]]

_CHECKS: tuple[Check, ...] = (
    targets.target,
    targets.bounds,
    targets.autoscaler,
    writing.last_writer,
    gpus.gpus,
    pods.pods,
    pods.startup,
)
"""In the order in which they are told."""


def judge(evidence: ClusterEvidence, seen: Mapping[str, ServiceSamples]) -> tuple[Finding, ...]:
    """All findings, those on the cluster first. `seen` is what Prometheus told of services, as far as it did."""
    if evidence.failure is not None:
        return (Finding(None, "api server", Level.PROBLEM, *parted(evidence.failure)),)
    findings = [*access.server(evidence), *access.permissions(evidence), *access.lease(evidence)]
    findings += capacity.budget(evidence)
    for one in evidence.pools:
        findings += [finding for check in _CHECKS for finding in check(evidence, one)]
        findings += draining.grace_period(one, seen.get(one.service.name))
    return tuple(findings)
