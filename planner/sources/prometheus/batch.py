"""Services that are asked for together: those whose series are alike, by one set of queries.

A query groups by the labels that tell all services apart, so that each finds its own in the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from planner.scaling.types import Role, ServiceSamples
from planner.sources.prometheus.answers import Answer, Labels
from planner.sources.prometheus.detect import Choice, Detection
from planner.sources.prometheus.maps import MetricMap, Quantity
from planner.sources.prometheus.queries import Matcher, Queries, Scope, queries
from planner.sources.prometheus.readings import Answers, Selector, service_samples

AskedT = TypeVar("AskedT")

_FEW = 100
"""Values of a label that a query names; of more it asks for all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be known of one service."""

    selector: Selector
    roles: Mapping[Role, object]
    target_ttft_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Services whose series are alike, and what is asked of them all."""

    services: Mapping[str, Asked]
    found: Mapping[str, Detection]
    queries: Queries
    window_s: float

    def promql(self) -> tuple[str, ...]:
        """Several quantities rest on the same counter or scrape: what is asked alike is asked once."""
        asked = self.queries
        parts = (asked.values, asked.events, asked.ages_s, asked.within, asked.buckets)
        return tuple(dict.fromkeys(promql for part in parts for promql in part.values()))

    def answers(self, said: Mapping[str, Answer], at_s: float) -> Answers:
        """What was said to each query, by what it asks for."""

        def by_what(queries_of: Mapping[AskedT, str]) -> Mapping[AskedT, Answer]:
            return {what: said[promql] for what, promql in queries_of.items()}

        asked = self.queries
        return Answers(
            at_s, by_what(asked.values), by_what(asked.events), by_what(asked.ages_s), by_what(asked.within),
            by_what(asked.buckets),
        )  # fmt: skip

    def samples(self, name: str, answers: Answers) -> ServiceSamples:
        """What the answers say of one of the services."""
        each, found = self.services[name], self.found[name]
        return service_samples(
            each.selector, each.roles, found.choice, found.missing, answers, self.window_s, each.target_ttft_s,
            found.conflicts,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grouping:
    """The labels that tell all services of a Prometheus, their pools and their routers apart."""

    engines: tuple[str, ...]
    routers: tuple[str, ...]

    @classmethod
    def of(cls, services: Collection[Asked]) -> Grouping:
        """Those that any of them has."""
        return cls(_names_of(_engine_labels(services)), _names_of(each.selector.of_router for each in services))

    def look(self, names: Collection[str], of: Collection[Asked] = ()) -> str:
        """PromQL: which of these series there are, under which values of the labels; `of` these services, or of all."""
        labels = dict.fromkeys(("__name__", *self.engines, *self.routers))
        name = Matcher.any_of("__name__", sorted(names))
        scopes = [[each.selector.service for each in of], [each.selector.of_router for each in of]] if of else [[]]
        selectors = dict.fromkeys(f"{{{', '.join(map(str, (name, *_matchers(scope))))}}}" for scope in scopes)
        return f"count by ({', '.join(labels)}) ({' or '.join(selectors)})"


def known_series(maps: Iterable[MetricMap]) -> frozenset[str]:
    """Every name under which a map may look for something."""
    return frozenset(
        each.spelt(series, prefix)
        for each in maps
        for prefix in each.spellings
        for alternatives in each.quantities.values()
        for alternative in alternatives
        for series in alternative.needs
    )


def batches(
    services: Mapping[str, Asked], found: Mapping[str, Detection], grouping: Grouping, window_s: float,
    pod_labels: Sequence[str],
) -> list[Batch]:  # fmt: skip
    """All `services`, of which `found` tells the series."""
    alike: dict[_Key, dict[str, Asked]] = {}
    for name, asked in services.items():
        alike.setdefault(_key(found[name].choice), {})[name] = asked
    return [_batch(each, found, grouping, window_s, pod_labels) for each in alike.values()]


def _batch(
    services: Mapping[str, Asked], found: Mapping[str, Detection], grouping: Grouping, window_s: float,
    pod_labels: Sequence[str],
) -> Batch:  # fmt: skip
    built = queries(
        found[next(iter(services))].choice,
        grouping.engines,
        _matchers([each.selector.service for each in services.values()]),
        window_s,
        sorted({each.target_ttft_s for each in services.values()}),
        pod_labels,
        Scope(grouping.routers, tuple(_matchers([each.selector.of_router for each in services.values()]))),
    )
    return Batch(services, {name: found[name] for name in services}, built, window_s)


_Key = tuple[tuple[Quantity, str, str, object, object], ...]


def _key(choice: Choice) -> _Key:
    """Equal for services of which the same queries are asked."""
    return tuple(
        (quantity, chosen.map.name, chosen.prefix, chosen.alternative, chosen.older)
        for quantity, chosen in sorted(choice.items())
    )


def _engine_labels(asked: Iterable[Asked]) -> Iterator[Labels]:
    """What tells all services and pools apart."""
    for each in asked:
        yield from (each.selector.service, *each.selector.pools.values())


def _names_of(labels: Iterable[Labels]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in labels for name in each))


def _matchers(labels: Sequence[Labels]) -> list[Matcher]:
    """Keep other people's series out, where few values of a label that all services have say how."""
    shared = set.intersection(*(set(each) for each in labels)) if labels else set()
    matchers = []
    for label in sorted(shared):
        values = sorted({each[label] for each in labels})
        if len(values) <= _FEW:
            matchers.append(Matcher.any_of(label, values))
    return matchers
