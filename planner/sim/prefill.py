"""A prefill replica: prompts first come, first served, one at a time, each taking TTFT(isl).

Limits: no token-budget batching, no prefix cache, and the KV transfer to decode takes no time.
"""

from __future__ import annotations

from collections import deque

from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


class PrefillEngine:
    """One server with a queue."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, on_idle: Handler) -> None:
        self._loop = loop
        self._timing = timing
        self._sink = sink
        self._on_idle = on_idle
        self._queue: deque[Flight] = deque()  # the first one is being served
        self.held_tokens = 0

    @property
    def waiting(self) -> int:
        """Prompts not begun."""
        return max(0, len(self._queue) - 1)

    @property
    def running(self) -> int:
        """Prompts being computed: none or one."""
        return min(1, len(self._queue))

    def submit(self, flight: Flight) -> None:
        """Queue a prompt."""
        self._queue.append(flight)
        self.held_tokens += flight.isl
        if len(self._queue) == 1:
            self._begin()

    def _begin(self) -> None:
        flight = self._queue[0]
        flight.prefill_start_s = self._loop.now_s
        self._loop.at(self._loop.now_s + self._timing.prefill_s(flight.isl), self._prompt_done)

    def _prompt_done(self) -> None:
        flight = self._queue.popleft()
        self.held_tokens -= flight.isl
        flight.first_token_s = self._loop.now_s
        if self._queue:
            self._begin()
        self._sink.first_token(flight)
        if not self._queue:
            self._on_idle()
