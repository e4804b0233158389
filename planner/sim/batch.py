"""Continuous batching: the running requests of one engine, advancing in lockstep.

Each step writes one token for every request in the batch and takes ITL(concurrency, mean context). Between two changes
of the batch nothing happens but steps, so a whole run of them is one event: a run of k steps takes k times the step
time at the run's mid context, exact where ITL is linear in context. A run cut short by a newcomer ends at the next step
boundary and keeps its step time.

A request is admitted only when its whole KV cache, prompt and answer, fits beside what is reserved, and the
concurrency stays within what the profile has measured; a batch never has to preempt.

Units: tokens, seconds.
"""

from __future__ import annotations

import heapq

from planner.sim.flight import Flight
from planner.sim.timing import Timing


class Batch:
    """The requests being decoded, and the run of steps under way."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._step = 0
        self._leaving: list[tuple[int, int, Flight]] = []  # (last step, order of entry, request): a heap
        self._entered = 0
        self._reserved_tokens = 0
        self._context_tokens = 0
        self._run_started_s = 0.0
        self._run_steps = 0
        self._step_s = 0.0

    def __len__(self) -> int:
        return len(self._leaving)

    def fits(self, flight: Flight) -> bool:
        """Whether the request may join now; always, when it is alone and its KV cache fits at all."""
        if self._reserved_tokens + flight.total_tokens > self._timing.max_kv_tokens:
            return False
        concurrency = len(self._leaving) + 1
        mean_context = (self._context_tokens + flight.isl) / concurrency
        return concurrency == 1 or concurrency <= self._timing.max_concurrency(mean_context)

    def add(self, flight: Flight) -> None:
        """Let a request in; it leaves when the steps have written what it still wants."""
        written = int(flight.first_token_s is not None)
        self._entered += 1
        heapq.heappush(self._leaving, (self._step + flight.osl - written, self._entered, flight))
        self._reserved_tokens += flight.total_tokens
        self._context_tokens += flight.isl + written

    def start_run(self, now_s: float, at_most: int | None = None) -> float:
        """Run to the next departure, or `at_most` steps; the time it ends."""
        steps = self._leaving[0][0] - self._step
        if at_most is not None:
            steps = min(steps, at_most)
        concurrency = len(self._leaving)
        self._step_s = self._timing.step_s(concurrency, self._context_tokens / concurrency + steps / 2)
        self._run_started_s = now_s
        self._run_steps = steps
        return now_s + steps * self._step_s

    @property
    def step_s(self) -> float:
        """Seconds of each step of the run under way."""
        return self._step_s

    def cut_run(self, now_s: float) -> float:
        """End the run at the next step boundary instead; that time."""
        done = int((now_s - self._run_started_s) / self._step_s)
        self._run_steps = min(self._run_steps, done + 1)
        # Rounding may put a boundary that is due right now a hair into the past.
        return max(now_s, self._run_started_s + self._run_steps * self._step_s)

    def end_run(self) -> tuple[list[Flight], int, float]:
        """Who leaves, the tokens written by the run, and the gaps before them summed, in seconds."""
        tokens = self._run_steps * len(self._leaving)
        self._step += self._run_steps
        self._context_tokens += tokens
        gone = []
        while self._leaving and self._leaving[0][0] == self._step:
            flight = heapq.heappop(self._leaving)[2]
            self._reserved_tokens -= flight.total_tokens
            self._context_tokens -= flight.total_tokens
            gone.append(flight)
        return gone, tokens, tokens * self._step_s
