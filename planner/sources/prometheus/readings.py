"""From answers to samples: what Prometheus said of many services at once, told apart, and never mistaken for zero.

A service is what carries its labels; one of its pools carries some more. What users feel (arrivals, time to first
token, prompts) is read of the prefill pool, since decode engines count every prompt again and leave its computation
out; answers and inter-token latency of the decode pool; an aggregated pool tells all. A router has no pools, and may
have labels of its own.

- A failed query leaves its quantity absent, with the failure's sentence; others are as they are.
- No series is absent; a mean of no events is absent, too, but idle: its events were counted, and were none.
- Two series where one was expected are neither added nor chosen from: the selector is wrong, and says so.
- A sample is as old as the scrape behind it.
- Where two engines, or two routers, stand under one selector, the numbers tell of a part, and nobody knows of which. So
  no replica is taken to report, and nothing is lowered.

Units: as `ServiceSamples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sources.prometheus.answers import Answer, Failure, LabelledSample, Labels, Vector, carries
from planner.sources.prometheus.detect import Choice
from planner.sources.prometheus.lengths import squared_variation
from planner.sources.prometheus.maps import Quantity

_MS = 1e3
_MUCH_SKEW_S = 30.0
"""Ages are computed on Prometheus's own clock, so that no skew harms a reading; times in journal and graphs differ."""
_MOST_WARNINGS = 3
"""Of Prometheus's own that are passed on; more of them say the same of other queries."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series are a service's, and which of those a pool's."""

    service: Labels
    pools: Mapping[Role, Labels]
    """Labels beyond the service's; empty where engines of all pools are alike, as in an aggregated service."""
    router: Labels | None = None
    """Of its router's series; None where they are the service's."""

    @property
    def of_router(self) -> Labels:
        """The labels to look for a router under."""
        return self.service if self.router is None else self.router

    def of_pool(self, role: Role) -> Labels:
        """All labels that a series of the pool's engines carries."""
        return {**self.service, **self.pools.get(role, {})}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the queries of one round gave, by what they ask for."""

    at_s: float
    """When they were asked, on our clock."""
    values: Mapping[Quantity, Answer]
    events: Mapping[Quantity, Answer]
    ages_s: Mapping[Quantity, Answer]
    within: Mapping[float, Answer]
    """By TTFT target, seconds."""
    buckets: Mapping[Quantity, Answer] = field(default_factory=dict)
    """Counts by edge `le`."""
    remarks: tuple[str, ...] = field(init=False)
    """What is odd about the answers: to Prometheus itself, and a clock far from ours."""

    def __post_init__(self) -> None:
        # Once for all services that read these answers.
        object.__setattr__(self, "remarks", self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        parts = (self.values, self.events, self.ages_s, self.within, self.buckets)
        answers = [answer for part in parts for answer in part.values() if isinstance(answer, Vector)]
        found = sorted({warning for answer in answers for warning in answer.warnings})
        skews_s = [answer.skew_s for answer in answers if answer.skew_s is not None]
        return (*(f"Prometheus warns: {warning}" for warning in found[:_MOST_WARNINGS]), *_skewed(skews_s))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One service's view of the answers."""

    selector: Selector
    choice: Choice
    missing: Mapping[Quantity, str]
    answers: Answers
    window_s: float

    def read(self, quantity: Quantity, pool: Role) -> Sampled:
        """A quantity of the service, told by this pool or by a router."""
        if quantity not in self.choice:
            return Absent(self.missing.get(quantity, f"no series tells {quantity}"))
        labels = self._labels(quantity, pool)
        found = self._one(self.answers.values.get(quantity), labels)
        if isinstance(found, LabelledSample):
            return Sample(found.value, self._at_s(quantity, labels))
        if quantity in self.answers.events:
            events = self._one(self.answers.events[quantity], labels)
            if isinstance(events, LabelledSample) and events.value == 0:
                return Absent("none in the window")
        age_s = self._one(self.answers.ages_s.get(quantity), labels)
        if isinstance(age_s, LabelledSample) and age_s.value > self.window_s:
            return Absent(f"no sample for {age_s.value:.0f} s; see whether Prometheus still scrapes it")
        return found

    def within(self, target_s: float, pool: Role) -> Sampled:
        """The share of requests with their first token within a target, where that can be told exactly."""
        answer = self.answers.within.get(target_s)
        if Quantity.TTFT_BUCKETS not in self.choice or answer is None:
            return Absent(self.missing.get(Quantity.TTFT_BUCKETS, "no histogram of the time to first token"))
        labels = self._labels(Quantity.TTFT_BUCKETS, pool)
        found = self._one(answer, labels)
        if isinstance(found, Absent):
            return Absent(f"{target_s * _MS:g} ms is no edge of the histogram, or nothing came in the window")
        return Sample(found.value, self._at_s(Quantity.TTFT_BUCKETS, labels))

    def squared_variation(self, quantity: Quantity, pool: Role) -> Sampled:
        """Of what a histogram counts, in the pool or the router that has it."""
        if quantity not in self.choice:
            return Absent(self.missing.get(quantity, f"no series tells {quantity}"))
        answer, labels = self.answers.buckets.get(quantity), self._labels(quantity, pool)
        if isinstance(answer, Failure):
            return Absent(answer.text)
        if not isinstance(answer, Vector):
            return Absent("not asked")
        found = answer.carrying(labels)
        if len({frozenset(sample.labels.items() - {("le", sample.labels.get("le"))}) for sample in found}) > 1:
            return Absent(f"several histograms carry {_in_words(labels)}, such as {_in_words(found[-1].labels)}")
        if not found:
            return Absent(f"no series carries {_in_words(labels)}")
        variation = squared_variation(_cumulative(found))
        return variation if isinstance(variation, Absent) else Sample(variation, self._at_s(quantity, labels))

    def _labels(self, quantity: Quantity, pool: Role) -> Labels:
        if self.choice[quantity].map.kind == "router":
            return self.selector.of_router
        return self.selector.of_pool(pool)

    def _one(self, answer: Answer | None, labels: Labels) -> LabelledSample | Absent:
        if isinstance(answer, Failure):
            return Absent(answer.text)
        if not isinstance(answer, Vector):
            return Absent("not asked")
        found = answer.carrying(labels)
        if len(found) == 1:
            return found[0]
        if found:
            return Absent(f"{len(found)} series carry {_in_words(labels)}, such as {_in_words(found[1].labels)}")
        rejected = next((one for one in answer.rejected if carries(one.labels, labels)), None)
        return Absent(f"no series carries {_in_words(labels)}" if rejected is None else f"the value is {rejected.why}")

    def _at_s(self, quantity: Quantity, labels: Labels) -> float:
        age_s = self._one(self.answers.ages_s.get(quantity), labels)
        return self.answers.at_s - (age_s.value if isinstance(age_s, LabelledSample) else 0.0)


def service_samples(
    selector: Selector,
    roles: Mapping[Role, object],
    choice: Choice,
    missing: Mapping[Quantity, str],
    answers: Answers,
    window_s: float,
    target_ttft_s: float,
    conflicts: Sequence[str] = (),
) -> ServiceSamples:
    """What the answers say of one service; the replica counts of its pools are left to the connector.

    `missing` says why a quantity that was not chosen has no series; `conflicts` is a line for each kind of which more
    than one was found.
    """
    reader = _Reader(selector, choice, missing, answers, window_s)
    prefill = Role.AGGREGATED if Role.AGGREGATED in roles else Role.PREFILL
    decode = Role.AGGREGATED if Role.AGGREGATED in roles else Role.DECODE
    return ServiceSamples(
        window_s=window_s,
        rate_per_s=reader.read(Quantity.ARRIVALS, prefill),
        isl_tokens=reader.read(Quantity.ISL_TOKENS, prefill),
        osl_tokens=reader.read(Quantity.OSL_TOKENS, decode),
        isl_cv2=reader.squared_variation(Quantity.ISL_BUCKETS, prefill),
        ttft_s=reader.read(Quantity.TTFT_S, prefill),
        queue_s=reader.read(Quantity.QUEUE_S, prefill),
        itl_s=reader.read(Quantity.ITL_S, decode),
        pools={role: _pool(reader, role, conflicts) for role in roles},
        good_share=reader.within(target_ttft_s, prefill),
        remarks=(*conflicts, *answers.remarks),
    )


def _pool(reader: _Reader, role: Role, conflicts: Sequence[str]) -> PoolSamples:
    unasked = Absent("the connector tells")
    return PoolSamples(
        wanted=unasked,
        ready=unasked,
        starting=unasked,
        pending=unasked,
        draining=unasked,
        rolling_out=unasked,
        reporting=Absent(conflicts[0]) if conflicts else reader.read(Quantity.REPORTING, role),
        waiting=reader.read(Quantity.WAITING, role),
        running=reader.read(Quantity.RUNNING, role),
    )


def _skewed(skews_s: Sequence[float]) -> tuple[str, ...]:
    # An answer that took long makes its server's clock seem behind; the least skew is what is left without that.
    least_s = min(skews_s, key=abs, default=0.0)
    if abs(least_s) <= _MUCH_SKEW_S:
        return ()
    side = "ahead of" if least_s > 0 else "behind"
    # In tens of seconds, lest the sentence change from tick to tick.
    return (
        f"Prometheus's clock is about {round(abs(least_s), -1):.0f} s {side} ours; set both by the same time server",
    )


def _cumulative(buckets: Iterable[LabelledSample]) -> Mapping[float, float]:
    """Counts by edge. `1` and `1.0` are the same edge, of clients that write it differently."""
    counts: dict[float, float] = {}
    for sample in buckets:
        try:
            edge = float(sample.labels.get("le", ""))
        except ValueError:
            continue
        counts[edge] = counts.get(edge, 0.0) + sample.value
    return counts


def _in_words(labels: Labels) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
