"""What a replica runs: a queue in front of some way of working.

The queue is the engine's own or shared with its whole pool; the engine takes from it when it has room, and must be
nudged when something was put in. A killed engine never speaks again: what the loop still holds for it does nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass

from planner.errors import UserError
from planner.sim.flight import Flight, Sink
from planner.sim.loop import Handler, Loop
from planner.sim.timing import Timing


@dataclass(frozen=True, slots=True)
class Discipline:
    """How an engine forms its prompt steps, and when first tokens leave a prefill engine.

    Raises UserError for a budget or an engine that holds nothing.
    """

    step_tokens: int | None = None
    """Token budget of a step, across prompts; None: one whole prompt a step."""
    places: int = 1024
    """Prompts in a prefill engine at most, being computed or done and held."""
    holds: bool = False
    """First tokens are held until nobody waits; when all places hold one, the oldest leaves after each step."""

    def __post_init__(self) -> None:
        for name, value in (("step_tokens", self.step_tokens), ("places", self.places)):
            if value is not None and value < 1:
                raise UserError(f"{name}: {value!r} must be 1 or more")


class Engine(ABC):
    """One server with a queue. `on_idle` is called whenever it has nothing left to do."""

    def __init__(self, loop: Loop, timing: Timing, sink: Sink, discipline: Discipline, on_idle: Handler) -> None:
        self._loop = loop
        self._timing = timing
        self._sink = sink
        self._discipline = discipline
        self._on_idle = on_idle
        self._dead = False
        self._shares = False
        self.queue: deque[Flight] = deque()
        self.held_tokens = 0
        """Tokens of the requests it has, the router's measure of load."""

    def submit(self, flight: Flight) -> None:
        """Put a request into the engine's own queue, now."""
        self.queue.append(flight)
        self.held_tokens += self._weight(flight)
        self.nudge()

    def pull_from(self, shared: deque[Flight]) -> None:
        """Take from this queue from now on, and from no other."""
        self.queue = shared
        self._shares = True
        self.nudge()

    def stop_pulling(self) -> None:
        """Leave a shared queue alone."""
        if self._shares:
            self.queue = deque()
            self._shares = False

    def kill(self) -> list[Flight]:
        """Stop dead; what was inside, the engine's own queue included, is returned."""
        self._dead = True
        self.stop_pulling()
        return [*self._inside(), *self.queue]

    def _take(self) -> Flight:
        flight = self.queue.popleft()
        if self._shares:
            self.held_tokens += self._weight(flight)
        return flight

    def _put_back(self, flight: Flight) -> None:
        if self._shares:
            self.held_tokens -= self._weight(flight)
        self.queue.appendleft(flight)

    @property
    @abstractmethod
    def running(self) -> int:
        """Requests inside, not in the queue."""

    @abstractmethod
    def nudge(self) -> None:
        """Look at the queue: something was put in."""

    @abstractmethod
    def _inside(self) -> list[Flight]:
        """The requests that `running` counts."""

    @abstractmethod
    def _weight(self, flight: Flight) -> int:
        """What a request adds to `held_tokens`."""
