"""A process that is a candidate for a Lease and asks the fence before each of its pretended writes.

Run as `python lease_candidate.py <kubeconfig> <namespace>`. Prints, some fifty times a second, `wrote` or `refused` and
when that was, in seconds on the clock of `monotonic_s`. The candidate's own seconds pass `SPEED` times as fast.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from planner.clock import WallClock
from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.lease.lease import Lease, NotLeadingError, monotonic_s

SPEED = 10.0


async def stand(kubeconfig: Path, namespace: str) -> None:
    """Be a candidate for ever."""
    api, clock = Api(Access(kubeconfig)), WallClock(SPEED)
    lease = Lease(api, namespace, "planner", "candidate", clock, lambda: monotonic_s() * SPEED)
    candidate = asyncio.create_task(lease.run())
    while not candidate.done():
        try:
            lease.check()
            told = "wrote"
        except NotLeadingError:
            told = "refused"
        print(told, monotonic_s(), flush=True)
        await clock.sleep_until(clock.now_s() + 0.02 * SPEED)
    await candidate


if __name__ == "__main__":
    asyncio.run(stand(Path(sys.argv[1]), sys.argv[2]))
