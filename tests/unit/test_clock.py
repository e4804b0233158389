"""Clocks: what they tell, and in which order they wake."""

from __future__ import annotations

import asyncio

import pytest

from planner.clock import VirtualClock, WallClock
from planner.watch import within


def test_a_fast_wall_clock_passes_its_seconds_sooner() -> None:
    async def waited() -> float:
        clock = WallClock(speed=1000.0, start_s=5.0)
        assert clock.now_s() >= 5.0
        await clock.sleep_until(15.0)
        return clock.now_s()

    assert 15.0 <= asyncio.run(waited()) < 1000.0


def test_a_virtual_clock_wakes_sleepers_in_order_of_time_then_of_coming() -> None:
    async def script() -> list[tuple[str, float]]:
        clock, woken = VirtualClock(100.0), []

        async def sleeper(name: str, at_s: float) -> None:
            await clock.sleep_until(at_s)
            woken.append((name, clock.now_s()))

        tasks = [asyncio.create_task(sleeper(*each)) for each in (("c", 120.0), ("a", 110.0), ("b", 110.0), ("z", 1.0))]
        await clock.advance(50.0)
        await asyncio.gather(*tasks)
        assert clock.now_s() == 150.0
        return woken

    assert asyncio.run(script()) == [("z", 100.0), ("a", 110.0), ("b", 110.0), ("c", 120.0)]


def test_a_sleeper_may_sleep_again_within_the_same_stretch_of_time() -> None:
    async def script() -> list[float]:
        clock, beats = VirtualClock(), []

        async def heart() -> None:
            while True:
                await clock.sleep_until(clock.now_s() + 10.0)
                beats.append(clock.now_s())

        task = asyncio.create_task(heart())
        await clock.advance(35.0)
        task.cancel()
        return beats

    assert asyncio.run(script()) == [10.0, 20.0, 30.0]


def test_work_within_its_time_gives_its_result_and_work_beyond_it_is_cancelled() -> None:
    async def script() -> None:
        clock = VirtualClock()
        cancelled = asyncio.Event()

        async def work(seconds: float) -> str:
            try:
                await clock.sleep_until(clock.now_s() + seconds)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return "done"

        quick = asyncio.create_task(within(clock, 10.0, work(5.0)))
        slow = asyncio.create_task(within(clock, 10.0, work(50.0)))
        await clock.advance(20.0)
        assert await quick == "done"
        with pytest.raises(TimeoutError):
            await slow
        assert cancelled.is_set()

    asyncio.run(script())
