"""What is asked of one service beyond a round. What is not answered stays unknown: empty, or None.

Cheap beside a round: a list of series, and the samples of `_FEW` pods of each pool.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from planner.doctor.evidence import Setup, teller
from planner.slo.targets import MS_PER_S
from planner.sources.prometheus.answers import Answer, Labels, Matrix, Vector, carries
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.detect import Detection
from planner.sources.prometheus.maps import Quantity
from planner.sources.prometheus.queries import Matcher, Queries, Scope, queries

_LOOKBACK = "10m"
"""To measure scrape intervals in; Prometheus itself forgets a series after five minutes without a sample."""
_FEW = 3
"""Pods of a pool whose scrape interval is measured."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks for one service."""

    ask: Callable[[str], Awaitable[Answer]]
    setup: Setup
    asked: Asked
    detection: Detection

    async def reporting(self) -> tuple[Labels, ...]:
        """See `ServiceEvidence`, as of all below."""
        if Quantity.REPORTING not in self.detection.choice:
            return ()
        answer = await self.ask(self._reporting_series())
        if not isinstance(answer, Vector):
            return ()
        # A gauge that is NaN proves its replica all the same.
        return (*(each.labels for each in answer.samples), *(each.labels for each in answer.rejected))

    async def scrape_interval_s(self, reporting: Iterable[Labels]) -> float | None:
        """Measured from the samples of a few of the series that report."""
        instances: set[str] = set()
        for role in self.asked.roles:
            mine = self.asked.selector.of_pool(role)
            of_pool = {labels.get("instance", "") for labels in reporting if carries(labels, mine)}
            instances |= set(sorted(of_pool)[:_FEW])
        if not instances:
            return None
        answer = await self.ask(f"{self._reporting_series(Matcher.any_of('instance', sorted(instances)))}[{_LOOKBACK}]")
        if not isinstance(answer, Matrix):
            return None
        # A lost scrape makes one long gap, a restart another: the median knows neither.
        medians = (
            median(after - before for before, after in pairwise(series.at_s))
            for series in answer.series
            if len(series.at_s) > 1
        )
        return max(medians, default=None)

    async def idle(self) -> frozenset[Quantity]:
        """Means whose events were counted, and were none."""
        events = self._queries().events
        answers = await asyncio.gather(*map(self.ask, events.values()))
        idle = set()
        for quantity, answer in zip(events, answers, strict=True):
            rates = _values(answer, self._told_by(quantity))
            if rates and not any(rates):
                idle.add(quantity)
        # How lengths vary is told of the same requests as their mean, and has no count of its own.
        return frozenset({*idle, Quantity.ISL_BUCKETS} if Quantity.ISL_TOKENS in idle else idle)

    async def ttft_edges_s(self) -> tuple[float, ...]:
        """The edges of the histogram behind attainment."""
        promql = self._queries().ttft_edges
        answer = None if promql is None else await self.ask(promql)
        if not isinstance(answer, Vector):
            return ()
        mine = self._told_by(Quantity.TTFT_BUCKETS)
        unit = self.detection.choice[Quantity.TTFT_BUCKETS].alternative.unit
        per_s = MS_PER_S if unit == "milliseconds" else 1.0
        found = (each.labels for each in answer.samples if carries(each.labels, mine))
        edges_s = {float(labels["le"]) / per_s for labels in found if "le" in labels}
        return tuple(sorted(edge_s for edge_s in edges_s if 0 < edge_s < math.inf))

    async def shares(self, edges_s: Sequence[float]) -> Mapping[float, float]:
        """At the edge that is the target, or at those on either side of it."""
        target_s = self.asked.target_ttft_s
        below = [edge_s for edge_s in edges_s if edge_s <= target_s]
        above = [edge_s for edge_s in edges_s if edge_s > target_s]
        within = self._queries(below[-1:] if target_s in edges_s else (*below[-1:], *above[:1])).within
        answers = await asyncio.gather(*map(self.ask, within.values()))
        mine = self._told_by(Quantity.TTFT_BUCKETS)
        found = {edge_s: _values(answer, mine) for edge_s, answer in zip(within, answers, strict=True)}
        return {edge_s: values[0] for edge_s, values in found.items() if len(values) == 1}

    def _queries(self, targets_s: Sequence[float] = ()) -> Queries:
        selector = self.asked.selector
        of_engines = _scope(selector.service, *selector.pools.values())
        return queries(
            self.detection.choice, of_engines.group_by, of_engines.matchers, self.setup.window_s, targets_s,
            self.setup.pod_labels, _scope(selector.of_router),
        )  # fmt: skip

    def _reporting_series(self, *more: Matcher) -> str:
        """As they are stored."""
        chosen = self.detection.choice[Quantity.REPORTING]
        series = chosen.alternative.series
        keep = (Matcher(label, value) for label, value in chosen.map.keep.get(series, {}).items())
        conditions = (*_scope(self.asked.selector.service).matchers, *keep, *more)
        return f"{chosen.spelt(series)}{{{', '.join(map(str, conditions))}}}"

    def _told_by(self, quantity: Quantity) -> Labels:
        chosen = self.detection.choice.get(quantity)
        if chosen is not None and chosen.map.kind == "router":
            return self.asked.selector.of_router
        return self.asked.selector.of_pool(teller(quantity, self.asked))


def _scope(labels: Labels, *more: Labels) -> Scope:
    """What carries `labels`, told apart by these and by `more`."""
    names = dict.fromkeys(name for each in (labels, *more) for name in each)
    return Scope(tuple(names), tuple(Matcher(name, value) for name, value in labels.items()))


def _values(answer: Answer, labels: Labels) -> list[float]:
    if not isinstance(answer, Vector):
        return []
    return [sample.value for sample in answer.samples if carries(sample.labels, labels)]
