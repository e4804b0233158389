"""Continuous batching: the running requests of one engine, advancing in lockstep.

Each step writes one token for every request in the batch and takes ITL(concurrency, mean context), and the time of the
prompt tokens computed in it. Between two changes of the batch nothing happens but steps, so a whole run of them is one
event: a run of k steps takes k times the step time at the run's mid context, exact where ITL is linear in context. A
run cut short by a newcomer ends at the next step boundary and keeps its step time.

The KV cache fills as tokens are written. A request is let in when what it has and a token for everybody fits, as vLLM
does; a run ends where the cache would overflow, and then the newest must go until a step has room.

Units: tokens, seconds. Invariant: the KV cache in use never exceeds the timing's.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from planner.sim.flight import Flight
from planner.sim.timing import Timing


class Batch:
    """The requests being decoded, and the run of steps under way."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._step = 0
        self._last_steps: dict[Flight, int] = {}  # in order of entry
        self._leaving: list[tuple[int, int, Flight]] = []  # (last step, order of entry, request), some gone before
        self._entered = 0
        self.size = 0
        """Requests in the batch."""
        self._context_tokens = 0
        self._reserved_tokens = 0
        self._run_started_s = 0.0
        self._run_steps = 0
        self.step_s = 0.0
        """Seconds of each step of the run under way."""

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._last_steps)

    @property
    def kv_tokens(self) -> int:
        """KV cache in use, that of prompts being computed included."""
        return self._context_tokens + self._reserved_tokens

    def fits(self, flight: Flight, among: int) -> bool:
        """Whether the request may join `among` others, in the batch or being computed; always, when it is alone."""
        if among == 0:
            return True
        kv_tokens = self._context_tokens + self._reserved_tokens + flight.isl + flight.written
        concurrency = among + 1
        if kv_tokens + concurrency > self._timing.max_kv_tokens:
            return False
        return concurrency <= self._timing.max_concurrency(kv_tokens / concurrency)

    def reserve(self, tokens: int) -> None:
        """Hold KV cache for a prompt being computed; give it back with a negative number."""
        self._reserved_tokens += tokens

    def add(self, flight: Flight) -> None:
        """Let a request in; it leaves when the steps have written what it still wants."""
        last_step = self._step + flight.osl - flight.written
        self._entered += 1
        self.size += 1
        self._last_steps[flight] = last_step
        heapq.heappush(self._leaving, (last_step, self._entered, flight))
        self._context_tokens += flight.isl + flight.written

    def overflows(self) -> bool:
        """Whether the next step would find no room in the KV cache."""
        return self.size > 0 and self.kv_tokens + self.size > self._timing.max_kv_tokens

    def evict_newest(self) -> Flight:
        """Who came last goes, with the tokens written so far, all of which are to be computed again."""
        flight, last_step = self._last_steps.popitem()
        self.size -= 1
        flight.written = flight.osl - (last_step - self._step)
        flight.to_compute = flight.context_tokens
        self._context_tokens -= flight.context_tokens
        return flight

    def start_run(self, now_s: float, prompt_s: float = 0.0) -> float:
        """Run to the next departure or the end of the KV cache; the time it ends.

        A step that computes prompts, too, takes `prompt_s` longer, and is alone.
        """
        concurrency = self.size
        self._run_started_s = now_s
        if prompt_s:
            self._run_steps = 1
            self.step_s = prompt_s
            if concurrency:
                self.step_s += self._timing.step_s(concurrency, self._context_tokens / concurrency)
            return now_s + self.step_s
        leaving, last_steps = self._leaving, self._last_steps
        while last_steps.get(leaving[0][2]) != leaving[0][0]:
            heapq.heappop(leaving)
        steps = leaving[0][0] - self._step
        room = (self._timing.max_kv_tokens - self._context_tokens - self._reserved_tokens) / concurrency
        if room < steps:
            steps = int(room)
        self.step_s = self._timing.step_s(concurrency, self._context_tokens / concurrency + steps / 2)
        self._run_steps = steps
        return now_s + steps * self.step_s

    def cut_run(self, now_s: float) -> float:
        """End the run at the next step boundary instead; that time."""
        done = int((now_s - self._run_started_s) / self.step_s)
        self._run_steps = min(self._run_steps, done + 1)
        # Rounding may put a boundary that is due right now a hair into the past.
        return max(now_s, self._run_started_s + self._run_steps * self.step_s)

    def end_run(self) -> tuple[list[Flight], int, float]:
        """Who leaves, the tokens written by the run, and the gaps before them summed, in seconds."""
        tokens = self._run_steps * self.size
        self._step += self._run_steps
        self._context_tokens += tokens
        gone = []
        leaving = self._leaving
        while leaving and leaving[0][0] <= self._step:
            last_step, _, flight = heapq.heappop(leaving)
            if self._last_steps.get(flight) == last_step:
                del self._last_steps[flight]
                self._context_tokens -= flight.total_tokens
                gone.append(flight)
        self.size -= len(gone)
        return gone, tokens, tokens * self.step_s
