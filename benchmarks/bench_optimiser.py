"""What one decision about a step costs: the default optimiser and the published one, on the same requests.

    python benchmarks/bench_optimiser.py [--decisions N]

Coefficients are those of a small model on a CPU, which make targets bind as they do on a GPU: what matters here is how
many requests there are and how many of them fit. Prompts, ages and contexts differ from decision to decision. Two
targets: one that binds after a few chunks, and one so loose that everything is granted that the engine allows.
`gather` is the way from single requests to what the optimiser is told, which an adapter does as it walks its list.
Shown are p50 / p99 / most, of the thread's own CPU time, and of wall time, which on a machine with other work shows
mostly that work. Aim: p99 at most 100 us for the default. The published search has its published limits (32 requests,
1 ms), and besides 288 and 1 s, since with the former it plans nothing when more than 32 run.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.engine.buffer import SampleBuffer
from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.types import FEATURES, Phase, Range, Seen
from planner.engine.optimise.decide import decide
from planner.engine.optimise.published import PublishedConfig, RealSchedulerOptimizer
from planner.engine.optimise.requests import EngineRequest, gather
from planner.engine.optimise.types import Limits, Work
from planner.engine.settings import SLASchedulerConfig
from planner.engine.step import Step

EVERYTHING = {feature: Range(0, 1e9) for feature in FEATURES}
SEEN = Seen({"decode": 1000, "mixed": 1000}, {"decode": EVERYTHING, "mixed": EVERYTHING})
LINEAR = LinearPhysical(5.4, 0.0212, 0.002, 0.0000081, 0.0000157, SEEN)
SATURATION = Saturation(50, 1, 1, 0.1, 250, 5, 0.5, 0.001, 128, 512, SEEN)
MARGINS: dict[Phase, float] = {"decode": 1.1, "mixed": 1.1}
LIMITS = Limits(tokens=8192, requests=288)


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests of each kind."""

    decodes: int
    prefills: int
    waiting: int


LOADS = (Load(24, 8, 32), Load(56, 8, 200), Load(200, 56, 1000))


def requests(load: Load, chance: random.Random) -> tuple[list[EngineRequest], list[EngineRequest]]:
    """Running, decodes and prefills mixed, and waiting ones."""

    def decode(i: int) -> EngineRequest:
        prompt, done = chance.randint(50, 4000), chance.randint(1, 400)
        return EngineRequest(f"d{i}", prompt, prompt + done, prompt + done - 1)

    def prefill(i: int) -> EngineRequest:
        prompt = chance.randint(50, 4000)
        age_ms, held = chance.uniform(0, 600), chance.randint(0, 10)
        return EngineRequest(f"p{i}", prompt, prompt, chance.randint(0, prompt - 1), age_ms=age_ms, held_steps=held)

    def wait(i: int) -> EngineRequest:
        prompt = chance.randint(50, 4000)
        return EngineRequest(f"w{i}", prompt, prompt, age_ms=chance.uniform(0, 400))

    running = [*map(decode, range(load.decodes)), *map(prefill, range(load.prefills))]
    chance.shuffle(running)
    return running, [wait(i) for i in range(load.waiting)]


def spent_us(calls: Sequence[Callable[[], object]], clock_ns: Callable[[], int]) -> str:
    """p50, p99 and the most of the calls, in microseconds; the first tenth warms up and is not counted."""
    spent = []
    for call in calls:
        begun = clock_ns()
        call()
        spent.append((clock_ns() - begun) / 1e3)
    spent = sorted(spent[len(spent) // 10 :])
    at = [spent[min(len(spent) - 1, int(share * len(spent)))] for share in (0.5, 0.99, 1.0)]
    return " / ".join(f"{each:.0f}" for each in at)


def row(load: Load, slo_ms: float, what: str, calls: Sequence[Callable[[], object]]) -> None:
    """Print one row of the table."""
    cpu, wall = spent_us(calls, time.thread_time_ns), spent_us(calls, time.perf_counter_ns)
    print(f"| {load.decodes} + {load.prefills} | {load.waiting} | {slo_ms:.0f} | {what} | {cpu} | {wall} |")


def measure(load: Load, slo_ms: float, decisions: int) -> None:
    """Rows for one load and one agreement."""
    chance = random.Random(0)
    config = SLASchedulerConfig(slo_tpot_ms=slo_ms)
    cases = [requests(load, chance) for _ in range(min(decisions, 50))]
    works = [gather(running, waiting, len(waiting), config) for running, waiting in cases]

    # As engines do: what lives long is not searched for garbage at every decision.
    gc.collect()
    gc.freeze()

    def planned(work: Work) -> Callable[[], object]:
        return lambda: decide(LINEAR, work, LIMITS, MARGINS, config)

    def gathered(running: list[EngineRequest], waiting: list[EngineRequest]) -> Callable[[], object]:
        def call() -> object:
            work = gather(running, waiting, len(waiting), config)
            return decide(LINEAR, work, LIMITS, MARGINS, config)

        return call

    def searched(running: list[EngineRequest], waiting: list[EngineRequest], widest: bool) -> Callable[[], object]:
        search, timeout_ms = (288, 1000.0) if widest else (32, 1.0)
        limits = PublishedConfig(LIMITS.tokens, LIMITS.requests, 0, search, timeout_ms)
        optimizer = RealSchedulerOptimizer(SATURATION, limits)
        return lambda: optimizer.optimize_schedule(running, waiting, slo_ms)

    times = range(decisions)
    row(load, slo_ms, "default", [planned(works[i % len(works)]) for i in times])
    row(load, slo_ms, "default with gather", [gathered(*cases[i % len(cases)]) for i in times])
    row(load, slo_ms, "published", [searched(*cases[i % len(cases)], False) for i in times])
    few = range(min(decisions, 300))
    row(load, slo_ms, "published, search 288, 1 s", [searched(*cases[i % len(cases)], True) for i in few])


def kept_bytes() -> tuple[int, int]:
    """What one decision at the largest load keeps at its peak, and what a full sample buffer keeps."""
    config = SLASchedulerConfig()
    running, waiting = requests(LOADS[-1], random.Random(0))
    work = gather(running, waiting, len(waiting), config)
    tracemalloc.start()
    decide(LINEAR, work, LIMITS, MARGINS, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tracemalloc.start()
    buffer = SampleBuffer(config.buffer_size)
    for i in range(2 * config.buffer_size):
        buffer.add(Step(1, 1 + i % 4096, i % 2, i % 2, 100, i % 2), 10.0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak, kept


def main() -> None:
    """Print the table, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=2000, help="decisions per figure (default 2000)")
    decisions = parser.parse_args().decisions
    print("| decodes + prefills | waiting | TPOT ms | optimiser | CPU us | wall us |\n|---|---|---|---|---|---|")
    for load in LOADS:
        for slo_ms in (50.0, 1000.0):
            measure(load, slo_ms, decisions)
    peak, kept = kept_bytes()
    print(f"\nA decision of the default takes {peak / 1024:.0f} KiB; a full sample buffer {kept / 1024:.0f} KiB.")


if __name__ == "__main__":
    main()
