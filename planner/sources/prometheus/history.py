"""What queries would have answered at past times: range queries, cut into the answers of each time.

The times are the planner's; where Prometheus's clock differs, it is asked by its own. Units: seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from planner.sources.prometheus.answers import Answer, Failure, LabelledSample, Matrix, Series, Vector
from planner.sources.types import PastError

AT_ONCE = 2
"""Range queries under way; the others of the client's threads are for the present."""
LATENCY_S = 2.0
"""A clock that seems to differ by less may be right and its answer slow."""


class Ranger(Protocol):
    """What of a Prometheus client is needed here."""

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        """The answer now, or why there is none."""
        ...

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        """The answers from start to end, or why there are none."""
        ...


async def ahead_s(client: Ranger, now_s: float, deadline_s: float) -> float:
    """How far Prometheus's clock is ahead of ours, which says `now_s`; 0 when it may be right. Raises PastError."""
    answer = await client.query("time()", deadline_s=deadline_s)
    if not isinstance(answer, Vector) or len(answer.samples) != 1:
        raise PastError(answer.text if isinstance(answer, Failure) else "Prometheus does not tell its time")
    difference_s = answer.samples[0].value - now_s
    return difference_s if abs(difference_s) > LATENCY_S else 0.0


async def answers_at(
    client: Ranger, asked: Collection[str], at_s: Sequence[float], deadline_s: float, ahead_s: float = 0.0
) -> Sequence[Mapping[str, Vector]]:
    """For each of the times, which are evenly spaced and ascend, what each query would have answered.

    Raises PastError when one of them cannot be had.
    """
    start_s, end_s = at_s[0] + ahead_s, at_s[-1] + ahead_s
    step_s = at_s[1] - at_s[0] if len(at_s) > 1 else 1.0
    few = asyncio.Semaphore(AT_ONCE)

    async def asking(promql: str) -> Answer:
        async with few:
            return await client.query_range(promql, start_s, end_s, step_s, deadline_s=deadline_s)

    answers = dict(zip(asked, await asyncio.gather(*map(asking, asked)), strict=True))
    cut: list[dict[str, Vector]] = [{} for _ in at_s]
    for promql, answer in answers.items():
        if not isinstance(answer, Matrix):
            raise PastError(answer.text if isinstance(answer, Failure) else "Prometheus answers no range")
        for index, samples in enumerate(_columns(answer.series, start_s, step_s, len(at_s))):
            cut[index][promql] = Vector(tuple(samples))
    return cut


def _columns(series: Sequence[Series], start_s: float, step_s: float, count: int) -> list[list[LabelledSample]]:
    columns: list[list[LabelledSample]] = [[] for _ in range(count)]
    for one in series:
        for at_s, value in zip(one.at_s, one.values, strict=True):
            index = round((at_s - start_s) / step_s)
            if 0 <= index < count:
                columns[index].append(LabelledSample(one.labels, value, at_s))
    return columns
