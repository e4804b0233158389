"""A replica with continuous batching: decode, aggregated, and whatever comes between.

Requests wait in a queue, first come, first served. At a step boundary those whose prompt was computed elsewhere join
the batch, and those whose prompt was not take turns with the batch: a step then computes prompt tokens, up to the
discipline's budget less a token for each running request, or one whole prompt, and writes a token for every running
request as well; it takes TTFT(prompt tokens) + ITL. A prompt's first token comes with the step that ends it. So, with a
share d of the time spent on prompts, the mean gap between tokens is the step time / (1 - d), as sizing has it.

When the KV cache is full, the newest request is preempted: it goes back to the head of the queue and is computed anew,
with what was written of its answer, as vLLM recomputes.

Limits: a chunk does not pay for the context before it; a preempted prompt finds nothing in the prefix cache.
"""

from __future__ import annotations

from functools import partial

from planner.sim.batch import Batch
from planner.sim.engine import Discipline, Engine
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


class BatchingEngine(Engine):
    """Requests go in, finished requests come out."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, discipline: Discipline, on_idle: Handler) -> None:
        super().__init__(loop, timing, sink, discipline, on_idle)
        self._batch = Batch(timing)
        self._cut: Flight | None = None  # begun, and not ended by the step under way
        self._prompts: list[Flight] = []  # prompts that end with the step under way
        self._run_ends_s: float | None = None

    @property
    def running(self) -> int:
        """Requests in the batch, and prompts being computed."""
        return self._batch.size + len(self._prompts) + (self._cut is not None)

    def nudge(self) -> None:
        """Begin, or end the run of steps under way early, where the first in the queue could join."""
        if self._run_ends_s is None:
            self._next()
        elif len(self.queue) == 1 and self._batch.fits(self.queue[0], self.running):
            ends_s = self._batch.cut_run(self._loop.now_s)
            if ends_s != self._run_ends_s:
                self._schedule(ends_s)

    def _inside(self) -> list[Flight]:
        return [*self._batch, *self._prompts, *([self._cut] if self._cut else [])]

    def _weight(self, flight: Flight) -> int:
        return flight.total_tokens

    def _next(self) -> None:
        now_s, batch = self._loop.now_s, self._batch
        while batch.overflows():
            flight = batch.evict_newest()
            flight.last_token_s = now_s
            self._put_back(flight)
            self._sink.preempted(flight)
        tokens, speechless = self._admit(now_s) if self.queue or self._cut else (0, [])
        if tokens:
            ends_s = batch.start_run(now_s, self._timing.prefill_s(tokens))
        elif batch.size:
            ends_s = batch.start_run(now_s)
        else:
            self._run_ends_s = None
            self._on_idle()
            return
        for flight in speechless:
            self._loop.at(now_s + batch.step_s, partial(self._first_token, flight))
        if speechless:
            # What the first step writes for newcomers has no gap before it.
            self._sink.tokens(-len(speechless), -len(speechless) * batch.step_s)
        self._schedule(ends_s)

    def _admit(self, now_s: float) -> tuple[int, list[Flight]]:
        """Prompt tokens of the next step, and who joins without a token."""
        batch, queue = self._batch, self.queue
        budget = self._discipline.step_tokens
        tokens, speechless = 0, []
        while True:
            flight = self._cut
            if flight is None:
                if not queue or not batch.fits(queue[0], batch.size + len(self._prompts)):
                    break
                if queue[0].to_compute == 0:
                    flight = self._take()
                    if flight.last_token_s is None:
                        speechless.append(flight)
                    else:
                        # The wait for a place is part of the gap before the next token.
                        self._sink.tokens(0, now_s - flight.last_token_s)
                    batch.add(flight)
                    continue
            # A budget that decoding alone would use up still lets prompts move: nobody may wait for ever.
            left = None if budget is None else max(budget - batch.size, 1) - tokens
            if (left is None and tokens) or (left is not None and left <= 0):
                break
            if flight is None:
                flight = self._take()
                if flight.prefill_start_s is None:
                    flight.prefill_start_s = now_s
                batch.reserve(flight.context_tokens)
            if left is not None and flight.to_compute > left:
                flight.to_compute -= left
                tokens += left
                self._cut = flight
                break
            tokens += flight.to_compute
            flight.to_compute = 0
            self._cut = None
            self._prompts.append(flight)
        return tokens, speechless

    def _first_token(self, flight: Flight) -> None:
        if not self._dead:
            flight.write_first(self._loop.now_s)
            self._sink.first_token(flight)

    def _schedule(self, ends_s: float) -> None:
        self._run_ends_s = ends_s
        self._loop.at(ends_s, self._run_ended)

    def _run_ended(self) -> None:
        if self._dead or self._loop.now_s != self._run_ends_s:
            return  # or the run was cut after this event was scheduled
        gone, tokens, seconds = self._batch.end_run()
        self._sink.tokens(tokens, seconds)
        for flight in gone:
            self._finish(flight)
        if self._prompts:
            prompts, self._prompts = self._prompts, []
            for flight in prompts:
                self._prompt_done(flight)
        self._next()

    def _prompt_done(self, flight: Flight) -> None:
        now_s = self._loop.now_s
        self._batch.reserve(-flight.context_tokens)
        if flight.last_token_s is None:
            flight.prefill_end_s = now_s
            flight.write_first(now_s)
            self._sink.first_token(flight)
        else:
            self._sink.tokens(1, now_s - flight.last_token_s)
            flight.written += 1
        if flight.written < flight.osl:
            self._batch.add(flight)
        else:
            self._finish(flight)

    def _finish(self, flight: Flight) -> None:
        self.held_tokens -= flight.total_tokens
        flight.finish_s = self._loop.now_s
        self._sink.finished(flight)
