"""What a doctor asks, and what it makes of the answers before anything is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from planner.clock import VirtualClock
from planner.doctor import Evidence, Setup, Wanted, examine
from planner.scaling.types import Role, Sample
from planner.sources.prometheus.answers import Answer, Failure, LabelledSample, Labels, Matrix, Rejected, Series, Vector
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.maps import Quantity
from planner.sources.prometheus.readings import Selector

CHAT = {"namespace": "chat"}
POD = {**CHAT, "pod": "a-0", "instance": "10.0.0.1:8000"}
REPORTING = "vllm:num_requests_running"
NAMES = (
    REPORTING, "vllm:num_requests_waiting", "vllm:prompt_tokens_total", "vllm:time_to_first_token_seconds_count",
    "vllm:time_to_first_token_seconds_bucket",
)  # fmt: skip
DOWN = Failure("unreachable", "http://p:9090: Connection refused; start it")

Replies = Callable[[str], Answer | None]


def one(value: float, labels: Labels) -> LabelledSample:
    return LabelledSample(labels, value, 100.0)


class Prometheus:
    """One that has a vLLM replica at 2 requests/s, scraped every 15 s; `replies` go before its own."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self.asked: list[str] = []
        self.closed = False

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        self.asked.append(promql)
        await asyncio.sleep(0)
        return self._replies(promql) or self._own(promql)

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        raise AssertionError(f"the past is asked for: {promql}")

    def _own(self, promql: str) -> Answer:
        if promql.startswith("count by (__name__"):
            return Vector(tuple(one(1.0, {"__name__": name, **CHAT}) for name in NAMES), skew_s=0.25)
        if promql.endswith("[10m]"):
            return Matrix((Series(POD, (0.0, 15.0, 30.0, 60.0, 75.0), (1.0,) * 5), Series(POD, (75.0,), (1.0,))))
        if promql.startswith(f"{REPORTING}{{"):
            return Vector((one(3.0, POD),), rejected=(Rejected({**POD, "pod": "a-1"}, "NaN", 100.0),))
        if promql.startswith("count by (namespace, le)"):
            return Vector(tuple(one(1.0, {**CHAT, "le": edge}) for edge in ("0", "0.25", "1.0", "2.5", "+Inf")))
        if 'le="0.25"' in promql:
            return Vector((one(0.5, CHAT),))
        return Vector((one(2.0, CHAT),), warnings=("a store is away",))

    async def close(self) -> None:
        self.closed = True


def examined(replies: Replies = lambda _: None, target_s: float = 0.5) -> tuple[Evidence, Prometheus]:
    prometheus = Prometheus(replies)
    asked = Asked(Selector(CHAT, {Role.AGGREGATED: {}}), {Role.AGGREGATED: 1}, target_s)
    setup = Setup(load_maps(), window_s=60.0, deadline_s=10.0, pod_labels=("namespace", "pod"))
    wanted = {"chat": Wanted(asked, max_age_s=90.0, corrects=True)}
    return asyncio.run(examine(prometheus, setup, wanted, VirtualClock(100.0))), prometheus


def test_reads_what_a_running_planner_would_read_and_closes_the_client() -> None:
    evidence, prometheus = examined()
    (chat,) = evidence.services

    assert chat.detection.engines == ("vllm",)
    assert chat.samples.rate_per_s == Sample(2.0, 98.0)
    assert chat.asked_at_s == 100.0
    assert evidence.queries == len(set(prometheus.asked[1 : 1 + evidence.queries]))
    assert (evidence.skew_s, evidence.warnings, evidence.unanswered) == (0.25, ("a store is away",), ())
    assert prometheus.closed


def test_measures_what_a_round_does_not_tell() -> None:
    (chat,) = examined()[0].services

    assert chat.reporting == (POD, {**POD, "pod": "a-1"})
    assert chat.scrape_interval_s == 15.0
    assert chat.ttft_edges_s == (0.25, 1.0, 2.5)
    assert chat.shares == {0.25: 0.5, 1.0: 2.0}
    assert chat.idle == frozenset()


def test_on_an_edge_the_share_there_is_the_only_one_asked_for() -> None:
    (chat,) = examined(target_s=0.25)[0].services

    assert chat.shares == {0.25: 0.5}


def test_means_of_no_events_are_idle() -> None:
    def nothing_happens(promql: str) -> Answer | None:
        return Vector((one(0.0, CHAT),)) if promql.startswith("sum") and " / " not in promql else None

    (chat,) = examined(nothing_happens)[0].services

    assert chat.idle == {Quantity.ISL_TOKENS, Quantity.TTFT_BUCKETS, Quantity.ISL_BUCKETS}


def test_when_the_first_question_fails_no_other_is_asked() -> None:
    evidence, prometheus = examined(lambda _: DOWN)

    assert evidence.failure == DOWN
    assert (len(prometheus.asked), evidence.services, prometheus.closed) == (1, (), True)


def test_an_answer_of_another_kind_is_a_failure_too() -> None:
    evidence, _ = examined(lambda _: Matrix(()))

    assert evidence.failure == Failure(
        "not-prometheus", "prometheus.url: it answers, but not as Prometheus does; check the path"
    )


@pytest.mark.parametrize(
    "part", [REPORTING + "{", "[10m]", ", le)", "le="], ids=["series", "samples", "edges", "share"]
)
def test_a_question_that_fails_leaves_its_answer_unknown_and_says_why(part: str) -> None:
    evidence, _ = examined(lambda promql: DOWN if part in promql else None)

    assert evidence.failure is None
    assert evidence.unanswered == (DOWN.text,)
    assert len(evidence.services) == 1


def test_without_any_series_nothing_more_is_asked_of_a_service() -> None:
    evidence, prometheus = examined(lambda _: Vector(()))
    (chat,) = evidence.services

    assert (chat.reporting, chat.scrape_interval_s, chat.ttft_edges_s, chat.shares) == ((), None, (), {})
    assert len(prometheus.asked) == 2  # the doctor's own look, and the source's


def test_services_are_examined_a_few_at_a_time_and_told_in_order() -> None:
    names = [f"s{n}" for n in range(20)]
    under_way: list[int] = []

    class Busy(Prometheus):
        """Counts who asks for its series of replicas, which each service does once."""

        asking = 0

        async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
            if not promql.startswith(f"{REPORTING}{{"):
                return await super().query(promql, deadline_s=deadline_s, at_s=at_s)
            self.asking += 1
            under_way.append(self.asking)
            answer = await super().query(promql, deadline_s=deadline_s, at_s=at_s)
            self.asking -= 1
            return answer

    def series(promql: str) -> Answer | None:
        if not promql.startswith("count by (__name__"):
            return None
        return Vector(tuple(one(1.0, {"__name__": name, "namespace": each}) for name in NAMES for each in names))

    wanted = {
        name: Wanted(Asked(Selector({"namespace": name}, {Role.AGGREGATED: {}}), {Role.AGGREGATED: 1}, 0.5), 90.0, True)
        for name in names
    }
    setup = Setup(load_maps(), window_s=60.0, deadline_s=10.0, pod_labels=("namespace", "pod"))
    evidence = asyncio.run(examine(Busy(series), setup, wanted, VirtualClock(100.0)))

    assert [each.name for each in evidence.services] == names
    assert len(under_way) == len(names)
    assert 1 < max(under_way) <= 8
