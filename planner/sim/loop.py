"""One heap, one clock, one loop.

A handler is called when its time has come and schedules what follows; the loop knows nothing of fleets.
Handlers due at the same time run in the order they were scheduled, so a run repeats exactly.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

Handler = Callable[[], None]


class Loop:
    """A virtual clock, in seconds from 0, that jumps from event to event."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Handler]] = []
        self._scheduled = 0

    def at(self, time_s: float, handler: Handler) -> None:
        """Call `handler` at `time_s`, which must not lie in the past."""
        if time_s < self.now_s:
            raise ValueError(f"time_s: {time_s!r} is before now, {self.now_s!r}; an event cannot be undone")
        self._scheduled += 1
        heapq.heappush(self._events, (time_s, self._scheduled, handler))

    def run_until(self, end_s: float) -> None:
        """Run every event due at or before `end_s`; the clock ends there."""
        events = self._events
        while events and events[0][0] <= end_s:
            self.now_s, _, handler = heapq.heappop(events)
            handler()
        self.now_s = end_s
