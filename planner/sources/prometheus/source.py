"""The services' metrics from one Prometheus, asked together.

Whoever collects first begins a round, and all who come meanwhile wait for the same one: its queries group by the labels
that tell services apart, so their number grows with the kinds of engines and not with the services. What series there
are is looked at again every few minutes, and at once for a service of which nothing was found.

A round that fails leaves every service absent with the failure's sentence; the next one begins anew.
Units: seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import Protocol

from planner.clock import Clock
from planner.scaling.types import Absent, Role, ServiceSamples
from planner.sources.prometheus.answers import Answer, Failure, Labels, Vector
from planner.sources.prometheus.batch import Asked, Batch, Grouping, batches, known_series
from planner.sources.prometheus.detect import Detection, detect
from planner.sources.prometheus.history import Ranger, ahead_s, answers_at
from planner.sources.prometheus.maps import MetricMap, Quantity
from planner.sources.prometheus.own import REPLICAS, counts, with_counts
from planner.sources.prometheus.queries import POD, Matcher, by_pod
from planner.sources.prometheus.readings import Answers, service_samples
from planner.sources.types import PastError

LOOK_AGAIN_S = 300.0
"""Between two looks at what series there are."""
TOGETHER_S = 1.0
"""Who asks so soon after another is given the same answers."""

_LOAD = (Quantity.RUNNING, Quantity.WAITING)
_BREATH = 50
"""Services between two pauses in which others may run; one takes up to half a millisecond."""
_PIECE = 20_000
"""Past times of services that are asked for in one go; 1,000 services take 20 times."""


class Asker(Ranger, Protocol):
    """What of a Prometheus client is needed here."""

    async def close(self) -> None:
        """Let go of connections."""
        ...


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
        self._grouping = Grouping.of(services.values())
        self._look_for = self._grouping.look(known_series(maps.values()), services.values())
        self._found: dict[str, Detection] = {}
        self._looked_s: float | None = None
        self._together: list[Batch] = []
        """All services as they are asked for, by what was found."""
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

    async def loads(self, service: str, role: Role) -> Mapping[str, float]:
        """Requests in work and waiting of each of the pool's pods; none where that is not told."""
        found, selector = self._found.get(service), self._services[service].selector
        if found is None or not self._pod_labels:
            return {}
        of_pods = [each for each in _LOAD if each in found.choice and found.choice[each].map.kind == "engine"]
        matchers = [Matcher(label, value) for label, value in selector.of_pool(role).items()]
        asked = [by_pod(found.choice, quantity, matchers, self._pod_labels) for quantity in of_pods]
        answers = await asyncio.gather(*map(self._query, asked))
        if not all(isinstance(answer, Vector) for answer in answers):
            return {}
        loads: dict[str, float] = {}
        for sample in (sample for answer in answers if isinstance(answer, Vector) for sample in answer.samples):
            pod = sample.labels.get(self._pod_labels[-1], "")
            loads[pod] = loads.get(pod, 0.0) + sample.value
        return loads

    async def past(
        self, services: Collection[str], at_s: Sequence[float]
    ) -> AsyncIterator[Mapping[str, Sequence[ServiceSamples]]]:
        """What would have been collected at these times, with the counts that the planner's own metrics tell."""
        if (failure := await self._look(self._clock.now_s())) is not None:
            raise PastError(failure.text)
        client, deadline_s = self._client, self._deadline_s
        ahead = await ahead_s(client, self._clock.now_s(), deadline_s)
        together = self._batches({name: self._services[name] for name in services})
        count = max(1, _PIECE // len(services))
        for piece_s in (at_s[first : first + count] for first in range(0, len(at_s), count)):
            own = [counts(each[REPLICAS]) for each in await answers_at(client, [REPLICAS], piece_s, deadline_s, ahead)]
            told: dict[str, list[ServiceSamples]] = {name: [] for name in services}
            for batch in together:
                said = await answers_at(client, batch.promql(), piece_s, deadline_s, ahead)
                silence = batch.answers(dict.fromkeys(batch.promql(), Vector(())), 0.0)
                # Most of the past of a young Prometheus, and then it need not be read again for each time.
                nothing = {name: batch.samples(name, silence) for name in batch.services}
                for each_s, each, known in zip(piece_s, said, own, strict=True):
                    answers = batch.answers(each, each_s)
                    silent = not any(vector.samples for vector in each.values())
                    for index, name in enumerate(batch.services):
                        if index % _BREATH == 0:
                            await asyncio.sleep(0)
                        samples = nothing[name] if silent else batch.samples(name, answers)
                        told[name].append(with_counts(samples, name, known, each_s))
            yield told

    async def retire(self) -> None:
        """Let the round under way end, and let go of connections."""
        if self._round is not None:
            await asyncio.wait((self._round,))
        await self._client.close()

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
        samples: dict[str, ServiceSamples] = {}
        for of_batch in await asyncio.gather(*(self._ask_batch(batch, now_s) for batch in self._together)):
            samples |= of_batch
        return samples

    async def _look(self, now_s: float) -> Failure | None:
        """Find out which series tell what of each service; None when that is known."""
        known = self._looked_s is not None and now_s - self._looked_s < LOOK_AGAIN_S
        if known and all(detection.choice for detection in self._found.values()):
            return None
        answer = await self._query(self._look_for)
        if not isinstance(answer, Vector):
            # What was found before is still the best guess.
            return None if self._found else _failure(answer)
        found: dict[str, Detection] = {}
        for index, (name, asked) in enumerate(self._services.items()):
            if index % _BREATH == 0:
                await asyncio.sleep(0)
            engines = _names_under(asked.selector.service, answer)
            found[name] = detect(engines, self._maps, _names_under(asked.selector.of_router, answer))
        self._found, self._looked_s = found, now_s
        self._together = self._batches(self._services)
        return None

    def _batches(self, services: Mapping[str, Asked]) -> list[Batch]:
        return batches(services, self._found, self._grouping, self._window_s, self._pod_labels)

    async def _ask_batch(self, batch: Batch, now_s: float) -> Mapping[str, ServiceSamples]:
        asked = batch.promql()
        answers = batch.answers(dict(zip(asked, await asyncio.gather(*map(self._query, asked)), strict=True)), now_s)
        samples: dict[str, ServiceSamples] = {}
        for index, name in enumerate(batch.services):
            if index % _BREATH == 0:
                await asyncio.sleep(0)
            samples[name] = batch.samples(name, answers)
        return samples

    def _query(self, promql: str) -> Awaitable[Answer]:
        return self._client.query(promql, deadline_s=self._deadline_s)


def _names_under(labels: Labels, found: Vector) -> set[str]:
    """Of the series found, the names of those that carry the labels."""
    return {sample.labels["__name__"] for sample in found.carrying(labels) if "__name__" in sample.labels}


def _failure(answer: Answer) -> Failure:
    return answer if isinstance(answer, Failure) else Failure("not-prometheus", "the answer is of another kind")


def _blind(asked: Asked, cause: str, window_s: float) -> ServiceSamples:
    nothing = Answers(0.0, {}, {}, {}, {})
    why = dict.fromkeys(Quantity, cause)
    samples = service_samples(asked.selector, asked.roles, {}, why, nothing, window_s, asked.target_ttft_s)
    assert isinstance(samples.rate_per_s, Absent)
    return samples
