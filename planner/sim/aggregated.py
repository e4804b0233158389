"""An aggregated replica: prompts and decode steps take turns on the same GPU.

While a prompt is computed, taking TTFT(isl), the batch stands still; between two prompts it makes one step.
Prompts are served first come, first served, each as soon as its KV cache fits. So, with a share d of the time spent on
prompts, the mean gap between tokens is the step time / (1 - d), as the sizing model has it, and a prompt waits for the
step under way and one step more per prompt ahead of it.

Limits: prompts are not cut into chunks, so one long prompt stalls the batch for all of its TTFT; chunked prefill
spreads the same work over more steps.
"""

from __future__ import annotations

from collections import deque

from planner.sim.batch import Batch
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


class AggregatedEngine:
    """Requests go in, finished requests come out."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, on_idle: Handler) -> None:
        self._loop = loop
        self._timing = timing
        self._sink = sink
        self._on_idle = on_idle
        self._batch = Batch(timing)
        self._waiting: deque[Flight] = deque()
        self._prompt: Flight | None = None
        self._run_ends_s: float | None = None
        self.held_tokens = 0

    @property
    def waiting(self) -> int:
        """Prompts not begun."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batch, and the prompt being computed."""
        return len(self._batch) + (self._prompt is not None)

    def submit(self, flight: Flight) -> None:
        """Queue a prompt for the next step boundary."""
        self._waiting.append(flight)
        self.held_tokens += flight.total_tokens
        if self._prompt is not None:
            return
        if self._run_ends_s is None:
            self._next()
        elif len(self._waiting) == 1 and self._batch.fits(flight):
            self._schedule_run(self._batch.cut_run(self._loop.now_s))

    def _next(self) -> None:
        """A prompt if one fits, else steps, else idle."""
        if self._waiting and self._batch.fits(self._waiting[0]):
            self._begin_prompt()
        elif self._batch:
            self._begin_run()
        else:
            self._on_idle()

    def _begin_prompt(self) -> None:
        flight = self._prompt = self._waiting.popleft()
        flight.prefill_start_s = self._loop.now_s
        seconds = self._timing.prefill_s(flight.isl)
        self._sink.tokens(0, seconds * len(self._batch))
        self._loop.at(self._loop.now_s + seconds, self._prompt_done)

    def _prompt_done(self) -> None:
        flight, self._prompt = self._prompt, None
        assert flight is not None
        flight.prefill_end_s = flight.first_token_s = self._loop.now_s
        self._sink.first_token(flight)
        if flight.osl > 1:
            self._batch.add(flight)
        else:
            self._finish(flight)
        if self._batch:
            self._begin_run()
        else:
            self._next()

    def _begin_run(self) -> None:
        prompt_next = bool(self._waiting) and self._batch.fits(self._waiting[0])
        self._schedule_run(self._batch.start_run(self._loop.now_s, at_most=1 if prompt_next else None))

    def _schedule_run(self, ends_s: float) -> None:
        self._run_ends_s = ends_s
        self._loop.at(ends_s, self._run_ended)

    def _run_ended(self) -> None:
        if self._loop.now_s != self._run_ends_s:
            return  # the run was cut after this event was scheduled
        self._run_ends_s = None
        gone, tokens, seconds = self._batch.end_run()
        self._sink.tokens(tokens, seconds)
        for flight in gone:
            self._finish(flight)
        self._next()

    def _finish(self, flight: Flight) -> None:
        self.held_tokens -= flight.total_tokens
        flight.finish_s = self._loop.now_s
        self._sink.finished(flight)
