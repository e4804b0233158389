"""Ask one Prometheus what `judge` needs to know: first a round exactly as a running planner asks it, then a few
questions more for each service, a few services at a time. Everything asked only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from planner.clock import Clock
from planner.doctor.evidence import Evidence, ServiceEvidence, Setup, Wanted
from planner.doctor.questions import Questions
from planner.scaling.types import ServiceSamples
from planner.sources.prometheus.answers import Answer, Failure, Labels, Vector, carries
from planner.sources.prometheus.batch import Grouping, known_series
from planner.sources.prometheus.detect import detect
from planner.sources.prometheus.source import Asker, PrometheusSource

_AT_ONCE = 8
"""Services that are asked about at a time: a running planner's own round asks for all of them together."""
_OF_ANOTHER_KIND = Failure("not-prometheus", "prometheus.url: it answers, but not as Prometheus does; check the path")


async def examine(client: Asker, setup: Setup, wanted: Mapping[str, Wanted], clock: Clock) -> Evidence:
    """What there is of these services, which share one Prometheus. The client is closed in the end."""
    listener = _Listener(client, setup.deadline_s)
    services = {name: each.asked for name, each in wanted.items()}
    source = PrometheusSource(
        listener, services, setup.maps, clock,
        window_s=setup.window_s, deadline_s=setup.deadline_s, pod_labels=setup.pod_labels,
    )  # fmt: skip
    try:
        looked = await listener.ask(Grouping.of(services.values()).look(known_series(setup.maps.values())))
        if not isinstance(looked, Vector):
            return Evidence(setup, looked if isinstance(looked, Failure) else _OF_ANOTHER_KIND)
        there = tuple(sample.labels for sample in looked.samples)
        asked_before, begun_s = listener.asked, clock.now_s()
        samples = await asyncio.gather(*map(source.collect, services))
        queries_of_round, took_s = listener.asked - asked_before, clock.now_s() - begun_s
        room = asyncio.Semaphore(_AT_ONCE)

        async def examined(name: str, one: Wanted, of_it: ServiceSamples) -> ServiceEvidence:
            async with room:
                return await _examine_service(listener, setup, name, one, there, of_it, begun_s)

        each = await asyncio.gather(*map(examined, wanted, wanted.values(), samples))
        return Evidence(
            setup, None, queries_of_round, took_s, listener.skew_s, tuple(listener.warnings), tuple(listener.failures),
            there, tuple(each),
        )  # fmt: skip
    finally:
        await source.close()


class _Listener:
    """Passes questions on, and keeps what Prometheus says beside its answers."""

    def __init__(self, client: Asker, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self.asked = 0
        self.skew_s: float | None = None
        self.warnings: dict[str, None] = {}
        self.failures: dict[str, None] = {}

    async def ask(self, promql: str) -> Answer:
        return await self.query(promql, deadline_s=self._deadline_s)

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        self.asked += 1
        answer = await self._client.query(promql, deadline_s=deadline_s, at_s=at_s)
        if isinstance(answer, Failure):
            self.failures[answer.text] = None
        else:
            self.warnings |= dict.fromkeys(answer.warnings)
            self.skew_s = answer.skew_s if self.skew_s is None else self.skew_s
        return answer

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        return await self._client.query_range(promql, start_s, end_s, step_s, deadline_s=deadline_s)

    async def close(self) -> None:
        await self._client.close()


async def _examine_service(
    listener: _Listener, setup: Setup, name: str, wanted: Wanted, there: Iterable[Labels], samples: ServiceSamples,
    asked_at_s: float,
) -> ServiceEvidence:  # fmt: skip
    selector = wanted.asked.selector
    of_engines, of_router = (
        {labels.get("__name__", "") for labels in there if carries(labels, mine)}
        for mine in (selector.service, selector.of_router)
    )
    detection = detect(of_engines, setup.maps, of_router)
    questions = Questions(listener.ask, setup, wanted.asked, detection)
    reporting = await questions.reporting()
    edges_s = await questions.ttft_edges_s()
    return ServiceEvidence(
        name=name,
        wanted=wanted,
        detection=detection,
        samples=samples,
        asked_at_s=asked_at_s,
        idle=await questions.idle(),
        reporting=reporting,
        scrape_interval_s=await questions.scrape_interval_s(reporting),
        ttft_edges_s=edges_s,
        shares=await questions.shares(edges_s),
    )
