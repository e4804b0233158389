"""Whether a replica that is taken away has the time to end its requests, by the agreement and as they were seen."""

from __future__ import annotations

from collections.abc import Iterator

from planner.connectors.kubernetes.objects.draining import GRACE, Drain, grace_s
from planner.doctor.cluster.evidence import Found, PoolEvidence
from planner.doctor.cluster.wording import said
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Sample, ServiceSamples


def grace_period(one: PoolEvidence, seen: ServiceSamples | None) -> Iterator[Finding]:
    """Long requests fit, by the agreement and as `seen`."""
    has_s = (
        grace_s(one.found.target, one.pool.target.component, one.pods or ()) if isinstance(one.found, Found) else None
    )
    if has_s is None:
        return
    agreement = one.service.targets
    cases = {"by the agreement": Drain(one.role, agreement.ttft_s, agreement.osl_tokens, agreement.itl_s)}
    if seen is not None and isinstance(seen.osl_tokens, Sample) and isinstance(seen.itl_s, Sample):
        cases["as seen"] = Drain(one.role, agreement.ttft_s, seen.osl_tokens.value, seen.itl_s.value)
    which = max(cases, key=lambda case: (cases[case].mean_s, case))
    drain = cases[which]
    text = f"{GRACE} {has_s} s; {which} {drain}"
    if drain.mean_s > has_s:
        text = (
            f"{text}, and even a request of mean length {drain.mean_s:.1f} s: it would be cut when the pool is lowered"
        )
        yield said(one, "grace period", Level.PROBLEM, text, drain.remedy)
    elif drain.long_s > has_s:
        text = f"{text}: long requests would be cut when the pool is lowered"
        yield said(one, "grace period", Level.REMARK, text, drain.remedy)
    else:
        yield said(one, "grace period", Level.GOOD, text)
