"""The objects of one path, kept as they are now: listed once, then watched (kubernetes.io/docs, "Efficient detection
of changes").

- A watch that ends goes on from where it was. What the API server no longer remembers (410 Gone) is listed anew; so is
  all after an event of an error.
- Between two connections stands a wait of 0.5 to 30 s, by chance, that grows while they fail. It is tried for ever.
- A connection that died without a word is noticed: bookmarks, which come about each minute, are asked for, and after
  150 s without any word it is made anew. The API server ends each watch after 4 to 6 minutes, so that none stays at one
  of its replicas.
- Objects are whole, with their managedFields, of which foreign writers are known. Measured: 50 KiB in memory for
  a pod that is 6.5 KiB of JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, NoReturn, Protocol

from planner.clock import Clock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.api.listing import Listing, selectors
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.watches.state import EventError, Key, Seen, apply_event, listed, put

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
_ENOUGH_TRIES = 6
"""By then the wait is the longest; a power that grows for days would end as no number."""
SILENCE_S = 150.0
"""Two bookmarks and a half. Where there are none, it costs a new connection, and no list."""
SHORTEST_WATCH_S, LONGEST_WATCH_S = 240, 360
"""For how long the API server is asked to keep a watch, by chance, so that watches do not end together."""


class Lists(Protocol):
    """What is needed of `api.Api`."""

    async def items(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        """All objects of a collection."""
        ...

    def stream(
        self, path: str, params: Mapping[str, str | int], *, silence_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """The events of a watch."""
        ...


class Watched:
    """The objects of one path. Does nothing until it is run; belongs to one event loop."""

    def __init__(
        self,
        api: Lists,
        path: str,
        *,
        clock: Clock,
        chance: Random,
        label_selector: str = "",
        field_selector: str = "",
        max_silence_s: float = 60.0,
    ) -> None:
        self._api = api
        self._path = path
        self._clock = clock
        self._chance = chance
        self._labels, self._fields = label_selector, field_selector
        self._max_silence_s = max_silence_s
        self._seen = Seen({}, "")
        self._listed = False
        self._resumes = False
        self._alive = False
        self._last_alive_s = 0.0
        self._tries = 0
        self._failure: str | None = None
        self._revision = 0
        self._news = asyncio.Event()

    @property
    def objects(self) -> Mapping[Key, Object]:
        """By namespace and name; empty before the first list, so look at `synced`. Never changes: ask again."""
        return self._seen.objects

    @property
    def synced(self) -> bool:
        """Whether the objects are those of now: all were listed, and the watch lives or broke only just."""
        silent_s = 0.0 if self._alive else self._clock.now_s() - self._last_alive_s
        return self._listed and silent_s <= self._max_silence_s

    @property
    def failure(self) -> str | None:
        """Why there is no watch now, for people; None while there is one, or before it is known."""
        return self._failure

    @property
    def revision(self) -> int:
        """Counts changes of the objects and of the failure; that time passes is none."""
        return self._revision

    async def wait_changed(self, revision: int) -> int:
        """The next revision after `revision`: at once when that is past, so that no change is missed."""
        while self._revision == revision:
            await self._news.wait()
        return self._revision

    def put(self, written: Object) -> None:
        """Take in the answer to our own write before the watch tells of it.

        The whole object: a Scale is none, so write its count and resourceVersion into a copy of the object.
        """
        if self._listed:
            self._show(put(self._seen, written))

    async def run(self) -> NoReturn:
        """List and watch until cancelled. Raises nothing for what the API server does."""
        while True:
            self._tries += 1
            begun_s = self._clock.now_s()
            asked_s = 0.0
            try:
                await self._follow()
            except ApiError as error:
                asked_s = error.retry_after_s or 0.0
                self._resumes = self._resumes and error.status != 410 and not isinstance(error, EventError)
                self._tell(f"{self._path}: {error}" if isinstance(error, EventError) else str(error))
            if self._clock.now_s() - begun_s >= LONGEST_WAIT_S:
                self._tries = 1
            longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._tries, _ENOUGH_TRIES))
            wait_s = max(self._chance.uniform(FIRST_WAIT_S, longest_s), min(asked_s, LONGEST_WAIT_S))
            await self._clock.sleep_until(self._clock.now_s() + wait_s)

    async def _follow(self) -> None:
        """List where needed, and watch until the connection ends. Raises ApiError."""
        if not self._resumes:
            listing = await self._api.items(self._path, label_selector=self._labels, field_selector=self._fields)
            self._show(listed(self._seen, listing))
            self._listed = self._resumes = True
            self._last_alive_s = self._clock.now_s()
        async with self._api.stream(self._path, self._params(), silence_s=SILENCE_S) as events:
            self._alive = True
            self._tell(None)
            try:
                async for event in events:
                    self._show(apply_event(self._seen, event))
            finally:
                self._alive = False
                self._last_alive_s = self._clock.now_s()

    def _params(self) -> dict[str, str | int]:
        return {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._seen.resource_version,
            "timeoutSeconds": self._chance.randint(SHORTEST_WATCH_S, LONGEST_WATCH_S),
            **selectors(self._labels, self._fields),
        }

    def _show(self, seen: Seen) -> None:
        changed = seen.objects is not self._seen.objects
        self._seen = seen
        if changed:
            self._announce()

    def _tell(self, failure: str | None) -> None:
        if failure != self._failure:
            self._failure = failure
            self._announce()

    def _announce(self) -> None:
        self._revision += 1
        self._news.set()
        self._news = asyncio.Event()
