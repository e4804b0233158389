"""A prefill replica: prompts first come, first served, a step at a time.

A step computes one whole prompt or, by token budget, whatever fits: several short prompts, and a chunk of one that does
not fit any more. It takes TTFT(tokens of the step), so prompts that share a step share its fixed cost, and a prompt cut
in two pays it twice. First tokens leave when the step that ends their prompt ends; in an engine that prefers prompts to
tokens they are held until nobody waits, and only leave before, one a step, where their place in the engine is needed.

Limits: a chunk does not pay for the context before it; no prefix cache; the KV transfer to decode takes no time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from planner.errors import UserError
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


@dataclass(frozen=True, slots=True)
class Discipline:
    """How a prefill replica forms its steps, and when first tokens leave it.

    Raises UserError for a budget or an engine that holds nothing.
    """

    step_tokens: int | None = None
    """Token budget of a step, across prompts; None: one whole prompt a step."""
    places: int = 1024
    """Prompts in the engine at most, being computed or done and held."""
    holds: bool = False
    """First tokens are held until nobody waits; when all places hold one, the oldest leaves after each step."""

    def __post_init__(self) -> None:
        for name, value in (("step_tokens", self.step_tokens), ("places", self.places)):
            if value is not None and value < 1:
                raise UserError(f"{name}: {value!r} must be 1 or more")


class PrefillEngine:
    """One server with a queue."""

    def __init__(
        self, loop: Loop, timing: Timing, sink: Sink, on_idle: Handler, discipline: Discipline | None = None
    ) -> None:
        self._loop = loop
        self._timing = timing
        self._sink = sink
        self._on_idle = on_idle
        self._discipline = discipline or Discipline()
        self._queue: deque[Flight] = deque()
        self._computed_tokens = 0  # of the first in the queue, which has begun when it is above 0
        self._stepping = False
        self._step: list[Flight] = []  # prompts that end with the step under way
        self._held: list[Flight] = []
        self.held_tokens = 0

    @property
    def waiting(self) -> int:
        """Prompts not begun."""
        return len(self._queue) - (self._computed_tokens > 0)

    @property
    def running(self) -> int:
        """Prompts being computed, or done and held."""
        return len(self._step) + len(self._held) + (self._computed_tokens > 0)

    def submit(self, flight: Flight) -> None:
        """Queue a prompt."""
        self._queue.append(flight)
        self.held_tokens += flight.isl
        if not self._stepping:
            self._begin()

    def _begin(self) -> None:
        budget, tokens = self._discipline.step_tokens, 0
        room = self._discipline.places - len(self._held)
        while len(self._step) < room and self._queue and (budget is None or tokens < budget):
            flight = self._queue[0]
            if self._computed_tokens == 0:
                flight.prefill_start_s = self._loop.now_s
            left = flight.isl - self._computed_tokens
            if budget is not None and tokens + left > budget:
                self._computed_tokens += budget - tokens
                tokens = budget
                break
            tokens += left
            self._computed_tokens = 0
            self._step.append(self._queue.popleft())
            if budget is None:
                break
        self._stepping = True
        self._loop.at(self._loop.now_s + self._timing.prefill_s(tokens), self._step_done)

    def _step_done(self) -> None:
        self._stepping = False
        self.held_tokens -= sum(flight.isl for flight in self._step)
        self._held += self._step
        self._step = []
        if not (self._discipline.holds and self._queue):
            leave = len(self._held)
        else:
            leave = 1 if len(self._held) >= self._discipline.places else 0
        leaving, self._held = self._held[:leave], self._held[leave:]
        if self._queue:
            self._begin()
        for flight in leaving:
            flight.prefill_end_s = self._loop.now_s
            self._sink.prompt_done(flight)
        if not self._stepping:
            self._on_idle()
