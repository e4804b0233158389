"""The seam between the loop and whatever measures a fleet.

A source tells what engines and gateways said: load, lengths, latencies, what waits and runs. How many replicas there
are is the connector's to tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.scaling.types import ServiceSamples


@dataclass(frozen=True, slots=True)
class Queries:
    """What was asked of a server of metrics since the start; only grows."""

    asked: int
    """With those whose answer is still awaited, or was given up."""
    failed: Mapping[str, int]
    """By cause, each that can be: a counter born at its first failure hides that failure from a rate."""
    seconds: float
    """Between question and answer, summed."""


class Source(Protocol):
    """Where samples come from."""

    async def collect(self, service: str) -> ServiceSamples:
        """What is known of the service now.

        Each sample carries the time it was true; one that cannot be had is absent with its cause. The replica counts
        of its pools are absent. Raises nothing for what the outside world does; may be cancelled at any moment.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class PastError(Exception):
    """The past cannot be had; the message says why."""


class Historian(Protocol):
    """Who knows what a source would have said."""

    def past(
        self, services: Collection[str], at_s: Sequence[float]
    ) -> AsyncIterator[Mapping[str, Sequence[ServiceSamples]]]:
        """What `collect` would have given of each service at these times, which are evenly spaced and ascend.

        Comes in pieces: in each, some services have samples of their next times. Replica counts are there where they
        are known. Raises PastError when some of it cannot be had.
        """
        ...
