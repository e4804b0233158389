"""The services' metrics from one Prometheus, asked together.

Whoever collects first begins a round, and all who come meanwhile wait for the same one: its queries group by the labels
that tell services apart, so their number grows with the kinds of engines and not with the services. What series there
are is looked at again every few minutes, and at once for a service of which nothing was found.

A round that fails leaves every service absent with the failure's sentence; the next one begins anew.
Units: seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from planner.clock import Clock
from planner.scaling.types import Absent, Role, ServiceSamples
from planner.sources.prometheus.answers import Answer, Failure, Vector
from planner.sources.prometheus.detect import Choice, Detection, detect
from planner.sources.prometheus.maps import MetricMap, Quantity
from planner.sources.prometheus.queries import POD, Matcher, Queries, queries
from planner.sources.prometheus.readings import Answers, Selector, carries, service_samples

AskedT = TypeVar("AskedT")

LOOK_AGAIN_S = 300.0
"""Between two looks at what series there are."""
TOGETHER_S = 2.0
"""Who asks so soon after another is given the same answers."""

_FEW = 100
"""Values of a label that a query names; of more it asks for all."""


class Asker(Protocol):
    """What of a Prometheus client is needed here."""

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        """The answer now, or why there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be known of one service."""

    selector: Selector
    roles: Mapping[Role, object]
    target_ttft_s: float


class PrometheusSource:
    """A source for all `services`."""

    def __init__(
        self,
        client: Asker,
        services: Mapping[str, Asked],
        maps: Mapping[str, MetricMap],
        clock: Clock,
        *,
        window_s: float,
        deadline_s: float,
        pod_labels: tuple[str, ...] = POD,
    ) -> None:
        """Rates and means are over `window_s`; a round is over after `deadline_s`."""
        self._client = client
        self._services = services
        self._maps = maps
        self._clock = clock
        self._window_s = window_s
        self._deadline_s = deadline_s
        self._pod_labels = pod_labels
        self._group_by = _group_by(services.values())
        self._names = sorted(_series(maps.values()))
        self._found: dict[str, Detection] = {}
        self._looked_s: float | None = None
        self._round: asyncio.Task[Mapping[str, ServiceSamples]] | None = None
        self._round_s = 0.0

    async def collect(self, service: str) -> ServiceSamples:
        """What is known of the service now."""
        now_s = self._clock.now_s()
        if self._round is None or now_s - self._round_s > TOGETHER_S:
            self._round_s = now_s
            self._round = asyncio.create_task(self._ask_all(now_s), name="prometheus")
        # Whoever stops waiting must not take the answers from the others.
        return (await asyncio.shield(self._round))[service]

    async def close(self) -> None:
        """End the round under way, and let go of connections."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
        await self._client.close()

    async def _ask_all(self, now_s: float) -> Mapping[str, ServiceSamples]:
        failure = await self._look(now_s)
        if failure is not None:
            return {name: _blind(asked, failure.text, self._window_s) for name, asked in self._services.items()}
        batches: dict[_Key, list[str]] = {}
        for name in self._services:
            batches.setdefault(_key(self._found[name].choice), []).append(name)
        samples: dict[str, ServiceSamples] = {}
        for batch in await asyncio.gather(*(self._ask_batch(names, now_s) for names in batches.values())):
            samples |= batch
        return samples

    async def _look(self, now_s: float) -> Failure | None:
        """Find out which series tell what of each service; None when that is known."""
        known = self._looked_s is not None and now_s - self._looked_s < LOOK_AGAIN_S
        if known and all(detection.choice for detection in self._found.values()):
            return None
        pattern = Matcher.any_of("__name__", self._names)
        answer = await self._query(f"count by ({', '.join(('__name__', *self._group_by))}) ({{{pattern}}})")
        if not isinstance(answer, Vector):
            # What was found before is still the best guess.
            return None if self._found else _failure(answer)
        for name, asked in self._services.items():
            there = {
                sample.labels["__name__"]
                for sample in answer.samples
                if "__name__" in sample.labels and carries(sample.labels, asked.selector.service)
            }
            self._found[name] = detect(there, self._maps)
        self._looked_s = now_s
        return None

    async def _ask_batch(self, names: Collection[str], now_s: float) -> Mapping[str, ServiceSamples]:
        """Services whose series are alike."""
        asked = {name: self._services[name] for name in names}
        choice = self._found[next(iter(names))].choice
        targets_s = sorted({each.target_ttft_s for each in asked.values()})
        built = queries(choice, self._group_by, _matchers(asked.values()), self._window_s, targets_s, self._pod_labels)
        answers = await self._answers(built, now_s)
        return {
            name: service_samples(
                each.selector, each.roles, choice, self._found[name].missing, answers, self._window_s,
                each.target_ttft_s,
            )
            for name, each in asked.items()
        }  # fmt: skip

    async def _answers(self, built: Queries, now_s: float) -> Answers:
        # Several quantities rest on the same counter or scrape: what is asked alike is asked once.
        asked = dict.fromkeys(
            promql
            for queries_of in (built.values, built.events, built.ages_s, built.within)
            for promql in queries_of.values()
        )
        said = dict(zip(asked, await asyncio.gather(*map(self._query, asked)), strict=True))

        def answered(queries_of: Mapping[AskedT, str]) -> Mapping[AskedT, Answer]:
            return {what: said[promql] for what, promql in queries_of.items()}

        return Answers(
            now_s, answered(built.values), answered(built.events), answered(built.ages_s), answered(built.within)
        )

    def _query(self, promql: str) -> Awaitable[Answer]:
        return self._client.query(promql, deadline_s=self._deadline_s)


_Key = tuple[tuple[Quantity, str, str, object], ...]


def _key(choice: Choice) -> _Key:
    """Equal for services of which the same queries are asked."""
    return tuple(
        (quantity, chosen.map.name, chosen.prefix, chosen.alternative) for quantity, chosen in sorted(choice.items())
    )


def _series(maps: Iterable[MetricMap]) -> set[str]:
    """Every name that a map may look for."""
    return {
        each.spelt(series, prefix)
        for each in maps
        for prefix in each.spellings
        for alternatives in each.quantities.values()
        for alternative in alternatives
        for series in alternative.needs
    }


def _group_by(asked: Iterable[Asked]) -> tuple[str, ...]:
    """The labels that tell all services and pools apart."""
    return tuple(
        dict.fromkeys(
            label
            for each in asked
            for labels in (each.selector.service, *each.selector.pools.values())
            for label in labels
        )
    )


def _matchers(asked: Collection[Asked]) -> list[Matcher]:
    """Keep other people's series out, where few values of a label that all services have say how."""
    shared = set.intersection(*(set(each.selector.service) for each in asked))
    matchers = []
    for label in sorted(shared):
        values = sorted({each.selector.service[label] for each in asked})
        if len(values) <= _FEW:
            matchers.append(Matcher.any_of(label, values))
    return matchers


def _failure(answer: Answer) -> Failure:
    return answer if isinstance(answer, Failure) else Failure("not-prometheus", "the answer is of another kind")


def _blind(asked: Asked, cause: str, window_s: float) -> ServiceSamples:
    nothing = Answers(0.0, {}, {}, {}, {})
    why = dict.fromkeys(Quantity, cause)
    samples = service_samples(asked.selector, asked.roles, {}, why, nothing, window_s, asked.target_ttft_s)
    assert isinstance(samples.rate_per_s, Absent)
    return samples
