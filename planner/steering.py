"""People's orders to a running planner, checked, kept, recorded and shown."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace

from planner.board import Board, Line, Totals
from planner.clock import Clock
from planner.controls import ControlError, Controls, Hold, Pause, held
from planner.desk import Desk
from planner.journal import Control
from planner.scaling.types import Role
from planner.scribe import Scribe

log = logging.getLogger("planner.steering")


class Steering:
    """What people see of a loop, and what they order of it."""

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        scribe: Scribe,
        keep: Callable[[Controls], None] = lambda _: None,
        go_on: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`keep` stores the orders in force, so that a restart obeys them; it may raise ControlError.

        `go_on` tells a connector that holds a service back by itself to go on; whether it did hold it.
        """
        self._desk = desk
        self._clock = clock
        self._scribe = scribe
        self._keep = keep
        self._go_on = go_on

    def now_s(self) -> float:
        """Seconds since the epoch, on the planner's clock."""
        return self._clock.now_s()

    def totals(self) -> Totals:
        """What has been counted since the start."""
        return self._desk.totals()

    def board(self) -> Board:
        """What there is to see."""
        return self._desk.board

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Decisions in memory, newest first, and where the next page begins."""
        return self._desk.page(service, before, limit, changes_only)

    def subscribe(self) -> AsyncGenerator[Board, None]:
        """Each new board."""
        return self._desk.subscribe()

    async def pause(self, service: str | None, by: str, why: str) -> None:
        """Make plans and apply none; of all services when None. Raises ControlError for an unknown service."""
        controls, pause = self._controls(), Pause(by, why, self._clock.now_s())
        if service is None:
            self._order(replace(controls, dry_run=pause), by, why, {"order": "dry-run"})
            return
        self._known(service)
        paused = {**controls.paused, service: pause}
        self._order(replace(controls, paused=paused), by, why, {"order": "pause", "service": service})

    async def resume(self, service: str | None, by: str, why: str) -> None:
        """Apply plans again. Raises ControlError where nothing is paused."""
        controls = self._controls()
        if service is None:
            if controls.dry_run is None:
                raise ControlError("dry-run: is not in force; there is nothing to resume")
            self._order(replace(controls, dry_run=None), by, why, {"order": "apply"})
            return
        self._known(service)
        if not self._go_on(service) and service not in controls.paused:
            raise ControlError(f"service: {service!r} is not paused; there is nothing to resume")
        paused = {name: pause for name, pause in controls.paused.items() if name != service}
        self._order(replace(controls, paused=paused), by, why, {"order": "resume", "service": service})

    async def hold(self, service: str, replicas: Mapping[Role, int], until_s: float, by: str, why: str) -> None:
        """Keep pools at these replicas until a time. Raises ControlError for what cannot be."""
        controls, now_s = self._controls(), self._clock.now_s()
        if not until_s > now_s:
            raise ControlError(f"until_s: {until_s!r} is past; it is {now_s:.0f} now")
        if not replicas:
            raise ControlError("replicas: names no pool; give one and its replicas")
        holds = {**controls.holds, service: Hold(dict(replicas), until_s, by, why, now_s)}
        held(self._desk.settings, holds)
        what = {"order": "hold", "service": service, "replicas": dict(replicas), "until_s": until_s}
        self._order(replace(controls, holds=holds), by, why, what)

    async def release(self, service: str, by: str, why: str) -> None:
        """End a hold. Raises ControlError where there is none."""
        controls = self._controls()
        if service not in controls.holds:
            raise ControlError(f"service: {service!r} is not held; there is nothing to release")
        holds = {name: hold for name, hold in controls.holds.items() if name != service}
        self._order(replace(controls, holds=holds), by, why, {"order": "release", "service": service})

    def _controls(self) -> Controls:
        return self._desk.controls.at(self._clock.now_s())

    def _known(self, service: str) -> None:
        services = self._desk.settings.services
        if service not in services:
            raise ControlError(f"service: {service!r} is unknown; the services are {', '.join(services)}")

    def _order(self, controls: Controls, by: str, why: str, what: Mapping[str, object]) -> None:
        self._keep(controls)
        now_s = self._clock.now_s()
        order = " ".join(str(part) for part in (what["order"], what.get("service")) if part is not None)
        self._scribe.event(Control(now_s, by, why, order, what))
        log.warning("%s, by %s: %s", order, by, why)
        self._desk.controls = controls
        self._desk.publish(now_s)
