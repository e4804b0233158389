"""Whether the share of requests within the agreement can be told exactly."""

from __future__ import annotations

from collections.abc import Iterator

from planner.doctor.evidence import Evidence, ServiceEvidence, teller
from planner.doctor.finding import Finding, Level
from planner.doctor.freshness import starved
from planner.slo.targets import MS_PER_S
from planner.sources.prometheus.maps import Quantity


def edges(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """Whether the TTFT target is an edge of the engine's histogram; if not, the shares on either side of it."""
    choice, missing = one.detection.choice, one.detection.missing
    pool = teller(Quantity.TTFT_BUCKETS, one.wanted.asked)
    if not choice or starved(evidence, one) or pool in one.unseen or pool in one.overlapping:
        return
    if Quantity.TTFT_BUCKETS not in choice:
        text = f"missing, {missing[Quantity.TTFT_BUCKETS]}; without it: the share of good requests is not shown"
        yield Finding(one.name, "good share", Level.REMARK, text, "scrape a router that observes it")
        return
    if not one.ttft_edges_s:
        text = "the histogram of the time to first token has no finite edge; the share of good requests is not shown"
        yield Finding(one.name, "good share", Level.REMARK, text, "look for native histograms; export classic ones")
        return
    target_s = one.wanted.asked.target_ttft_s
    target = f"sla.ttft {_ms(target_s)}"
    if target_s in one.ttft_edges_s:
        share = one.shares.get(target_s)
        told = "no request in the window" if share is None else f"{share:.1%} within it"
        text = f"{target} is an edge of the histogram: {told}; inter-token latency is no part of this share"
        yield Finding(one.name, "good share", Level.GOOD, text)
        return
    below = max((edge for edge in one.ttft_edges_s if edge < target_s), default=None)
    above = min((edge for edge in one.ttft_edges_s if edge > target_s), default=None)
    beside = [edge for edge in (below, above) if edge is not None]
    bounds = " and ".join(
        f"{one.shares[edge]:.1%} within {_ms(edge)}" if edge in one.shares else _ms(edge) for edge in beside
    )
    yield Finding(
        one.name, "good share", Level.REMARK,
        f"{target} is no edge of the histogram of the time to first token, so the share of good requests is not shown; "
        f"beside it: {bounds}",
        f"sla.ttft: choose {' or '.join(_ms(edge) for edge in beside)}, or give the engine's histogram an edge at "
        f"{_ms(target_s)}",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    return f"{seconds * MS_PER_S:.6g} ms"
