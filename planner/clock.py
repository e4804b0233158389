"""Time as the loop knows it: seconds since the epoch, and a way to wait.

The wall's, one that runs faster or slower, and one that stands still until told to go on, for tests.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now_s(self) -> float:
        """Seconds since the epoch; never runs backwards."""
        ...

    async def sleep_until(self, at_s: float) -> None:
        """Return at `at_s`, or at once when that is past."""
        ...


class WallClock:
    """The system's time at the start, and monotonic time since, so that a correction of the clock moves no tick.

    `speed` is how many of its seconds pass in one: above 1 to watch hours in minutes.
    """

    def __init__(self, speed: float = 1.0, start_s: float | None = None) -> None:
        self._speed = speed
        self._start_s = time.time() if start_s is None else start_s
        self._begun_s = time.monotonic()

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._start_s + (time.monotonic() - self._begun_s) * self._speed

    async def sleep_until(self, at_s: float) -> None:
        """Return at `at_s`."""
        while (left_s := at_s - self.now_s()) > 0:
            await asyncio.sleep(left_s / self._speed)


class VirtualClock:
    """Jumps to whatever is waited for, in order, once everything else that could run has run.

    A day passes in seconds. Waiters due at the same time go on in the order they came.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def now_s(self) -> float:
        """Where it stands."""
        return self._now_s

    async def sleep_until(self, at_s: float) -> None:
        """Return when the clock has been moved to `at_s`, by `advance`."""
        if at_s <= self._now_s:
            await asyncio.sleep(0)
            return
        self._count += 1
        event = asyncio.Event()
        self._waiting.append((at_s, self._count, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass; whoever wakes meanwhile runs until nobody can, before time goes on."""
        end_s = self._now_s + seconds
        await self._settle()
        while self._waiting and min(self._waiting)[0] <= end_s:
            due = min(self._waiting)
            self._waiting.remove(due)
            self._now_s = max(self._now_s, due[0])
            due[2].set()
            await self._settle()
        self._now_s = end_s

    async def _settle(self) -> None:
        # Each pass lets every task that can run take a step; threads may hand results in between.
        for _ in range(50):
            await asyncio.sleep(0)
