"""What the loop keeps to be seen: the latest decisions and points, people's orders, and who is told of news.

Bounded: `POINTS` points over all services, at most `POINTS_EACH` for one, and the ring's decisions.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace

from planner.board import Board, Line, Point, PoolPoint, ServiceBoard, Totals
from planner.connectors.types import Applied
from planner.controls import Controls
from planner.journal.ring import Ring
from planner.scaling.cap import Budget
from planner.scaling.decision import Decision, TickResult
from planner.scaling.reading import Reading, Valid
from planner.scaling.reasons import Code
from planner.scaling.settings import PlannerSettings
from planner.scaling.types import Absent, Replicas, Role, ServiceSamples

POINTS = 100_000
POINTS_EACH = 720
BAND_LOW = 0.1


class Desk:
    """The loop's own view of itself."""

    def __init__(self, settings: PlannerSettings, controls: Controls, started_s: float, interval_s: float) -> None:
        self.settings = settings
        self._started_s = started_s
        self._interval_s = interval_s
        self._budget: Budget | None = None
        self._services = dict.fromkeys(settings.services, ServiceBoard(None, (), ()))
        self._points: dict[str, deque[Point]] = {}
        self._trouble: dict[str, str] = {}
        self._readers: set[asyncio.Queue[Board | None]] = set()
        self._ring = Ring()
        self._reasons: Counter[Code] = Counter()
        self._tick_s: float | None = None
        self._closed = False
        self.controls = controls
        self.ticks = 0
        self.next_tick_s = started_s
        self.board = self._drawn(started_s)

    def adopt(self, settings: PlannerSettings, interval_s: float) -> None:
        """Show other services from now on."""
        self.settings, self._interval_s = settings, interval_s
        self._services = {name: self._services.get(name, ServiceBoard(None, (), ())) for name in settings.services}
        if not settings.services:
            self._budget = None
        for gone in set(self._points) - set(settings.services):
            del self._points[gone]

    def decided(
        self,
        result: TickResult,
        samples: Mapping[str, ServiceSamples],
        trouble: Callable[[str], tuple[str, ...]],
        spent_s: float,
    ) -> None:
        """Take in a tick that took `spent_s` to compute."""
        self._budget, self._tick_s = result.budget, spent_s
        most = max(1, min(POINTS_EACH, POINTS // len(result.decisions)))
        for name, decision in result.decisions.items():
            line = Line(self.ticks, decision, None)
            self._ring.append(line)
            points = self._points.setdefault(name, deque(maxlen=most))
            if points.maxlen != most:
                points = self._points[name] = deque(points, maxlen=most)
            quantile = self.settings.services[name].demand.quantile
            points.append(_point(decision, samples[name], quantile))
            self._reasons.update(reason.code for reason in decision.reasons)
            self._services[name] = ServiceBoard(line, tuple(points), trouble(name))
        self.ticks += 1

    def settle(self, tick: int, service: str, applied: Applied) -> None:
        """What became of a decision."""
        self._ring.settle(tick, service, applied)
        shown = self._services.get(service)
        if shown is not None and shown.last is not None and shown.last.tick == tick:
            self._services[service] = replace(shown, last=replace(shown.last, applied=applied))

    def note(self, kind: str, text: str) -> None:
        """What is wrong; a later note of the same kind replaces it."""
        self._trouble[kind] = text

    def clear(self, kind: str) -> None:
        """That is over."""
        self._trouble.pop(kind, None)

    def publish(self, now_s: float) -> None:
        """Draw the board anew and hand it to everybody who reads."""
        self.board = self._drawn(now_s)
        for reader in self._readers:
            _newest(reader, self.board)

    async def subscribe(self) -> AsyncGenerator[Board, None]:
        """Each new board, or the newest of those missed; ends when the loop ends."""
        if self._closed:
            return
        reader: asyncio.Queue[Board | None] = asyncio.Queue(maxsize=1)
        self._readers.add(reader)
        try:
            while (board := await reader.get()) is not None:
                yield board
        finally:
            self._readers.discard(reader)

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Decisions in memory, newest first, and where the next page begins."""
        return self._ring.page(service, before, limit, changes_only)

    def totals(self) -> Totals:
        """What has been counted since the start."""
        return Totals(dict(self._reasons), self._tick_s)

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        for reader in self._readers:
            _newest(reader, None)

    def _drawn(self, now_s: float) -> Board:
        return Board(
            now_s=now_s,
            started_s=self._started_s,
            settings=self.settings,
            budget=self._budget,
            ticks=self.ticks,
            next_tick_s=self.next_tick_s,
            interval_s=self._interval_s,
            services=dict(self._services),
            controls=self.controls,
            trouble=tuple(self._trouble.values()),
        )


def _newest(reader: asyncio.Queue[Board | None], board: Board | None) -> None:
    """A slow reader misses boards and never holds any up."""
    if reader.full():
        reader.get_nowait()
    reader.put_nowait(board)


def _point(decision: Decision, samples: ServiceSamples, quantile: float) -> Point:
    seen, forecast = decision.observation, decision.forecast
    good = samples.good_share
    return Point(
        at_s=decision.at_s,
        rate_per_s=_valid(seen.rate_per_s),
        ttft_s=_valid(seen.ttft_s),
        itl_s=_valid(seen.itl_s),
        good_share=None if isinstance(good, Absent) else good.value,
        forecast_at_s=None if forecast is None else forecast.at_s + forecast.horizon_s,
        forecast_point=None if forecast is None else forecast.point,
        forecast_low=None if forecast is None else forecast.quantile(BAND_LOW),
        forecast_high=None if forecast is None else forecast.quantile(quantile),
        pools={role: _pool_point(decision, role) for role in decision.pools},
    )


def _pool_point(decision: Decision, role: Role) -> PoolPoint:
    ordered, reading = decision.pools[role].replicas, decision.observation.pools[role].replicas
    if not isinstance(reading, Valid):
        return PoolPoint(ordered, None, None, None)
    counts: Replicas = reading.value
    return PoolPoint(
        wanted=counts.wanted if ordered is None else ordered,
        ready=counts.ready,
        starting=counts.starting,
        pending=counts.pending,
    )


def _valid(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None
