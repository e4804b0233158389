"""The seam between the loop and whatever measures a fleet.

A source tells what engines and gateways said: load, lengths, latencies, what waits and runs. How many replicas there
are is the connector's to tell.
"""

from __future__ import annotations

from typing import Protocol

from planner.scaling.types import ServiceSamples


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
