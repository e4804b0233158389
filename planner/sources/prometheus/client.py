"""Questions to Prometheus that never hang, never lie, and never hold up the event loop.

Each question has a deadline, in seconds from when it is asked, and is answered by then: with what Prometheus said, or
with a `Failure` that says why not. Nothing is raised for what the outside does. A question may be cancelled at any
moment; its request ends alone, on its thread.

It is asked again, within the deadline, only where that may help: server unreachable, status 429 or 5xx.

Limits: an answer is parsed on its thread, yet by one C call that holds the interpreter. Measured on a slow core: 30 ms
for 3 MiB (20 000 series), 0.6 s for 30 MiB. So select and aggregate in the query.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.sources.prometheus.answers import Again, Answer, Cause, Failure
from planner.sources.prometheus.answers_read import INSTANT, NAMES, RANGE
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.client_threads import BusyError, Threads

if TYPE_CHECKING:
    from planner.sources.prometheus.client_http import Connection, Form

_FIRST_WAIT_S = 0.05
"""Before asking again; doubles each time."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a client has done since it was made."""

    queries: int
    """Questions put to it, with those cancelled."""
    failures: Mapping[Cause, int]
    seconds: float
    """Time between question and answer, summed."""


class PrometheusClient:
    """Asks one Prometheus. Belongs to the event loop that first uses it."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._threads = Threads(settings.threads)
        self._idle: deque[Connection] = deque()
        self._closed = False
        self._queries = 0
        self._failures: Counter[Cause] = Counter()
        self._seconds = 0.0

    async def query(self, promql: str, *, deadline_s: float, at_s: float | None = None) -> Answer:
        """The value of an expression at a time, or now: a `Vector`; for a range selector a `Matrix`."""
        form: Form = {"query": promql} if at_s is None else {"query": promql, "time": _number(at_s)}
        return await self._ask("/api/v1/query", form, INSTANT, deadline_s)

    async def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float, *, deadline_s: float
    ) -> Answer:
        """The values of an expression from start to end, both included where a step falls on them: a `Matrix`."""
        form = {"query": promql, "start": _number(start_s), "end": _number(end_s), "step": _number(step_s)}
        return await self._ask("/api/v1/query_range", form, RANGE, deadline_s)

    async def series(self, matches: Sequence[str], start_s: float, end_s: float, *, deadline_s: float) -> Answer:
        """The label sets of all series that any of `matches` selects and that had samples in the time: `Names`."""
        form: Form = {"match[]": list(matches), "start": _number(start_s), "end": _number(end_s)}
        return await self._ask("/api/v1/series", form, NAMES, deadline_s)

    async def close(self) -> None:
        """Let go of connections; those in use close as their requests end. Later questions fail."""
        self._closed = True
        self._close_idle()

    def stats(self) -> Stats:
        """Counts and times so far."""
        return Stats(self._queries, dict(self._failures), self._seconds)

    async def _ask(self, path: str, form: Form, expected: Collection[str], deadline_s: float) -> Answer:
        begun_s = asyncio.get_running_loop().time()
        self._queries += 1
        try:
            answer = await self._persist(path, form, expected, begun_s + deadline_s)
        finally:
            self._seconds += asyncio.get_running_loop().time() - begun_s
        if isinstance(answer, Failure):
            self._failures[answer.cause] += 1
        return answer

    async def _persist(self, path: str, form: Form, expected: Collection[str], until_s: float) -> Answer:
        now_s = asyncio.get_running_loop().time
        wait_s, retries_left = _FIRST_WAIT_S, self._settings.retries
        while isinstance(answer := await self._attempt(path, form, expected, until_s), Again):
            wait_s = max(wait_s, answer.wait_s)
            if retries_left == 0 or now_s() + wait_s >= until_s:
                return answer.failure
            await asyncio.sleep(wait_s)
            wait_s, retries_left = 2 * wait_s, retries_left - 1
        return answer

    async def _attempt(self, path: str, form: Form, expected: Collection[str], until_s: float) -> Answer | Again:
        where = f"{self._settings.url.rstrip('/')}{path}"
        if self._closed:
            return Failure("closed", f"{where}: the client was closed; make a new one")
        # An event loop may have a clock of its own; threads go by the monotonic one.
        limit_s = time.monotonic() + until_s - asyncio.get_running_loop().time()
        try:
            return await self._threads.run(lambda: self._request(path, form, expected, limit_s), until_s)
        except BusyError:
            text = f"{where}: all {self._settings.threads} threads wait for answers; see why Prometheus is slow"
            return Failure("busy", text)
        except TimeoutError:
            return Failure("timeout", f"{where}: no complete answer in time; give more time or ask for less")

    def _request(self, path: str, form: Form, expected: Collection[str], until_s: float) -> Answer | Again:
        """On a thread."""
        from planner.sources.prometheus.client_http import Connection

        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self._settings)
        try:
            return connection.ask(path, form, expected, until_s)
        finally:
            self._idle.append(connection)
            if self._closed:
                self._close_idle()

    def _close_idle(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return


def _number(value: float) -> str:
    """To the millisecond, which is Prometheus's resolution, and never with an exponent."""
    return f"{value:.3f}"
