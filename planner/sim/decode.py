"""A decode replica: a batch that takes in, first come, first served, what fits at each step boundary.

A request may come with its first token, written where its prompt was computed, or without: then its first step here
writes it, and the wait for a place counts towards TTFT.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from planner.sim.batch import Batch
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


class DecodeEngine:
    """Computed prompts go in, finished requests come out."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, on_idle: Handler) -> None:
        self._loop = loop
        self._sink = sink
        self._on_idle = on_idle
        self._batch = Batch(timing)
        self._waiting: deque[Flight] = deque()
        self._run_ends_s: float | None = None
        self.held_tokens = 0

    @property
    def waiting(self) -> int:
        """Requests not admitted to the batch."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._batch)

    def submit(self, flight: Flight) -> None:
        """Queue a request for the next step boundary."""
        self._waiting.append(flight)
        self.held_tokens += flight.total_tokens
        if self._run_ends_s is None:
            self._next_run()
        elif len(self._waiting) == 1 and self._batch.fits(flight):
            self._schedule(self._batch.cut_run(self._loop.now_s))

    def _next_run(self) -> None:
        now_s = self._loop.now_s
        speechless: list[Flight] = []
        while self._waiting and self._batch.fits(self._waiting[0]):
            flight = self._waiting.popleft()
            if flight.first_token_s is None:
                speechless.append(flight)
            else:
                # The wait for a place is part of the gap before the second token.
                self._sink.tokens(0, now_s - flight.first_token_s)
            self._batch.add(flight)
        if self._batch:
            ends_s = self._batch.start_run(now_s)
            for flight in speechless:
                self._loop.at(now_s + self._batch.step_s, partial(self._first_token, flight))
            # What the first step writes for newcomers has no gap before it.
            self._sink.tokens(-len(speechless), -len(speechless) * self._batch.step_s)
            self._schedule(ends_s)
        else:
            self._run_ends_s = None
            self._on_idle()

    def _first_token(self, flight: Flight) -> None:
        flight.first_token_s = self._loop.now_s
        self._sink.first_token(flight)

    def _schedule(self, ends_s: float) -> None:
        self._run_ends_s = ends_s
        self._loop.at(ends_s, self._run_ended)

    def _run_ended(self) -> None:
        if self._loop.now_s != self._run_ends_s:
            return  # the run was cut after this event was scheduled
        gone, tokens, seconds = self._batch.end_run()
        self._sink.tokens(tokens, seconds)
        for flight in gone:
            self.held_tokens -= flight.total_tokens
            flight.finish_s = self._loop.now_s
            self._sink.finished(flight)
        self._next_run()
