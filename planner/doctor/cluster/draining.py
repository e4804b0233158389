"""Whether requests may end when a replica is taken away. Seconds.

A pod that is deleted is killed after its template's terminationGracePeriodSeconds (kubernetes.io/docs, "Pod
Lifecycle"), the time of its preStop hook included. Until then a decode engine must have written its longest answers,
and a prefill engine the first token:

    decode, aggregated: sla.ttft + lengths * osl * itl        prefill: sla.ttft

Limit: no request's own length is known, only means; lengths of `_LONG` times the mean stand for the longest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.connectors.kubernetes.kinds_paths import path, read
from planner.connectors.kubernetes.kinds_shapes import shape_of
from planner.doctor.cluster.evidence import Found, PoolEvidence
from planner.doctor.cluster.wording import said
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Role, Sample, ServiceSamples
from planner.slo.targets import MS_PER_S

_LONG = 4
_GRACE = "terminationGracePeriodSeconds"


def grace_period(one: PoolEvidence, seen: ServiceSamples | None) -> Iterator[Finding]:
    """A request of `_LONG` times the mean output length fits, by the agreement and as `seen`."""
    grace_s = _grace_s(one)
    if grace_s is None:
        return
    agreement = one.service.targets
    ttft_s, cases = agreement.ttft_s, {"by the agreement": (agreement.osl_tokens, agreement.itl_s)}
    if seen is not None and isinstance(seen.osl_tokens, Sample) and isinstance(seen.itl_s, Sample):
        cases["as seen"] = (seen.osl_tokens.value, seen.itl_s.value)
    # The pool that writes no answers waits for none.
    written = 0 if one.role is Role.PREFILL else 1
    mean_s, which = max((ttft_s + written * osl * itl_s, which) for which, (osl, itl_s) in cases.items())
    osl, itl_s = cases[which]
    long_s = ttft_s + written * _LONG * osl * itl_s
    first = f"{ttft_s * MS_PER_S:g} ms to the first token"
    each = f" and {_LONG} x {osl:.0f} tokens of {itl_s * MS_PER_S:.3g} ms" if written else ""
    text = f"{_GRACE} {grace_s} s; {which} {first}{each} take {long_s:.1f} s"
    remedy = f"pod template: set {_GRACE} to {math.ceil(long_s)} or more"
    if mean_s > grace_s:
        text = f"{text}, and even a request of mean length {mean_s:.1f} s: it would be cut when the pool is lowered"
        yield said(one, "grace period", Level.PROBLEM, text, remedy)
    elif long_s > grace_s:
        text = f"{text}: long requests would be cut when the pool is lowered"
        yield said(one, "grace period", Level.REMARK, text, remedy)
    else:
        yield said(one, "grace period", Level.GOOD, text)


def _grace_s(one: PoolEvidence) -> int | None:
    """The shortest that the template or, where it does not say, a pod has; None where neither tells."""
    if not isinstance(one.found, Found):
        return None
    specs = [spec for _, spec in shape_of(one.found.target, one.pool.target.component)]
    templates = [spec.get(_GRACE) for spec in specs]
    pods = [read(pod, path(f".spec.{_GRACE}")) for pod in one.pods or ()]
    told = [[each for each in source if type(each) is int] for source in (templates, pods)]
    return min(told[0] or told[1], default=None)
