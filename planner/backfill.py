"""What was missed is asked for afterwards: at the start, and when a service is heard again after a gap.

Ticks go on meanwhile. From the moment a gap is known, the service's state as it was before it is kept aside; the past,
as it comes, is folded into that, then the ticks made since, and the result takes the place of the state: what a planner
would have that never stopped. What cannot be had is said, and asked for every interval until no history reaches it.

Units: seconds on the clock's scale.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.clock import Clock
from planner.scaling.recall import Moment, recall, ticks_before
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.state import PlannerState, ServiceState
from planner.scaling.types import ServiceSamples
from planner.sources.types import Historian, PastError

log = logging.getLogger("planner.backfill")


@dataclass(slots=True)
class _Gap:
    """A service while its past is asked for."""

    state: ServiceState
    """As it was before the gap, and with what has come of it."""
    since: list[Moment] = field(default_factory=list)
    """The ticks made since it was heard again."""


class Backfill:
    """Completes the states of a loop whose sources are asked `lead_s` before each tick."""

    def __init__(
        self,
        historian: Historian,
        clock: Clock,
        lead_s: float,
        compute: Callable[..., Awaitable[Any]],
        note: Callable[[str | None], None],
    ) -> None:
        """`compute` runs a function elsewhere; `note` is told what could not be had, or None when all could."""
        self._historian = historian
        self._clock = clock
        self._lead_s = lead_s
        self._compute = compute
        self._note = note
        self._gaps: dict[str, _Gap] = {}
        self._known_s: dict[str, float] = {}
        """Until when each service's past was asked for, or lived."""
        self._asking: dict[asyncio.Task[None], tuple[str, ...]] = {}

    def begin(self, state: PlannerState, settings: PlannerSettings, first_tick_s: float) -> None:
        """Ask for all that the first tick should know."""
        lacking_s = {name: ticks_before(first_tick_s, service) for name, service in settings.services.items()}
        self._known_s |= {name: first_tick_s - each.interval_s for name, each in settings.services.items()}
        for names, ticks_s in _alike(lacking_s):
            self._ask({name: state.services[name] for name in names}, ticks_s, settings)

    async def answered(self) -> None:
        """Return when nothing is asked any more."""
        while self._asking:
            await asyncio.wait(set(self._asking))

    async def mended(self, state: PlannerState, settings: PlannerSettings) -> PlannerState:
        """The state with every past that has come."""
        asked = {name for names in self._asking.values() for name in names}
        come = {name: self._gaps.pop(name) for name in list(self._gaps) if name not in asked}
        services = {
            name: await self._compute(recall, gap.state, gap.since, settings.services[name])
            for name, gap in come.items()
            if name in settings.services
        }
        return PlannerState({**state.services, **services}) if services else state

    def ticked(
        self,
        now_s: float,
        before: PlannerState,
        after: PlannerState,
        samples: Mapping[str, ServiceSamples],
        settings: PlannerSettings,
    ) -> None:
        """A tick was made; who is heard again after a gap is asked about."""
        # Who goes and comes again is asked about anew.
        self._known_s = {name: at_s for name, at_s in self._known_s.items() if name in settings.services}
        lacking_s: dict[str, Sequence[float]] = {}
        for name, service in settings.services.items():
            if name in self._gaps:
                self._gaps[name].since.append(Moment(now_s, samples[name]))
            elif _newest_s(after.services[name]) == now_s:
                last_s = max(_newest_s(before.services[name]), self._known_s.get(name, -math.inf))
                self._known_s[name] = now_s
                lacking_s[name] = ticks_before(now_s, service, last_s)
        for names, ticks_s in _alike(lacking_s):
            log.info("%d ticks of %s were missed; asking what they were", len(ticks_s), ", ".join(names))
            self._ask({name: before.services[name] for name in names}, ticks_s, settings)
            for name in names:
                self._gaps[name].since.append(Moment(now_s, samples[name]))

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _ask(self, states: Mapping[str, ServiceState], ticks_s: Sequence[float], settings: PlannerSettings) -> None:
        self._gaps |= {name: _Gap(state) for name, state in states.items()}
        work = self._fill({name: settings.services[name] for name in states}, ticks_s)
        task = asyncio.create_task(work, name="backfill")
        self._asking[task] = tuple(states)
        task.add_done_callback(self._asking.pop)

    async def _fill(self, services: Mapping[str, ServiceSettings], ticks_s: Sequence[float]) -> None:
        left_s = {name: list(ticks_s) for name in services}
        while left_s:
            try:
                for names, of_these_s in _alike(left_s):
                    async for piece in self._historian.past(names, [at_s - self._lead_s for at_s in of_these_s]):
                        await self._fold(services, piece, left_s, until_s=ticks_s[-1])
                break
            except PastError as error:
                left_s = {name: left for name, left in left_s.items() if left}
                log.warning("what %s did before is not known yet: %s", _few(left_s), error)
                self._note(f"what {_few(left_s)} did before is not known yet, and not forecast from: {error}")
            # A forecaster of the user's may fail on the past as on the present, which must end neither.
            except Exception:
                log.exception("the past of %s could not be taken in", _few(services))
                return
            one = next(iter(services.values()))
            await self._clock.sleep_until(self._clock.now_s() + one.interval_s)
            oldest_s = self._clock.now_s() - one.demand.history_s
            left_s = {name: left for name, left in left_s.items() if left[-1] >= oldest_s}
        self._note(None)

    async def _fold(
        self,
        services: Mapping[str, ServiceSettings],
        piece: Mapping[str, Sequence[ServiceSamples]],
        left_s: Mapping[str, list[float]],
        until_s: float,
    ) -> None:
        for name, samples in piece.items():
            gap, ticks_s = self._gaps[name], left_s[name][: len(samples)]
            moments = [Moment(at_s, each) for at_s, each in zip(ticks_s, samples, strict=True)]
            gap.state = await self._compute(recall, gap.state, moments, services[name], until_s)
            del left_s[name][: len(samples)]


def _alike(left_s: Mapping[str, Sequence[float]]) -> Iterator[tuple[list[str], list[float]]]:
    """Services that lack the same ticks, and those ticks."""
    lacking: dict[tuple[float, ...], list[str]] = {}
    for name, ticks_s in left_s.items():
        if ticks_s:
            lacking.setdefault(tuple(ticks_s), []).append(name)
    yield from ((names, list(ticks_s)) for ticks_s, names in lacking.items())


def _newest_s(state: ServiceState) -> float:
    return state.history[-1].at_s if state.history else -math.inf


def _few(names: Collection[str]) -> str:
    first, *rest = names
    return first if not rest else f"{first} and {len(rest)} other services"
