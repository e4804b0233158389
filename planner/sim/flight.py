"""One request on its way through the fleet, and who is told about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, eq=False)
class Flight:
    """A request and its moments, in seconds; None until they happen.

    Invariant: arrival_s <= prefill_start_s <= prefill_end_s <= first_token_s <= finish_s.
    """

    arrival_s: float
    isl: int
    osl: int
    prefill_start_s: float | None = None
    prefill_end_s: float | None = None
    first_token_s: float | None = None
    finish_s: float | None = None

    @property
    def total_tokens(self) -> int:
        """The KV cache it occupies when its last token is written."""
        return self.isl + self.osl


class Sink(Protocol):
    """Whom an engine tells what happened, at the moment it happens."""

    def prompt_done(self, flight: Flight) -> None:
        """A prefill replica gives a prompt away."""

    def first_token(self, flight: Flight) -> None:
        """The first token is written; where more are wanted, the rest follows from a decode batch."""

    def tokens(self, count: int, seconds: float) -> None:
        """`count` tokens after the first were written; the gaps before them sum to `seconds`."""

    def finished(self, flight: Flight) -> None:
        """The last token is written."""
