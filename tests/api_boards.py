"""Planners that only pretend: boards of real decisions, an API around them, and a client that needs no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from builders import INTERVAL_S, planner_settings, service_samples, service_settings
from fastapi import FastAPI

from planner.api import Security, create_app
from planner.api.seams import Launchers
from planner.board import Board, Line, Point, PoolPoint, ServiceBoard, Totals
from planner.connectors.orders import LauncherError, Order
from planner.connectors.types import Applied
from planner.controls import ControlError, Controls, Hold, Pause
from planner.scaling.reasons import Code
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Absent, Role, ServiceSamples
from planner.sources.types import Queries

TOKEN = "correct-horse"
TICKS = 3
POINT = Point(
    at_s=60.0, rate_per_s=10.0, ttft_s=0.065, itl_s=0.008, good_share=0.97, forecast_at_s=210.0, forecast_point=11.0,
    forecast_low=9.0, forecast_high=13.0,
    pools={Role.PREFILL: PoolPoint(2, 2, 0, 0), Role.DECODE: PoolPoint(3, 2, 1, 0)},
)  # fmt: skip


@cache
def settings(*names: str) -> PlannerSettings:
    """These services, under a budget that does not bind."""
    return planner_settings(*(service_settings(name) for name in names), budget_gpus=64 * len(names))


def lines(*names: str, ticks: int = TICKS, samples: Mapping[str, ServiceSamples] | None = None) -> list[Line]:
    """Real decisions about these services, oldest first; `samples` replaces what is seen of some."""
    return _decided(names, ticks, samples) if samples else list(_quiet(names, ticks))


@cache
def _quiet(names: tuple[str, ...], ticks: int) -> tuple[Line, ...]:
    return tuple(_decided(names, ticks, {}))


def _decided(names: tuple[str, ...], ticks: int, samples: Mapping[str, ServiceSamples]) -> list[Line]:
    known = settings(*names)
    state = initial_state(known, 0)
    made: list[Line] = []
    for n in range(ticks):
        at_s = INTERVAL_S * n
        seen = {name: service_samples(at_s, rate_per_s=10.0 + 40 * n) for name in names}
        state, result = tick(state, {**seen, **samples}, known, at_s)
        made += [Line(n, decision, Applied("applied", "set it")) for decision in result.decisions.values()]
    return made


def board(made: list[Line], **fields: Any) -> Board:
    """What a planner shows that made these decisions."""
    last = {line.decision.service: line for line in made}
    points = (replace(POINT, at_s=30.0, rate_per_s=None), POINT)
    services = {name: ServiceBoard(line, points, ()) for name, line in last.items()}
    shown = Board(
        now_s=62.0, started_s=0.0, settings=settings(*last), budget=None, ticks=TICKS, next_tick_s=90.0,
        interval_s=INTERVAL_S, services=services, controls=Controls(), trouble=(),
    )  # fmt: skip
    return replace(shown, **fields)


@dataclass
class FakePlanner:
    """Shows a board, pages through its lines, and obeys without acting."""

    made: list[Line]
    shown: Board
    clock_s: float = 63.0
    asked: list[tuple[object, ...]] = field(default_factory=list)
    readers: list[asyncio.Queue[Board | None]] = field(default_factory=list)

    def now_s(self) -> float:
        return self.clock_s

    def board(self) -> Board:
        return self.shown

    def totals(self) -> Totals:
        return Totals({Code.FORECAST: 7}, 0.25)

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        numbered = [
            (number, line)
            for number, line in reversed(list(enumerate(self.made)))
            if (before is None or number < before)
            and service in (None, line.decision.service)
            and (line.decision.changes or not changes_only)
        ]
        chosen = numbered[:limit]
        return [line for _, line in chosen], chosen[-1][0] if len(numbered) > limit else None

    async def subscribe(self) -> AsyncGenerator[Board, None]:
        reader: asyncio.Queue[Board | None] = asyncio.Queue()
        self.readers.append(reader)
        try:
            while (shown := await reader.get()) is not None:
                yield shown
        finally:
            self.readers.remove(reader)

    def publish(self, shown: Board) -> None:
        self.shown = shown
        for reader in self.readers:
            reader.put_nowait(shown)

    def end(self) -> None:
        for reader in self.readers:
            reader.put_nowait(None)

    def _order(self, service: str | None, asked: tuple[object, ...], controls: Controls) -> None:
        if service is not None and service not in self.shown.services:
            raise ControlError(f"service: {service!r} is unknown; the services are {', '.join(self.shown.services)}")
        self.asked.append(asked)
        self.shown = replace(self.shown, controls=controls)

    async def pause(self, service: str | None, by: str, why: str) -> None:
        controls, pause = self.shown.controls, Pause(by, why, self.clock_s)
        changed = (
            replace(controls, dry_run=pause)
            if service is None
            else replace(controls, paused={**controls.paused, service: pause})
        )
        self._order(service, ("pause", service, by, why), changed)

    async def resume(self, service: str | None, by: str, why: str) -> None:
        controls = self.shown.controls
        kept = {name: pause for name, pause in controls.paused.items() if name != service}
        changed = replace(controls, dry_run=None) if service is None else replace(controls, paused=kept)
        self._order(service, ("resume", service, by, why), changed)

    async def hold(self, service: str, replicas: Mapping[Role, int], until_s: float, by: str, why: str) -> None:
        hold = Hold(dict(replicas), until_s, by, why, self.clock_s)
        changed = replace(self.shown.controls, holds={**self.shown.controls.holds, service: hold})
        self._order(service, ("hold", service, dict(replicas), until_s, by, why), changed)

    async def release(self, service: str, by: str, why: str) -> None:
        self._order(service, ("release", service, by, why), replace(self.shown.controls, holds={}))


@dataclass
class FakeLaunchers:
    """One order, and what launchers said of it."""

    order: Order | None = field(default_factory=lambda: Order("7", {Role.PREFILL: 2, Role.DECODE: 4}, 60.0))
    heard: list[tuple[object, ...]] = field(default_factory=list)

    async def orders(self, service: str, after: str | None, wait_s: float) -> Order | None:
        self.heard.append(("orders", service, after, wait_s))
        return None if self.order is None or self.order.id == after else self.order

    def acknowledge(
        self, service: str, order_id: str, completed: bool, reason: str | None, ready: Mapping[Role, int] | None
    ) -> str:
        if self.order is None or order_id != self.order.id:
            raise LauncherError(f"order: {order_id!r} was not given; fetch the order in force")
        self.heard.append(("acknowledge", service, order_id, completed, reason, ready))
        return "completed" if completed else "refused"

    def report(self, service: str, ready: Mapping[Role, int]) -> None:
        self.heard.append(("report", service, dict(ready)))


def fake_planner(*names: str, **fields: Any) -> FakePlanner:
    """A planner of these services, or of `chat` and `code`."""
    made = lines(*(names or ("chat", "code")))
    return FakePlanner(made, board(made, **fields))


def blind(cause: str = "Prometheus does not answer") -> ServiceSamples:
    """Nothing is known of the load."""
    absent = Absent(cause)
    return replace(
        service_samples(), rate_per_s=absent, isl_tokens=absent, osl_tokens=absent, isl_cv2=absent, ttft_s=absent,
        queue_s=absent, itl_s=absent,
    )  # fmt: skip


def token_file(folder: Path, token: str = TOKEN) -> Path:
    """A file with the token, for the planner alone to read."""
    path = folder / "token"
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return path


@dataclass
class Api:
    """An application and what is behind it; asks without a server, in an event loop of each question's own."""

    planner: FakePlanner = field(repr=False)
    security: Security = field(default_factory=Security)
    launchers: Launchers | None = field(default=None, repr=False)
    queries: Callable[[], Queries] | None = field(default=None, repr=False)
    app: FastAPI = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.app = create_app(self.planner, self.launchers, self.security, self.queries)

    def client(self) -> httpx.AsyncClient:
        """To be used in one event loop."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **options)

        return asyncio.run(once())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: object, token: str | None = TOKEN, **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.ask("POST", path, json=body, headers=headers, **options)
