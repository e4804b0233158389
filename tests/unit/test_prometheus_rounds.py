"""A round of questions: nothing is asked twice, and nobody takes the answers from another."""

from __future__ import annotations

import asyncio

from planner.clock import VirtualClock
from planner.scaling.types import Absent, Role
from planner.sources.prometheus.answers import Answer, LabelledSample, Vector
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import Asked, PrometheusSource

NAMES = (
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:prompt_tokens_total",
    "vllm:time_to_first_token_seconds_count", "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_bucket",
)  # fmt: skip
MATCH = {"namespace": "chat"}


class Listening:
    """A Prometheus that has vLLM's series, and no samples of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        self.asked.append(promql)
        await asyncio.sleep(0)
        if "__name__" not in promql:
            return Vector(())
        return Vector(tuple(LabelledSample({"__name__": name, **MATCH}, 1.0, 0.0) for name in NAMES))

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
