"""What it costs to read the metrics of many services from one Prometheus.

    python benchmarks/bench_prometheus.py [--prometheus PROGRAM] [--services N,...] [--ticks T]

An exporter shows 1,000 services of two vLLM pods each, a real Prometheus scrapes them every 15 s, and a planner, in a
fresh process each time, watches some of them or all. *Looking*: a round that also looks at what series there are, the
first and one in five minutes; *later*: any other. The number of queries must not grow with the services; answers are
measured in plain text. *Round*: from asking to samples of all services. *Tick*, *lag*: the real loop with made-up
replicas; the lag is how late a heartbeat of 10 ms comes in its event loop, rounds and ticks included.
Left out without a Prometheus.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench_live import MIB, MadeUp, rss_mib
from rig.beat import lags_s
from rig.processes import fetched, free_port, serving
from rig.prometheus import Target, prometheus
from rig.relay import relayed

from planner.cli.prometheus import Sources
from planner.clock import WallClock
from planner.config import LoadedConfig, build_settings, load_config
from planner.loop import ControlLoop
from planner.scaling.types import Sample
from planner.sources.types import Source

CONFIG = """\
mode: aggregated
profile: h200-llama-3.1-8b-fp8-tp1
budget: {{gpus: 100000}}
sla: {{isl: 3000, osl: 150, ttft: 500, itl: 50}}
interval_s: 10
prometheus: {{url: {url}}}
services:
"""
HEADING = """\
| services | looking: queries | largest / all answers, kB | later: queries | largest / all, kB | first round, ms \
| later, median | tick, ms | lag p99 / max, ms | RSS, MiB |
|---|---|---|---|---|---|---|---|---|---|"""
SERVICES = 1000
PODS = 2
SCRAPE_S = 15.0
WINDOW_S = 60.0
ROUNDS = 5
APART_S = 3.0
"""Between two rounds; who asks sooner is given the same answers."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a planner of so many services took."""

    services: int
    looking_bytes: list[int]
    """Of each answer in a round that looks."""
    later_bytes: list[int]
    """In one that does not."""
    rounds_s: list[float]
    tick_s: float
    lags_s: list[float]
    rss_mib: float

    def __str__(self) -> str:
        lag = f"{1e3 * self.lags_s[int(0.99 * len(self.lags_s))]:.0f} / {1e3 * self.lags_s[-1]:.0f}"
        first, *later = (1e3 * each for each in self.rounds_s)
        return (
            f"| {self.services} | {_queries(self.looking_bytes)} | {_queries(self.later_bytes)} "
            f"| {first:.0f} | {statistics.median(later):.0f} | {1e3 * self.tick_s:.0f} | {lag} | {self.rss_mib:.0f} |"
        )


def _queries(sizes: list[int]) -> str:
    return f"{len(sizes)} | {max(sizes) / 1e3:.0f} / {sum(sizes) / 1e3:.0f}"


def loaded(count: int, url: str) -> LoadedConfig:
    """The configuration of a planner of so many services."""
    services = "".join(f'  {name}: {{metrics: {{match: "namespace={name}"}}}}\n' for name in names(count))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "planner.yaml"
        file.write_text(CONFIG.format(url=url) + services)
        return load_config(file, {}, {})


def names(count: int) -> list[str]:
    """Of services and their namespaces."""
    return [f"s{number:04d}" for number in range(count)]


async def round_s(source: Source, count: int) -> float:
    """Ask for all services at once, and see that each is known."""
    begun_s = time.perf_counter()
    samples = await asyncio.gather(*map(source.collect, names(count)))
    spent_s = time.perf_counter() - begun_s
    for each in samples:
        assert isinstance(each.rate_per_s, Sample), each
        assert each.good_share.status == "sample", each
    return spent_s


async def counted(count: int, address: str) -> tuple[list[int], list[int]]:
    """The sizes of the answers of a round that looks, and of one that does not."""
    async with relayed(address) as (relay, connections):
        source = Sources(loaded(count, f"http://{relay}").config.services, WallClock())
        await round_s(source, count)
        looking = [size for sizes in connections for size in sizes]
        before = [len(sizes) for sizes in connections]
        await asyncio.sleep(APART_S)
        await round_s(source, count)
        await source.close()
        before += [0] * (len(connections) - len(before))
        return looking, [size for sizes, old in zip(connections, before, strict=True) for size in sizes[old:]]


async def watched(count: int, address: str, ticks: int) -> Row:
    """Rounds by themselves, then the loop for some ticks."""
    looking, later = await counted(count, address)
    config, clock = loaded(count, f"http://{address}"), WallClock()
    source = Sources(config.config.services, clock)
    rounds_s = []
    for _ in range(ROUNDS):
        rounds_s.append(await round_s(source, count))
        await asyncio.sleep(APART_S)
    settings = build_settings(config)
    loop = ControlLoop(settings, source, MadeUp(settings, clock), clock)
    running = asyncio.create_task(loop.run())
    async with lags_s() as late_s:
        while loop.desk.ticks < ticks:
            await asyncio.sleep(0.5)
    loop.stop()
    await running
    tick_s = loop.desk.totals().tick_s or 0.0
    return Row(count, looking, later, rounds_s, tick_s, sorted(late_s), rss_mib())


def in_a_process(count: int, address: str, ticks: int) -> Row:
    """What a fresh process is to do."""
    return asyncio.run(watched(count, address, ticks))


def about(url: str) -> str:
    """A sentence about a Prometheus."""
    own = dict(re.findall(r"^(\w+) (\S+)$", fetched(f"{url}/metrics"), re.MULTILINE))
    version = json.loads(fetched(f"{url}/api/v1/status/buildinfo"))["data"]["version"]
    series, resident = float(own["prometheus_tsdb_head_series"]), float(own["process_resident_memory_bytes"])
    return f"Prometheus {version} holds {series:,.0f} series in {resident / MIB:.0f} MiB."


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="prometheus", help="the program (default: the one on the path)")
    parser.add_argument("--services", default="1,10,100,1000", help="how many are watched (default %(default)s)")
    parser.add_argument("--ticks", type=int, default=3, help="of the loop (default %(default)s)")
    arguments = parser.parse_args()
    if shutil.which(arguments.prometheus) is None:
        print(f"left out: there is no {arguments.prometheus}; name one with --prometheus", file=sys.stderr)
        return
    exporter = f"127.0.0.1:{free_port()}"
    targets = [
        Target(exporter, f"/{name}/{pod}", {"namespace": name, "pod": f"{name}-{pod}"})
        for name in names(SERVICES)
        for pod in range(PODS)
    ]
    command: list[str | Path] = [sys.executable, Path(__file__).parent / "rig/fleet.py", exporter.partition(":")[2]]
    with tempfile.TemporaryDirectory() as name, serving(
        command, f"http://{exporter}/s0000/0", Path(name) / "fleet.log", patience_s=10
    ), prometheus(arguments.prometheus, Path(name), targets, scrape_s=SCRAPE_S) as url:  # fmt: skip
        # A window full of scrapes.
        time.sleep(WINDOW_S + 2 * SCRAPE_S)
        print(f"{about(url)}\n")
        print(HEADING)
        for count in (int(text) for text in arguments.services.split(",")):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
                print(
                    fresh.submit(in_a_process, count, url.removeprefix("http://"), arguments.ticks).result(), flush=True
                )


if __name__ == "__main__":
    main()
