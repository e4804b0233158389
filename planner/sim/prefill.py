"""A prefill replica: prompts first come, first served, a step at a time.

A step computes one whole prompt or, by token budget, whatever fits: several short prompts, and a chunk of one that does
not fit any more. It takes TTFT(tokens of the step), so prompts that share a step share its fixed cost, and a prompt cut
in two pays it twice. First tokens leave when the step that ends their prompt ends; in an engine that prefers prompts to
tokens they are held until nobody waits, and only leave before, one a step, where their place in the engine is needed.

Limit: a chunk does not pay for the context before it.
"""

from __future__ import annotations

from planner.sim.engine import Discipline, Engine
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


class PrefillEngine(Engine):
    """Prompts go in, computed prompts come out."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, discipline: Discipline, on_idle: Handler) -> None:
        super().__init__(loop, timing, sink, discipline, on_idle)
        self._stepping = False
        self._cut: Flight | None = None  # begun, and not ended by the step under way
        self._step: list[Flight] = []  # prompts that end with the step under way
        self._held: list[Flight] = []

    @property
    def running(self) -> int:
        """Prompts being computed, or done and held."""
        return len(self._step) + len(self._held) + (self._cut is not None)

    def nudge(self) -> None:
        """Begin a step, unless one is under way."""
        if not self._stepping and self.queue:
            self._begin()

    def _inside(self) -> list[Flight]:
        return [*self._held, *self._step, *([self._cut] if self._cut else [])]

    def _weight(self, flight: Flight) -> int:
        return flight.isl

    def _begin(self) -> None:
        budget, tokens = self._discipline.step_tokens, 0
        room = self._discipline.places - len(self._held)
        while len(self._step) < room and (budget is None or tokens < budget):
            flight = self._cut
            if flight is None:
                if not self.queue:
                    break
                flight = self._take()
                flight.prefill_start_s = self._loop.now_s
            if budget is not None and tokens + flight.to_compute > budget:
                flight.to_compute -= budget - tokens
                tokens = budget
                self._cut = flight
                break
            tokens += flight.to_compute
            flight.to_compute = 0
            self._cut = None
            self._step.append(flight)
            if budget is None:
                break
        self._stepping = True
        self._loop.at(self._loop.now_s + self._timing.prefill_s(tokens), self._step_done)

    def _step_done(self) -> None:
        if self._dead:
            return
        self._stepping = False
        leaving, self._step = self._held + self._step, []
        for flight in leaving[len(self._held) :]:
            self.held_tokens -= flight.isl
        more = self._cut is not None or bool(self.queue)
        self._held = []
        if more and self._discipline.holds:
            leave = int(len(leaving) >= self._discipline.places)
            leaving, self._held = leaving[:leave], leaving[leave:]
        if more:
            self._begin()
        for flight in leaving:
            flight.prefill_end_s = self._loop.now_s
            self._sink.prompt_done(flight)
        if not self._stepping:
            self._on_idle()
