"""What one tick costs: one service, and a thousand under one budget.

    python benchmarks/bench_tick.py [--ticks N]

Each service has four hours of its own history at 30 s, a load that moves, and 8 replicas. The first ticks estimate the
models' parameters and are shown apart; so does one tick in every sixteenth of the history. Aim: 1 ms for one service,
1 s for 1,000.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

from planner.config import build_settings, load_config
from planner.scaling.demand import DemandPoint
from planner.scaling.forecast import build
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.state import PlannerState, ServiceState
from planner.scaling.tick import tick
from planner.scaling.types import PoolSamples, Role, Sample, ServiceSamples

INTERVAL_S = 30.0
POINTS = 480
START = {"sla.isl": 3000, "sla.osl": 150, "sla.ttft": 500, "sla.itl": 50, "budget.gpus": 100_000,
         "profile": "h200-llama-3.1-8b-fp8-tp1"}  # fmt: skip


def settings(services: int, forecaster: str) -> PlannerSettings:
    """`services` alike, each with its own name and forecaster."""
    base = build_settings(load_config(None, {}, START | {"forecast.model": forecaster}))
    (service,) = base.services.values()
    named: dict[str, ServiceSettings] = {
        f"s{i}": replace(service, name=f"s{i}", forecaster=build(forecaster, INTERVAL_S)) for i in range(services)
    }
    return PlannerSettings(named, base.budget_gpus)


def rate_per_s(service: int, i: int) -> float:
    """A load of the service's own that moves every tick, so that nothing is computed twice."""
    return 40 + 20 * (((service + i) * 7919) % 101) / 101 + service % 17 + i / 50


def state(planner: PlannerSettings) -> PlannerState:
    """Four hours of history for every service."""

    def history(service: int) -> tuple[DemandPoint, ...]:
        return tuple(DemandPoint(INTERVAL_S * i, rate_per_s(service, i), 3000, 150, 0.5) for i in range(POINTS))

    services = enumerate(planner.services)
    return PlannerState({name: ServiceState(started_s=0, history=history(n)) for n, name in services})


def samples(service: int, i: int) -> ServiceSamples:
    """Eight replicas a pool, all heard."""
    at_s = INTERVAL_S * i

    def s(value: float) -> Sample:
        return Sample(value, at_s)

    pool = PoolSamples(
        wanted=s(8), ready=s(8), starting=s(0), pending=s(0), draining=s(0), rolling_out=s(0), reporting=s(8),
        waiting=s(1), running=s(20),
    )  # fmt: skip
    return ServiceSamples(
        window_s=INTERVAL_S, rate_per_s=s(rate_per_s(service, i)), isl_tokens=s(3000), osl_tokens=s(150),
        isl_cv2=s(0.5), ttft_s=s(0.08), queue_s=s(0.01), itl_s=s(0.01), pools={Role.PREFILL: pool, Role.DECODE: pool},
    )  # fmt: skip


def measure(services: int, forecaster: str, ticks: int) -> list[float]:
    """Milliseconds per tick, the first of which estimates the model's parameters."""
    planner = settings(services, forecaster)
    current, spent = state(planner), []
    for i in range(POINTS, POINTS + ticks):
        came_in = {name: samples(n, i) for n, name in enumerate(planner.services)}
        begun = time.perf_counter()
        current, _ = tick(current, came_in, planner, INTERVAL_S * i)
        spent.append(1e3 * (time.perf_counter() - begun))
    return spent


def main() -> None:
    """Print a table of tick times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=100, help="ticks per row with one service (default 100)")
    ticks = parser.parse_args().ticks
    print("| services | forecaster | first ms | median ms | p95 ms | max ms |\n|---|---|---|---|---|---|")
    for services, forecaster, count in (
        (1, "constant", ticks), (1, "kalman", ticks), (1, "arima", ticks), (1000, "constant", 6), (1000, "kalman", 6),
    ):  # fmt: skip
        first, *rest = measure(services, forecaster, count)
        rest.sort()
        p95 = rest[min(len(rest) - 1, round(0.95 * len(rest)))]
        print(
            f"| {services} | {forecaster} | {first:.1f} | {statistics.median(rest):.2f} | {p95:.2f} | {rest[-1]:.2f} |"
        )


if __name__ == "__main__":
    main()
