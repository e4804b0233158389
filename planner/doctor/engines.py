"""Which engines and routers the series are of."""

from __future__ import annotations

from collections.abc import Iterator

from planner.doctor.evidence import Evidence, ServiceEvidence
from planner.doctor.finding import Finding, Level, parted
from planner.sources.prometheus.answers import carries

WARNS = "Prometheus warns: "


def detected(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """An engine is there, and one only; the same of routers. What else is odd about the source."""
    wanted, detection = one.wanted.asked.selector.service, one.detection
    found = sum(carries(series, wanted) for series in evidence.there)
    if not found:
        return
    prefixes = {chosen.map.name: chosen.prefix for chosen in detection.choice.values()}
    known = [
        f"{kind} {name}" + (f" (series {prefixes[name]}...)" if name in prefixes else "")
        for kind, names in (("engine", detection.engines), ("router", detection.routers))
        for name in names
    ]
    if detection.engines:
        yield Finding(one.name, "engines", Level.GOOD, ", ".join(known))
    else:
        names = ", ".join(
            sorted({labels.get("__name__", "") for labels in evidence.there if carries(labels, wanted)})[:3]
        )
        yield Finding(
            one.name, "engines", Level.PROBLEM,
            f"no engine is among {found} series, such as {names}; {known[0]} does not tell which replicas report"
            if known else f"no metric map fits {found} series, such as {names}",
            "have the engines scraped too, with the labels of metrics.match; for an engine of your own write a map, "
            "see docs/metric-maps.md",
        )  # fmt: skip
    for conflict in detection.conflicts:
        yield Finding(one.name, "engines", Level.PROBLEM, *parted(conflict))
    # A running planner tells conflicts and Prometheus's warnings as remarks; they are findings of their own here.
    told = {*detection.conflicts, *(f"{WARNS}{warning}" for warning in evidence.warnings)}
    for remark in one.samples.remarks:
        if remark not in told:
            yield Finding(one.name, "engines", Level.REMARK, *parted(remark))
