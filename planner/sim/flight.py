"""One request on its way through the fleet, and who is told about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, eq=False)
class Flight:
    """A request, its moments in seconds (None until they happen), and how far it has come.

    Invariant: arrival_s <= prefill_start_s <= prefill_end_s <= first_token_s <= finish_s.
    """

    arrival_s: float
    isl: int
    osl: int
    to_compute: int
    """Tokens to compute before the next can be written: the prompt less what a prefix cache holds, at first."""
    written: int = 0
    """Tokens of the answer when it was last outside a batch."""
    prefill_start_s: float | None = None
    prefill_end_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    """Of the tokens written when it was last outside a batch."""
    finish_s: float | None = None

    @property
    def total_tokens(self) -> int:
        """The KV cache it occupies when its last token is written."""
        return self.isl + self.osl

    @property
    def context_tokens(self) -> int:
        """The KV cache it needs to go on."""
        return self.isl + self.written

    def write_first(self, now_s: float) -> None:
        """The first token is written."""
        self.first_token_s = self.last_token_s = now_s
        self.written = 1


class Sink(Protocol):
    """Whom an engine tells what happened, at the moment it happens."""

    def prompt_done(self, flight: Flight) -> None:
        """A prefill replica gives a prompt away."""

    def first_token(self, flight: Flight) -> None:
        """The first token is written; where more are wanted, the rest follows from a batch."""

    def tokens(self, count: int, seconds: float) -> None:
        """`count` tokens after the first were written; the gaps before them sum to `seconds`."""

    def preempted(self, flight: Flight) -> None:
        """Its KV cache was dropped to make room; it waits to be computed again."""

    def finished(self, flight: Flight) -> None:
        """The last token is written."""
