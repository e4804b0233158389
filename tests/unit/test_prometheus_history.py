"""Range queries cut into what each time would have been told, and the planner's own counts read back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from builders import service_samples

from planner.scaling.types import Role, Sample
from planner.sources.prometheus.answers import Answer, Failure, LabelledSample, Matrix, Series, Vector
from planner.sources.prometheus.history import AT_ONCE, ahead_s, answers_at
from planner.sources.prometheus.own import counts, with_counts
from planner.sources.types import PastError

P, D = Role.PREFILL, Role.DECODE
DOWN = Failure("unreachable", "http://prometheus: nobody there")


class Server:
    """Answers ranges from a table; says what time it is."""

    def __init__(self, table: Mapping[str, Answer], time_s: float = 1000.0) -> None:
        self.table = table
        self.time_s = time_s
        self.ranges: list[tuple[float, float, float]] = []
        self.under_way = self.most = 0

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        assert promql == "time()"
        return self.table.get("time()") or Vector((LabelledSample({}, self.time_s, self.time_s),))

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        self.ranges.append((start_s, end_s, step_s))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self.table[promql]


def series(values: Mapping[float, float], **labels: str) -> Series:
    return Series(labels, tuple(values), tuple(values.values()))


def test_a_range_becomes_what_each_time_would_have_been_told_and_a_gap_stays_one() -> None:
    server = Server({"a": Matrix((series({100: 1, 130: 2, 160: 3}, pod="x"), series({130.0004: 5}, pod="y")))})

    cut = asyncio.run(answers_at(server, ["a"], [100.0, 130.0, 160.0], deadline_s=1.0))

    told = [{sample.labels["pod"]: sample.value for sample in each["a"].samples} for each in cut]
    assert told == [{"x": 1}, {"x": 2, "y": 5}, {"x": 3}]
    assert server.ranges == [(100.0, 160.0, 30.0)]


def test_prometheus_is_asked_by_its_own_clock() -> None:
    async def script() -> tuple[float, float, list[Mapping[str, Vector]]]:
        late = Server({"a": Matrix((series({400: 1, 430: 2}),))}, time_s=1300.0)
        ahead = await ahead_s(late, 1000.0, deadline_s=1.0)
        cut = await answers_at(late, ["a"], [100.0, 130.0], deadline_s=1.0, ahead_s=ahead)
        return ahead, await ahead_s(Server({}), 999.0, deadline_s=1.0), list(cut)

    ahead, slow_answer, cut = asyncio.run(script())
    assert (ahead, slow_answer) == (300.0, 0.0)
    assert [each["a"].samples[0].value for each in cut] == [1, 2]


def test_few_ranges_are_asked_at_once() -> None:
    server = Server({name: Matrix(()) for name in "abcdefgh"})

    asyncio.run(answers_at(server, list("abcdefgh"), [100.0], deadline_s=1.0))

    assert server.most == AT_ONCE
    assert len(server.ranges) == 8


def test_one_query_without_an_answer_makes_no_past() -> None:
    with pytest.raises(PastError, match=r"^http://prometheus: nobody there$"):
        asyncio.run(answers_at(Server({"a": Matrix(()), "b": DOWN}), ["a", "b"], [100.0], deadline_s=1.0))
    with pytest.raises(PastError, match="nobody there"):
        asyncio.run(ahead_s(Server({"time()": DOWN}), 1000.0, deadline_s=1.0))


def told(role: str, service: str = "chat", label: str = "service", **values: float) -> list[LabelledSample]:
    states = {"wanted": 3.0, "ready": 2.0, "starting": 1.0, "pending": 0.0, "draining": 0.0, **values}
    samples = [LabelledSample({label: service, "pool": role, "state": state}, value, 100.0) for state, value in
               states.items()]  # fmt: skip
    return [*samples, LabelledSample({label: service, "pool": role}, 0.0, 100.0)]


@pytest.mark.parametrize("label", ["service", "exported_service"])
def test_counts_are_read_back_under_either_name_that_prometheus_gives_the_label(label: str) -> None:
    kubernetes = {"service": "sla-planner"} if label != "service" else {}
    samples = [
        LabelledSample({**kubernetes, **sample.labels}, sample.value, sample.at_s)
        for sample in (*told("prefill", label=label), *told("decode", label=label, wanted=5.0))
    ]

    counted = with_counts(service_samples(100.0), "chat", counts(Vector(tuple(samples))), 100.0)

    before = service_samples(100.0).pools
    assert counted.pools == {
        role: replace(before[role], **{name: Sample(count, 100.0) for name, count in states.items()})
        for role, states in ((P, {"wanted": 3.0, "ready": 2.0, "starting": 1.0}), (D, {"wanted": 5.0, "starting": 1.0}))
    }


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([*told("prefill")], id="one pool only"),
        pytest.param([*told("prefill"), *told("decode")[1:]], id="a state is missing"),
        pytest.param([*told("prefill"), *told("decode"), *told("decode")], id="two planners"),
        pytest.param([*told("prefill", "code"), *told("decode", "code")], id="another service"),
    ],
)
def test_counts_that_are_not_whole_or_not_ours_are_left_alone(samples: list[LabelledSample]) -> None:
    before = service_samples(100.0)

    assert with_counts(before, "chat", counts(Vector(tuple(samples))), 100.0) == before
