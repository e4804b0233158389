"""What a Prometheus knows of one service's past, as a recording."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from planner.cli.times import moment_s
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config.model import Service
    from planner.scaling.types import ServiceSamples
    from planner.sources.recorded import Recording


def recorded(service: Service, name: str, from_: str, to: str) -> Recording:
    """Of every interval between two times, on the grid that a running planner ticks on.

    Raises UserError when the times make no sense, or Prometheus cannot tell.
    """
    from planner.replay.observed import recording_of

    now_s, interval_s = time.time(), service.interval_s
    from_s, to_s = moment_s(from_, "--from", now_s), min(now_s, moment_s(to, "--to", now_s))
    first, last = math.ceil(from_s / interval_s) + 1, math.floor(to_s / interval_s)
    if last < first:
        raise UserError(f"--from, --to: {from_} to {to} holds no whole interval of {interval_s:g} s; widen it")
    at_s = [index * interval_s for index in range(first, last + 1)]
    samples = asyncio.run(_asked(service, name, at_s))
    return recording_of(f"{service.prometheus.url} {name}", samples, interval_s)


async def _asked(service: Service, name: str, at_s: list[float]) -> list[ServiceSamples]:
    from planner.cli.prometheus import Sources
    from planner.clock import WallClock
    from planner.sources.types import PastError

    sources = Sources({name: service}, WallClock())
    samples: list[ServiceSamples] = []
    try:
        async for piece in sources.past([name], at_s):
            samples += piece[name]
    except PastError as error:
        raise UserError(f"prometheus.url: {error}") from None
    finally:
        await sources.close()
    return samples
