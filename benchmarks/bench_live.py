"""The serving process: what it costs to start, how it holds a thousand services, and whether a day makes it grow.

    python benchmarks/bench_live.py [--services N,...] [--hours H]

Three tables. *Idle*: a fresh `planner run` of one service until it answers. *Many*: the real loop and API in one
process, made-up fleets that answer at once, every service with another load; the lag is how late a heartbeat of 10 ms
comes in the event loop that answers requests, ticks included. *A day*: 24 hours through the real loop on a virtual
clock, with journal, of a simulated fleet; memory after each quarter, and what the journal holds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from planner.api import Security, create_app
from planner.clock import VirtualClock, WallClock
from planner.config import build_settings, load_config
from planner.connectors.types import Applied, Plan
from planner.journal import JournalFiles
from planner.loop import ControlLoop
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import initial_state
from planner.scaling.types import PoolSamples, ReplicaSamples, Role, Sample, ServiceSamples
from planner.sim.baselines.contenders import World
from planner.sim.embedded import EmbeddedFleet
from planner.sim.loads import Level, drawn
from planner.sim.settings import conditions_as_configured
from planner.steering import Steering

CONFIG = """\
budget: {gpus: 100000}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 500, itl: 50}
"""
MIB = 2**20


def settings_of(count: int, folder: Path) -> tuple[PlannerSettings, dict[str, Any], dict[str, Any]]:
    """So many equal services, and their documents."""
    file = folder / "planner.yaml"
    names = "".join(f"  s{number:04d}: {{}}\n" for number in range(count))
    file.write_text(f"{CONFIG}services:\n{names}")
    loaded = load_config(file, {}, {})
    return build_settings(loaded), loaded.to_document(), loaded.profile_documents()


class MadeUp:
    """Fleets that do at once as they are told."""

    def __init__(self, settings: PlannerSettings, clock: WallClock) -> None:
        self._clock = clock
        self._replicas: dict[str, dict[Role, int]] = {
            name: dict.fromkeys(service.pools, 1) for name, service in settings.services.items()
        }
        self._rates_per_s = {name: 1.0 + index % 40 for index, name in enumerate(settings.services)}

    async def collect(self, service: str) -> ServiceSamples:
        """A load that swings."""
        now_s = self._clock.now_s()

        def sample(value: float) -> Sample:
            return Sample(value, now_s)

        none = sample(0)
        rate_per_s = self._rates_per_s[service] * (1.2 if int(now_s / 60) % 2 else 0.8)
        pools = {
            role: PoolSamples(none, none, none, none, none, none, sample(count), none, sample(1))
            for role, count in self._replicas[service].items()
        }
        return ServiceSamples(
            30.0, sample(rate_per_s), sample(3000), sample(150), sample(0.5), sample(0.07), sample(0.001),
            sample(0.006), pools,
        )  # fmt: skip

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """As ordered."""
        none, now_s = Sample(0, self._clock.now_s()), self._clock.now_s()
        return {
            role: ReplicaSamples(Sample(count, now_s), Sample(count, now_s), none, none, none, none)
            for role, count in self._replicas[service].items()
        }

    async def apply(self, plan: Plan) -> Applied:
        """At once."""
        self._replicas[plan.service] |= plan.replicas
        return Applied("applied", "done")

    async def close(self) -> None:
        """Nothing is open."""


def rss_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


async def many(count: int, ticks: int = 6) -> str:
    """A row about so many services."""
    with tempfile.TemporaryDirectory() as name:
        settings, config, profiles = settings_of(count, Path(name))
        clock = WallClock(speed=6.0)  # a tick of 30 s every 5 s
        fleet = MadeUp(settings, clock)
        journal = JournalFiles(Path(name) / "journal", config, profiles, initial_state(settings, clock.now_s()))
        loop = ControlLoop(settings, fleet, fleet, clock, journal=journal)
        app = create_app(Steering(loop.desk, clock, loop.scribe), None, Security())
        running = asyncio.create_task(loop.run())
        lags_s: list[float] = []

        async def heart() -> None:
            while True:
                before_s = time.perf_counter()
                await asyncio.sleep(0.010)
                lags_s.append(time.perf_counter() - before_s - 0.010)

        beating = asyncio.create_task(heart())
        while loop.desk.ticks < ticks:
            await asyncio.sleep(0.1)
        beating.cancel()
        tick_s = loop.desk.totals().tick_s or 0.0
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            cells = []
            for path in ("/status", "/overview"):
                spent_s, size = [], 0
                for _ in range(3):
                    begun_s = time.perf_counter()
                    size = len((await client.get(path)).content)
                    spent_s.append(time.perf_counter() - begun_s)
                cells.append(f"{1e3 * spent_s[0]:.0f}, then {1e3 * min(spent_s):.0f} | {size / 1e6:.2f}")
        loop.stop()
        await running
        lags_s.sort()
        lag = f"{1e3 * lags_s[int(0.99 * len(lags_s))]:.0f} / {1e3 * lags_s[-1]:.0f}"
        return f"| {count} | {1e3 * tick_s:.0f} | {lag} | {' | '.join(cells)} | {rss_mib():.0f} |"


def idle() -> str:
    """A fresh process of one service: seconds until it answers, and its memory then."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "planner.yaml"
        config.write_text(CONFIG)
        command = [
            sys.executable, "-m", "planner", "run", "-c", str(config), "--rehearse", "demo", "--listen", "127.0.0.1:0",
        ]  # fmt: skip
        begun_s = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            url = ""
            for line in process.stderr:
                if "serving " in line:
                    url = json.loads(line)["message"].split()[1]
                    break
            while True:
                try:
                    urllib.request.urlopen(f"{url}readyz", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.01)
            spent_s = time.perf_counter() - begun_s
            time.sleep(8)  # its first tick comes after 5 s
            status = Path(f"/proc/{process.pid}/status").read_text()
            process.terminate()
        peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
        return f"| {spent_s:.1f} | {peak:.0f} |"


async def at_once(function: Any, *arguments: Any) -> Any:
    """Instead of a thread: virtual time must not pass meanwhile."""
    return function(*arguments)


async def day(hours: float) -> None:
    """Rows about a day, printed as they come."""
    with tempfile.TemporaryDirectory() as name:
        settings, config, profiles = settings_of(2, Path(name))
        settings = replace(settings, budget_gpus=32)
        clock = VirtualClock(1_800_000_000.0)
        levels = [Level(h * 3600.0, (h + 1) * 3600.0, 2.0 + h % 6, 1000, 50) for h in range(round(hours))]
        world = World(
            settings,
            {each: drawn(levels, 1.0, each) for each in settings.services},
            {each: conditions_as_configured(service) for each, service in settings.services.items()},
            32,
        )
        fleet = EmbeddedFleet(world.workloads(), clock, 32)
        folder = Path(name) / "journal"
        journal = JournalFiles(
            folder, config, profiles, initial_state(settings, clock.now_s()), max_bytes=8 * MIB, keep=3
        )
        loop = ControlLoop(settings, fleet, fleet, clock, journal=journal, compute=at_once)
        running = asyncio.create_task(loop.run())
        for quarter in range(1, 5):
            await clock.advance(hours * 900)
            gc.collect()
            held = sum(path.stat().st_size for path in folder.iterdir()) / MIB
            tasks = len(asyncio.all_tasks()) - 2
            print(
                f"| {quarter * hours / 4:g} | {loop.desk.ticks} | {rss_mib():.1f} | {held:.1f} | {tasks} |", flush=True
            )
        loop.stop()
        await clock.advance(1.0)
        await running


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", default="1,100,1000", help="how many (default %(default)s)")
    parser.add_argument("--hours", type=float, default=24, help="of the day (default %(default)s)")
    arguments = parser.parse_args()
    print("| until it answers, s | RSS, MiB |\n|---|---|")
    print(idle())
    print("\n| hours | ticks | RSS, MiB | journal, MiB (bound 24) | tasks beside the loop |\n|---|---|---|---|---|")
    asyncio.run(day(arguments.hours))
    print("\n| services | tick, ms | lag p99 / max, ms | /status ms | MB | /overview ms | MB | RSS, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for count in (int(text) for text in arguments.services.split(",")):
        print(asyncio.run(many(count)), flush=True)


if __name__ == "__main__":
    main()
