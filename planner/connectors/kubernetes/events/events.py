"""Events on targets, told beside the loop: no decision waits for one, and none is lost over one.

`say` only writes down. `run` tells what was written, at most `PER_MINUTE` calls a minute, and goes on whatever comes
back: what the API server may take later is tried again, the rest is counted as lost. Of failures in a row the first is
logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Protocol
from uuid import uuid4

from planner.clock import Clock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.events.notes import KINDS, Note
from planner.connectors.kubernetes.events.series import (
    API_VERSION,
    Allowance,
    Book,
    Series,
    Target,
    event,
    event_name,
    recurrence,
)
from planner.connectors.kubernetes.objects.paths import Object

log = logging.getLogger("planner.events")

PER_MINUTE = 60
"""Less than what the API server and etcd notice; two hundred targets that all change are told within minutes."""
LOOK_S = 1.0
RETRY_S = 10.0
LONGEST_RETRY_S = 60.0
LONGEST_INSTANCE = 128


class EventApi(Protocol):
    """What is needed of the API server. Each raises ApiError, and may be cancelled."""

    async def create(self, path: str, body: Object) -> Any:
        """Add an object to the collection at the path."""
        ...

    async def patch(self, path: str, body: Object) -> Any:
        """Merge the body into the object at the path."""
        ...


class Events:
    """The Events of one process."""

    def __init__(self, api: EventApi, clock: Clock, instance: str) -> None:
        """`instance` names the process, as the pod's name does."""
        self._api = api
        self._clock = clock
        self._instance = instance[:LONGEST_INSTANCE]
        self._book = Book()
        self._allowance = Allowance(PER_MINUTE, clock.now_s())
        self._failing = False
        self.lost = 0
        """Notes that nobody will read: there was no room, or the API server would not have them."""

    def say(self, target: Target, notes: Iterable[Note]) -> None:
        """Write down what is to be told of a target. Never waits, and never fails."""
        for note in notes:
            if not self._book.say(target, note, _name(target), self._clock.now_s()):
                self.lost += 1

    async def run(self) -> None:
        """Tell what is written down, until cancelled."""
        while True:
            pause_s = await self._tell_all()
            await self._clock.sleep_until(self._clock.now_s() + pause_s)

    async def _tell_all(self) -> float:
        """All that is due and allowed; seconds until the next look."""
        while (series := self._book.due(self._clock.now_s())) is not None:
            if not self._allowance.take(self._clock.now_s()):
                break
            try:
                await self._tell(series)
            except ApiError as error:
                self._warn(str(error))
                if error.status is None or error.status == 429 or error.status >= 500:
                    return min(max(RETRY_S, error.retry_after_s or 0.0), LONGEST_RETRY_S)
                self._lose(series)
            # Whatever an Event can run into must not end the planner.
            except Exception as error:
                log.debug("a note cannot be told: %r", series.note, exc_info=True)
                self._warn(f"{type(error).__name__}: {error}")
                self._lose(series)
            else:
                self._failing = False
        return LOOK_S

    async def _tell(self, series: Series) -> None:
        of_namespace = f"/apis/{API_VERSION}/namespaces/{series.target.namespace}/events"
        try:
            if series.told:
                await self._api.patch(f"{of_namespace}/{series.name}", recurrence(series))
            else:
                kind = KINDS[series.note.reason]
                await self._api.create(of_namespace, event(series, kind.type, kind.action, self._instance))
        except ApiError as error:
            if series.told and error.status == 404:
                self._book.gone(series, _name(series.target))
                return
            # An answer was lost: the name is ours alone.
            if series.told or error.status != 409:
                raise
        self._book.told(series, self._clock.now_s())

    def _lose(self, series: Series) -> None:
        self._book.told(series, self._clock.now_s())
        self.lost += 1

    def _warn(self, why: str) -> None:
        if not self._failing:
            log.warning("Events cannot be told: %s", why)
        self._failing = True


def _name(target: Target) -> str:
    return event_name(target, uuid4().hex[:16])
