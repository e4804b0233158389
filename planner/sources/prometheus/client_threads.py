"""Blocking calls beside the event loop, so many at once and never more, even when some hang.

A thread that hangs cannot be ended: it keeps its place until it returns. When all do, a call is turned away at once.

They are daemon threads, not an executor's: the interpreter waits at its exit for each of an executor's threads, and so
would one hanging look-up of a name keep the process from ending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

HUNG_AFTER_S = 1.0
"""A thread that has not returned so long after its deadline is taken to hang."""


class BusyError(Exception):
    """No thread came free in time."""


class Threads:
    """At most `count` calls at once. Belongs to the event loop that first uses it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._running: dict[asyncio.Future[None], float] = {}

    async def run(self, work: Callable[[], T], until_s: float) -> T:
        """What `work` returns; it is called on a thread. `until_s` is on the event loop's clock.

        Raises BusyError when no thread came free, and TimeoutError when `work` was not done by then; it goes on alone,
        and what it returns is dropped. So it does when the caller is cancelled.
        """
        loop = asyncio.get_running_loop()
        if until_s <= loop.time():
            raise TimeoutError
        if self._all_hang(loop.time()):
            raise BusyError
        try:
            async with asyncio.timeout_at(until_s):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError from None
        done: asyncio.Future[None] = loop.create_future()
        outcome: list[T | BaseException] = []
        self._running[done] = until_s

        def call() -> None:
            try:
                outcome.append(work())
            # Whatever it is, it is the caller's to see.
            except BaseException as error:  # noqa: BLE001
                outcome.append(error)
            # The loop is closed when the caller gave up long ago.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._returned, done)

        try:
            Thread(target=call, name="prometheus", daemon=True).start()
        # The system has no thread left for us.
        except RuntimeError:
            self._returned(done)
            raise BusyError from None
        async with asyncio.timeout_at(until_s):
            await done
        (result,) = outcome
        if isinstance(result, BaseException):
            raise result
        return result

    def _returned(self, done: asyncio.Future[None]) -> None:
        del self._running[done]
        self._free.release()
        if not done.done():
            done.set_result(None)

    def _all_hang(self, now_s: float) -> bool:
        hanging = sum(until_s + HUNG_AFTER_S < now_s for until_s in self._running.values())
        return hanging == self._count
