"""A round of questions: nothing is asked twice, and nobody takes the answers from another."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from planner.clock import VirtualClock
from planner.scaling.types import Absent, Role, Sample, ServiceSamples
from planner.sources.prometheus.answers import Answer, LabelledSample, Matrix, Series, Vector
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource

NAMES = (
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:prompt_tokens_total",
    "vllm:time_to_first_token_seconds_count", "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_bucket", "vllm:request_prompt_tokens_bucket",
    "vllm:request_prompt_tokens_count",
)  # fmt: skip
MATCH = {"namespace": "chat"}


class Listening:
    """A Prometheus that has vLLM's series, and no samples of them."""

    def __init__(self, names: Collection[str] = NAMES) -> None:
        self.names = names
        self.others: list[Mapping[str, str]] = []
        """Further series, by their labels."""
        self.asked: list[str] = []

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        self.asked.append(promql)
        await asyncio.sleep(0)
        if "__name__" not in promql:
            return Vector(())
        there = [*({"__name__": name, **MATCH} for name in self.names), *self.others]
        return Vector(tuple(LabelledSample(labels, 1.0, 0.0) for labels in there))

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        raise AssertionError(f"the past is asked for: {promql}")

    async def close(self) -> None: ...


def source(listening: Listening) -> PrometheusSource:
    asked = Asked(Selector(MATCH, {}), {Role.AGGREGATED: 1}, 0.5)
    return PrometheusSource(listening, {"chat": asked}, load_maps(), VirtualClock(), window_s=60.0, deadline_s=10.0)


def test_what_several_quantities_rest_on_is_asked_once() -> None:
    async def script() -> list[str]:
        listening = Listening()
        one = source(listening)
        await one.collect("chat")
        await one.close()
        return listening.asked

    asked = asyncio.run(script())
    assert len(asked) > 5
    assert len(asked) == len(set(asked))


def test_whoever_stops_waiting_leaves_the_answers_to_the_others() -> None:
    async def script() -> None:
        one = source(Listening())
        impatient, patient = (asyncio.create_task(one.collect("chat")) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        samples = await patient
        assert samples.ttft_s == Absent('no series carries {namespace="chat"}')
        assert impatient.cancelled()
        await one.close()

    asyncio.run(script())


@pytest.mark.parametrize(
    ("names", "queries"),
    [
        pytest.param(NAMES, list(NAMES[5:7]), id="there"),
        pytest.param([name for name in NAMES if not name.endswith("bucket")], [], id="absent"),
    ],
)  # fmt: skip
def test_a_histogram_is_asked_for_once_and_only_where_it_is_there(names: Collection[str], queries: list[str]) -> None:
    async def script() -> list[str]:
        listening = Listening(names)
        one = source(listening)
        await one.collect("chat")
        await one.close()
        return [promql for promql in listening.asked if "_bucket{" in promql]

    asked = asyncio.run(script())
    assert [series for series in queries for promql in asked if series in promql] == queries
    assert len(asked) == len(queries)


def test_a_router_is_looked_for_and_asked_under_its_own_labels_for_all_services_at_once() -> None:
    async def script() -> list[str]:
        listening = Listening()
        listening.others = [
            {"__name__": name, "model": model}
            for name in ("dynamo_frontend_inflight_requests", "dynamo_frontend_requests_started_total")
            for model in ("chat", "code")
        ]
        services = {
            name: Asked(Selector(MATCH, {}, {"model": name}), {Role.AGGREGATED: 1}, 0.5) for name in ("chat", "code")
        }
        one = PrometheusSource(
            listening, services, load_maps(), VirtualClock(), window_s=60.0, deadline_s=10.0, pod_labels=()
        )
        await asyncio.gather(one.collect("chat"), one.collect("code"))
        await one.close()
        return listening.asked

    looked, *asked = asyncio.run(script())
    assert looked.startswith("count by (__name__, namespace, model) (")
    assert [promql for promql in asked if "rate(dynamo" in promql] == [
        'sum by (model) (rate(dynamo_frontend_requests_started_total{model=~"chat|code"}[60s]))'
    ]
    assert 'sum by (namespace) (vllm:num_requests_waiting{namespace=~"chat"})' in asked


class Remembering(Listening):
    """Nothing was to be seen before 100 s; from then on one request waits."""

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        if promql == "time()":
            return Vector((LabelledSample({}, 0.0, 0.0),))
        return await super().query(promql, deadline_s=deadline_s, at_s=at_s)

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        if "num_requests_waiting" not in promql:
            return Matrix(())
        times = [start_s + index * step_s for index in range(round((end_s - start_s) / step_s) + 1)]
        seen = tuple(at_s for at_s in times if at_s >= 100)
        return Matrix((Series(MATCH, seen, (1.0,) * len(seen)),))


def test_times_of_which_nothing_is_told_are_as_those_of_a_prometheus_that_has_no_samples() -> None:
    async def script() -> tuple[ServiceSamples, list[ServiceSamples]]:
        silent, one = source(Listening()), source(Remembering())
        now = await silent.collect("chat")
        past = [samples async for piece in one.past(["chat"], [80.0, 90.0, 100.0, 110.0]) for samples in piece["chat"]]
        await silent.close()
        await one.close()
        return now, past

    now, (first, second, third, _) = asyncio.run(script())

    assert first == second == now
    waiting = third.pools[Role.AGGREGATED].waiting
    assert isinstance(waiting, Sample)
    assert waiting.value == 1.0
