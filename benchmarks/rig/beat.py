"""A heartbeat in an event loop: how late it comes tells how long others held the loop, or the interpreter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_BEAT_S = 0.010


@asynccontextmanager
async def lags_s() -> AsyncIterator[list[float]]:
    """Seconds that each beat came late, as long as the block lasts."""
    late_s: list[float] = []

    async def heart() -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(_BEAT_S)
            late_s.append(time.perf_counter() - before_s - _BEAT_S)

    beating = asyncio.create_task(heart())
    try:
        yield late_s
    finally:
        beating.cancel()
