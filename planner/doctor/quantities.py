"""Each number the planner goes by: its value and where it is from, or why it is missing and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.doctor.evidence import Evidence, ServiceEvidence, teller
from planner.doctor.finding import Finding, Level
from planner.doctor.freshness import starved
from planner.scaling.types import Absent, Role, Sample, Sampled
from planner.slo.targets import MS_PER_S
from planner.sources.prometheus.detect import Chosen
from planner.sources.prometheus.maps import Quantity, Total

_LOWERS_NOTHING = "nothing is lowered while requests come"


@dataclass(frozen=True, slots=True)
class _Read:
    quantity: Quantity
    pool: Role
    sampled: Sampled
    unit: str
    without: str
    """What the planner does without it."""
    level: Level = Level.PROBLEM
    """Of its absence."""
    otherwise: str = ""
    """What an operator can do who cannot have it."""
    of: str = ""
    per_unit: float = 1.0


def quantities(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """All of them, for the service and for each pool."""
    if not one.detection.choice:
        return
    for read in _reads(one):
        chosen = one.detection.choice.get(read.quantity)
        if isinstance(read.sampled, Absent) and _follows(evidence, one, read, chosen):
            continue
        yield _judged(evidence, one, read, chosen)


def _follows(evidence: Evidence, one: ServiceEvidence, read: _Read, chosen: Chosen | None) -> bool:
    """Whether it is missing for a cause that another check tells."""
    assert isinstance(read.sampled, Absent)
    from_engine = chosen is None or chosen.map.kind == "engine"
    return (
        (chosen is None and not one.detection.engines)
        or (from_engine and (read.pool in one.unseen or read.pool in one.overlapping))
        or (starved(evidence, one) and chosen is not None and not isinstance(chosen.alternative, Total))
        or read.sampled.cause in evidence.unanswered
        or bool(one.detection.conflicts)
    )


def _reads(one: ServiceEvidence) -> Iterator[_Read]:
    samples, asked, corrects = one.samples, one.wanted.asked, one.wanted.corrects
    latency = _LOWERS_NOTHING if corrects else "it is not shown; correction is off, so nothing else is lost"
    latency_level = Level.PROBLEM if corrects else Level.REMARK
    uncorrected = "; else set correction.enabled to false" if corrects else ""
    lengths = f"sizes for the agreement's lengths, and {_LOWERS_NOTHING}"
    for quantity, sampled, unit, without in (
        (Quantity.ARRIVALS, samples.rate_per_s, "req/s", "it knows no load and holds for ever"),
        (Quantity.ISL_TOKENS, samples.isl_tokens, "tokens", lengths),
        (Quantity.OSL_TOKENS, samples.osl_tokens, "tokens", lengths),
    ):
        yield _Read(quantity, teller(quantity, asked), sampled, unit, without)
    for quantity, sampled in ((Quantity.TTFT_S, samples.ttft_s), (Quantity.ITL_S, samples.itl_s)):
        pool = teller(quantity, asked)
        yield _Read(quantity, pool, sampled, "ms", latency, latency_level, uncorrected, per_unit=MS_PER_S)
    queue = "the prefill profile is corrected by the whole time to first token, waiting included"
    pool = teller(Quantity.QUEUE_S, asked)
    yield _Read(Quantity.QUEUE_S, pool, samples.queue_s, "ms", queue, Level.REMARK, per_unit=MS_PER_S)
    varies = "sizing.isl_cv2 stands for it"
    pool = teller(Quantity.ISL_BUCKETS, asked)
    measured = "; else set sizing.isl_cv2 to what your prompts have"
    yield _Read(Quantity.ISL_BUCKETS, pool, samples.isl_cv2, "(squared variation)", varies, Level.REMARK, measured)
    for role, each in samples.pools.items():
        # A zero rate may be a stalled fleet's; only what waits and runs tells.
        unknown = "a queue cannot be seen, and nothing is ever lowered"
        yield _Read(Quantity.WAITING, role, each.waiting, "req", unknown, of=f"{role} ")
        yield _Read(Quantity.RUNNING, role, each.running, "req", unknown, of=f"{role} ")
        if isinstance(each.reporting, Absent):
            uncovered = "which replicas are heard is unknown, and nothing is ever lowered"
            yield _Read(Quantity.REPORTING, role, each.reporting, "replicas", uncovered, of=f"{role} ")


def _without_arrivals(one: ServiceEvidence, text: str) -> tuple[str, str]:
    held = [each for pool in one.samples.pools.values() for each in (pool.waiting, pool.running)]
    in_system = sum(each.value for each in held if isinstance(each, Sample))
    if in_system:
        return (
            f"{text}, while {in_system:g} requests wait or run: until that ends, nothing is lowered",
            "see whether requests are long, or the engines stalled",
        )
    remedy = "send some requests and ask again: lengths and latencies are measured only while requests come"
    return f"{text}: the service is idle", remedy


def _judged(evidence: Evidence, one: ServiceEvidence, read: _Read, chosen: Chosen | None) -> Finding:
    check = f"{read.of}{read.quantity}"
    if not isinstance(read.sampled, Absent):
        age_s = one.asked_at_s - read.sampled.at_s
        text = f"{read.sampled.value * read.per_unit:.4g} {read.unit}, {age_s:.1f} s old, from {_source(chosen)}"
        if read.quantity is Quantity.ARRIVALS and read.sampled.value == 0:
            return Finding(one.name, check, Level.REMARK, *_without_arrivals(one, text))
        return Finding(one.name, check, Level.GOOD, text)
    if read.quantity in one.idle:
        return Finding(one.name, check, Level.GOOD, f"idle: none in the last {evidence.setup.window_s:g} s")
    if chosen is None:
        remedy = "have it scraped, or name another series for it in a map of prometheus.maps, see docs/metric-maps.md"
    else:
        remedy = (
            f"look for {_source(chosen)} in Prometheus, and mend the scraping, metrics.match or metrics.{read.pool}"
        )
    text = f"missing, {read.sampled.cause}; without it: {read.without}"
    return Finding(one.name, check, read.level, text, remedy + read.otherwise)


def _source(chosen: Chosen | None) -> str:
    # Between the two looks at what there is, a series may have appeared.
    return "a new series" if chosen is None else " and ".join(map(chosen.spelt, chosen.alternative.needs))
