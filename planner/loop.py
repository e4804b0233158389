"""The control loop of a running planner: collect, tick, apply, record.

Once an interval every service is decided, all together, since they share a budget. A little before, each service's
source and connector are asked, all side by side; the tick takes what has come by then and waits for nobody. Whoever is
late is used at the next tick; meanwhile what was known grows old, and the core holds on old data. Plans are handed over
side by side, too, each with its own time limit. So one service's outage, slowness or error is its own, and ends by
itself: nothing is remembered of it but a sentence on the board.

The decision is a pure function that runs in a thread, so the API answers meanwhile. A tick that fails leaves the state
as it was and changes nothing.

Units: seconds on the clock's scale.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from planner.backfill import Backfill
from planner.clock import Clock
from planner.connectors.types import Connector
from planner.controls import Controls, held
from planner.desk import Desk
from planner.errors import UserError
from planner.hand_over import HandOver, Tell, say_nothing
from planner.journal import JournalFiles, Trouble
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import PlannerState, ServiceState, initial_state
from planner.scaling.tick import tick
from planner.scribe import Scribe
from planner.sources.types import Historian, Source
from planner.watch import BREATH, Watch

log = logging.getLogger("planner.loop")

Compute = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments, by default in a thread."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When things are done, seconds."""

    lead_s: float = 5.0
    """Before a tick, sources and connectors are asked; at most half an interval."""
    collect_timeout_s: float = 20.0
    apply_timeout_s: float = 20.0
    recall_timeout_s: float = 60.0
    """The first tick waits so long for what was before."""


class _Adopted(NamedTuple):
    """Settings to decide by from the next tick on, and their documents."""

    settings: PlannerSettings
    config: Mapping[str, Any]
    profiles: Mapping[str, Any]
    commit: Callable[[], None]


class ControlLoop:
    """One planner. Raises UserError when its services do not tick together, or cannot be held as `controls` say."""

    def __init__(
        self,
        settings: PlannerSettings,
        source: Source,
        connector: Connector,
        clock: Clock,
        *,
        journal: JournalFiles | None = None,
        controls: Controls | None = None,
        historian: Historian | None = None,
        tell: Tell = say_nothing,
        pace: Pace | None = None,
        compute: Compute = asyncio.to_thread,
        idle_interval_s: float = 30.0,
    ) -> None:
        """With a `historian`, what was before the start, and while nothing was heard, is asked for and remembered.

        Without services it looks every `idle_interval_s` whether there are some.
        """
        self._settings = settings
        self._interval_s = _common_interval_s(settings) or idle_interval_s
        self._source = source
        self._connector = connector
        self._clock = clock
        self._pace = pace or Pace()
        self._compute = compute
        self._state = initial_state(settings, clock.now_s())
        self._stopping = asyncio.Event()
        self._adopted: _Adopted | None = None
        self._between_ticks = False
        self.watch = Watch(source, connector, clock, self._pace.collect_timeout_s)
        orders = (controls or Controls()).at(clock.now_s())
        self._absent, in_force = _of_others(orders, settings), orders.only(settings.services)
        held(settings, in_force.holds)
        self.desk = Desk(settings, in_force, clock.now_s(), self._interval_s)
        self.scribe = Scribe(journal, self.desk)
        self._hand_over = HandOver(
            connector, clock, self.desk, self.scribe, self.watch.trouble, tell, self._pace.apply_timeout_s
        )
        self._backfill = None
        if historian is not None:
            self._backfill = Backfill(historian, clock, self._lead_s, compute, self._note_past)

    # --- the cycle ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until `stop`; then let go of what is under way."""
        lead_s = self._lead_s
        due_s = self._clock.now_s() + lead_s
        try:
            if self._backfill is not None:
                due_s = await self._remember(self._backfill, due_s)
            while not self._stopping.is_set():
                self.desk.next_tick_s = due_s
                self._take_up()
                self._between_ticks = True
                await self._sleep_until(due_s - lead_s)
                self._between_ticks = False
                if self._stopping.is_set():
                    return
                await self.watch.ask(self._settings.services)
                await self._sleep_until(due_s)
                if self._stopping.is_set():
                    return
                self.desk.next_tick_s = due_s + self._interval_s
                await self.tick(due_s)
                # Ticks that were missed, as by a suspended machine, are not made up for.
                missed = max(0, math.floor((self._clock.now_s() - due_s) / self._interval_s))
                due_s += (1 + missed) * self._interval_s
        finally:
            await self._let_go()

    def stop(self) -> None:
        """End after the tick under way, if there is one."""
        self._stopping.set()

    async def tick(self, now_s: float) -> None:
        """Decide now, on what is known."""
        if not self._settings.services:
            return self.desk.publish(self._clock.now_s())
        controls = self.desk.controls.at(now_s)
        self.desk.controls = controls
        samples, number = self.watch.samples(self._settings.services), self.desk.ticks
        try:
            if self._backfill is not None:
                self._state = await self._backfill.mended(self._state, self._settings)
            before = self._state
            settings = held(self._settings, controls.holds)
            begun_s = time.perf_counter()
            self._state, result = await self._compute(tick, before, samples, settings, now_s)
        # A bug in the tick, or in a forecaster of the user's, must not end the loop: the next tick tries again.
        except Exception as error:
            log.exception("the tick failed; nothing is changed")
            self.trouble("tick", f"the tick at {now_s:.0f} s failed: {type(error).__name__}: {error}")
            return
        spent_s = time.perf_counter() - begun_s
        self.desk.clear("tick")
        if self._backfill is not None:
            self._backfill.ticked(now_s, before, self._state, samples, self._settings)
        await self._compute(self.scribe.tick, number, before, samples, result, self._state, controls.holds)
        self.desk.decided(result, samples, self.watch.trouble, spent_s)
        for index, decision in enumerate(result.decisions.values()):
            if index % BREATH == 0:
                await asyncio.sleep(0)
            self._hand_over.decided(number, decision, controls)
        self.desk.publish(self._clock.now_s())

    def trouble(self, kind: str, text: str) -> None:
        """Note what is wrong with the planner itself; a later note of the same kind replaces it."""
        self.scribe.event(Trouble(self._clock.now_s(), text))
        self.desk.note(kind, text)
        self.desk.publish(self._clock.now_s())

    def well(self, kind: str) -> None:
        """What was noted under this kind is over."""
        self.desk.clear(kind)
        self.desk.publish(self._clock.now_s())

    def check(self, settings: PlannerSettings) -> None:
        """Raises UserError when they cannot be decided by."""
        _common_interval_s(settings)
        held(settings, self.orders(self.desk.controls).only(settings.services).holds)

    def adopt(
        self,
        settings: PlannerSettings,
        config: Mapping[str, Any],
        profiles: Mapping[str, Any],
        commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Decide by other settings from the next tick on; services that stay keep their memory.

        `config` and `profiles` are the settings' documents, for the journal; `commit`, which cannot fail, is called
        when they come into force: no tick sees the one without the other.
        Raises UserError, and changes nothing, when they cannot be decided by.
        """
        self.check(settings)
        self._adopted = _Adopted(settings, config, profiles, commit)
        if self._between_ticks:
            self._take_up()

    def orders(self, controls: Controls) -> Controls:
        """`controls`, with what people ordered of services that are not there now: those may come again."""
        return replace(
            controls,
            paused={**self._absent.paused, **controls.paused},
            holds={**self._absent.at(self._clock.now_s()).holds, **controls.holds},
        )

    async def _remember(self, backfill: Backfill, soonest_s: float) -> float:
        """Wait for what was before the start, with patience; when the first tick is due.

        Ticks stand on a grid that outlives the process: who starts again sees the windows it would have seen.
        """
        interval_s = self._interval_s
        backfill.begin(self._state, self._settings, math.ceil(soonest_s / interval_s) * interval_s)
        self.desk.next_tick_s = self._clock.now_s() + self._pace.recall_timeout_s
        await self._unless_stopped(backfill.answered(), self._clock.sleep_until(self.desk.next_tick_s))
        soonest_s = max(soonest_s, self._clock.now_s() + self._lead_s)
        return math.ceil(soonest_s / interval_s) * interval_s

    @property
    def _lead_s(self) -> float:
        return min(self._pace.lead_s, self._interval_s / 2)

    def _note_past(self, text: str | None) -> None:
        if text is None:
            self.well("past")
        else:
            self.trouble("past", text)

    def _take_up(self) -> None:
        """Between two ticks: one under way would put the old services' memory back."""
        if self._adopted is None:
            return
        settings, config, profiles, commit = self._adopted
        self._adopted = None
        commit()
        now_s, known = self._clock.now_s(), self._state.services
        self._settings, self._interval_s = settings, _common_interval_s(settings) or self._interval_s
        self._state = PlannerState(
            {name: known.get(name) or ServiceState(started_s=now_s) for name in settings.services}
        )
        self.watch.forget(settings.services)
        orders = self.orders(self.desk.controls)
        self._absent, self.desk.controls = _of_others(orders, settings), orders.only(settings.services)
        self.desk.adopt(settings, self._interval_s)
        self.scribe.begin(config, profiles, self._state)
        self.desk.publish(now_s)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _sleep_until(self, at_s: float) -> None:
        """Return at `at_s`, or as soon as the loop is to stop."""
        await self._unless_stopped(self._clock.sleep_until(at_s))

    async def _unless_stopped(self, *works: Awaitable[None]) -> None:
        """Return when the first of them is done, or as soon as the loop is to stop; the others are cancelled."""
        tasks = [asyncio.ensure_future(work) for work in (*works, self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _let_go(self) -> None:
        tasks = [*self._hand_over.under_way(), *self.watch.under_way()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._backfill is not None:
            await self._backfill.close()
        await self._connector.close()
        await self._source.close()
        self.scribe.close()
        self.desk.close()


def _of_others(controls: Controls, settings: PlannerSettings) -> Controls:
    """What was ordered of services that are not there."""
    return controls.only({*controls.paused, *controls.holds} - settings.services.keys())


def _common_interval_s(settings: PlannerSettings) -> float | None:
    """None without services."""
    intervals_s = sorted({service.interval_s for service in settings.services.values()})
    if len(intervals_s) > 1:
        raise UserError(
            f"interval_s: {' and '.join(f'{interval_s:g}' for interval_s in intervals_s)} differ; services that share "
            "a budget are decided together, so give all the same"
        )
    return next(iter(intervals_s), None)
