"""A planner of made-up traffic for the page's tests: real ticks on invented samples, one more whenever it is told to.

Its fleet is the simplest there is: what was ordered at one tick is starting at the next and ready the one after. Each
service shows something else: `chat` swings and grows, `code` is aggregated and held, `search` goes blind,
`batch` finds no GPU for its replicas, `mail` is well. More services are copies of these under other names.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from builders import planner_settings, pool_samples, service_samples, service_settings

from planner.board import Board, Line, Point, PoolPoint, ServiceBoard, Totals
from planner.connectors.types import Applied
from planner.controls import ControlError, Controls, Hold, Pause, held
from planner.scaling.cap import Budget
from planner.scaling.decision import Decision
from planner.scaling.forecast import build
from planner.scaling.reading import Reading, Valid
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Absent, PoolSamples, Role, Sample, ServiceSamples
from planner.slo.targets import Targets

INTERVAL_S = 30.0
BUDGET_GPUS = 32
KEPT = 120
"""Points and decisions kept of each service."""

_BOTH = (Role.PREFILL, Role.DECODE)
_ROLES = {"chat": _BOTH, "code": (Role.AGGREGATED,), "search": _BOTH, "batch": _BOTH, "mail": _BOTH}
_TARGETS = Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=500, itl_ms=20)


def _settings() -> PlannerSettings:
    forecaster = build("moving-average", interval_s=INTERVAL_S)
    services = [
        service_settings(name=name, roles=roles, targets=_TARGETS, forecaster=forecaster)
        for name, roles in _ROLES.items()
    ]
    return planner_settings(*services, budget_gpus=BUDGET_GPUS)


@dataclass
class _Fleet:
    """One pool's replicas."""

    ordered: int = 2
    ready: int = 2
    schedulable: int = 99

    def samples(self, at_s: float, running: float) -> PoolSamples:
        pending = max(0, self.ordered - self.schedulable)
        starting = max(0, self.ordered - self.ready - pending)
        return pool_samples(
            at_s, wanted=self.ordered, ready=self.ready, starting=starting, pending=pending, running=running,
            draining=max(0, self.ready - self.ordered),
        )  # fmt: skip

    def settle(self) -> None:
        self.ready = min(self.ordered, self.schedulable)


class MadeUpPlanner:
    """What `planner.api.seams.Planner` asks for."""

    def __init__(self, copies: int = 0, ticks: int = 90) -> None:
        self._began_s = time.time() - ticks * INTERVAL_S
        self._settings = _settings()
        self._state = initial_state(self._settings, self._began_s)
        self._fleets = {
            (name, role): _Fleet(schedulable=3 if name == "batch" else 99)
            for name, roles in _ROLES.items()
            for role in roles
        }
        self._lines: dict[str, list[Line]] = {name: [] for name in _ROLES}
        self._points: dict[str, list[Point]] = {name: [] for name in _ROLES}
        self._copies = {f"copy-{index:04d}": list(_ROLES)[index % len(_ROLES)] for index in range(copies)}
        self._controls = Controls()
        self._budget: Budget | None = None
        self._ticks = 0
        self._shift_s = 0.0
        self.trouble: tuple[str, ...] = ()
        self._board = self._drawn()
        for _ in range(ticks):
            self._decide()
        hold = Hold({Role.AGGREGATED: 4}, self.now_s() + 3600, "ada", "launch", self.now_s() - 60)
        self._order(Controls(holds={"code": hold}))

    # --- what the tests do to it --------------------------------------------------------------------------------

    def advance(self) -> None:
        """One interval passes, and a decision is made."""
        self._shift_s += INTERVAL_S
        self._decide()
        self._board = self._drawn()

    # --- what the API asks of it --------------------------------------------------------------------------------

    def now_s(self) -> float:
        """The wall's time, and the intervals that were skipped."""
        return time.time() + self._shift_s

    def board(self) -> Board:
        """The newest."""
        return self._board

    def totals(self) -> Totals:
        """Nothing is counted here."""
        return Totals(reasons={}, tick_s=0.01)

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Decisions, newest first."""
        names = list(self._board.services) if service is None else [service]
        lines = [
            line
            for name in names
            for line in self._lines_of(name)
            if (before is None or line.tick < before) and (not changes_only or line.decision.changes)
        ]
        newest = sorted(lines, key=lambda line: -line.tick)
        return newest[:limit], newest[limit - 1].tick if len(newest) > limit else None

    async def subscribe(self) -> AsyncGenerator[Board, None]:
        """Each new board; it looks for one rather than being told, since tests advance it from another thread."""
        seen = self._board
        while True:
            await asyncio.sleep(0.02)
            if self._board is not seen:
                seen = self._board
                yield seen

    async def pause(self, service: str | None, by: str, why: str) -> None:
        """As ordered."""
        pause, now = Pause(by, why, self.now_s()), self._controls
        if service is None:
            self._order(replace(now, dry_run=pause))
        else:
            self._order(replace(now, paused={**now.paused, self._known(service): pause}))

    async def resume(self, service: str | None, by: str, why: str) -> None:
        """As ordered."""
        now = self._controls
        if service is None:
            self._order(replace(now, dry_run=None))
        else:
            self._order(replace(now, paused={name: pause for name, pause in now.paused.items() if name != service}))

    async def hold(self, service: str, replicas: Mapping[Role, int], until_s: float, by: str, why: str) -> None:
        """As ordered, unless it cannot be."""
        holds = {**self._controls.holds, service: Hold(replicas, until_s, by, why, self.now_s())}
        held(self._settings, holds)
        self._order(replace(self._controls, holds=holds))

    async def release(self, service: str, by: str, why: str) -> None:
        """As ordered."""
        holds = {name: hold for name, hold in self._controls.holds.items() if name != service}
        self._order(replace(self._controls, holds=holds))

    # --- how it works -------------------------------------------------------------------------------------------

    def _known(self, service: str) -> str:
        if service not in self._board.services:
            raise ControlError(f"service: {service!r} is unknown; the services are {', '.join(self._board.services)}")
        return service

    def _order(self, controls: Controls) -> None:
        self._controls = controls
        self._board = self._drawn()

    def _decide(self) -> None:
        self._ticks += 1
        at_s = self._began_s + self._ticks * INTERVAL_S
        samples = {name: self._samples(name, at_s) for name in _ROLES}
        settings = held(self._settings, self._controls.holds)
        self._state, result = tick(self._state, samples, settings, at_s)
        self._budget = result.budget
        for name, decision in result.decisions.items():
            orders = {role: many for role, many in decision.plan.items() if decision.pools[role].changes}
            words = ", ".join(f"{role} to {many}" for role, many in orders.items())
            applied = Applied("applied", f"set {words}") if orders else Applied("unchanged", "nothing to change")
            self._lines[name] = [*self._lines[name], Line(self._ticks, decision, applied)][-KEPT:]
            self._points[name] = [*self._points[name], _point(samples[name], decision, settings)][-KEPT:]
            for role, many in orders.items():
                self._fleets[name, role].ordered = many
        for fleet in self._fleets.values():
            if self._ticks % 2:
                fleet.settle()

    def _samples(self, name: str, at_s: float) -> ServiceSamples:
        number = list(_ROLES).index(name)
        swing = 1.2 + math.sin(self._ticks / 14 + number) + 0.1 * math.sin(self._ticks * 1.7)
        rate = (24, 9, 6, 30, 2)[number] * swing
        ready = min(self._fleets[name, role].ready for role in _ROLES[name])
        busy = rate / (12 * max(1, ready))
        pools = {role: self._fleets[name, role].samples(at_s, running=rate / 4) for role in _ROLES[name]}
        seen = service_samples(
            at_s, rate_per_s=rate, pools=pools, ttft_s=0.09 + 0.12 * busy**3, queue_s=0.01 * busy,
            itl_s=0.006 + 0.006 * busy,
        )  # fmt: skip
        if name != "chat":
            seen = replace(seen, good_share=Sample(max(0.0, 0.999 - 0.02 * busy**3), at_s))
        blind = name == "search" and (self._ticks > 80 or 30 < self._ticks < 38)
        return replace(seen, rate_per_s=Absent("the query returned no series")) if blind else seen

    def _lines_of(self, name: str) -> list[Line]:
        lines = self._lines[self._copies.get(name, name)]
        if name not in self._copies:
            return lines
        return [replace(line, decision=replace(line.decision, service=name)) for line in lines]

    def _drawn(self) -> Board:
        originals = {
            name: ServiceBoard(lines[-1] if lines else None, tuple(self._points[name]), ())
            for name, lines in self._lines.items()
        }
        troubled = replace(originals["batch"], trouble=("prefill: some replicas find no GPU in the pool h200",))
        services = {**originals, "batch": troubled}
        settings = dict(self._settings.services)
        for copy, name in self._copies.items():
            last = services[name].last
            renamed = None if last is None else replace(last, decision=replace(last.decision, service=copy))
            services[copy] = replace(services[name], last=renamed)
            settings[copy] = replace(settings[name], name=copy)
        return Board(
            now_s=self.now_s(),
            started_s=self._began_s,
            settings=replace(self._settings, services=settings),
            budget=self._budget,
            ticks=self._ticks,
            next_tick_s=self._began_s + (self._ticks + 1) * INTERVAL_S,
            interval_s=INTERVAL_S,
            services=services,
            controls=self._controls,
            trouble=self.trouble,
        )


def _value(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None


def _pool_point(decision: Decision, role: Role) -> PoolPoint:
    chosen, seen = decision.pools[role], decision.observation.pools[role].replicas
    wanted = chosen.current if chosen.replicas is None else chosen.replicas
    if not isinstance(seen, Valid):
        return PoolPoint(wanted, None, None, None)
    return PoolPoint(wanted, seen.value.ready, seen.value.starting, seen.value.pending)


def _point(samples: ServiceSamples, decision: Decision, settings: PlannerSettings) -> Point:
    seen, forecast, share = decision.observation, decision.forecast, samples.good_share
    quantile = settings.services[decision.service].demand.quantile
    return Point(
        at_s=decision.at_s,
        rate_per_s=_value(seen.rate_per_s),
        ttft_s=_value(seen.ttft_s),
        itl_s=_value(seen.itl_s),
        good_share=None if isinstance(share, Absent) else share.value,
        forecast_at_s=None if forecast is None else forecast.at_s + forecast.horizon_s,
        forecast_point=None if forecast is None else forecast.point,
        forecast_low=None if forecast is None else forecast.quantile(0.1),
        forecast_high=None if forecast is None else forecast.quantile(quantile),
        pools={role: _pool_point(decision, role) for role in seen.pools},
    )
