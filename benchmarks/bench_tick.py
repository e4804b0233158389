"""What one tick costs: one service, and a thousand under one budget.

    python benchmarks/bench_tick.py [--ticks N]

Each service has a history of four hours at 30 s, a load that moves, and 8 replicas. Aim: 1 ms for one, 1 s for 1,000.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

from planner.config import build_settings, load_config
from planner.scaling.demand import DemandPoint
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.state import PlannerState, ServiceState
from planner.scaling.tick import tick
from planner.scaling.types import PoolSamples, Role, Sample, ServiceSamples

INTERVAL_S = 30.0
POINTS = 480
START = {"sla.isl": 3000, "sla.osl": 150, "sla.ttft": 500, "sla.itl": 50, "budget.gpus": 100_000,
         "profile": "h200-llama-3.1-8b-fp8-tp1"}  # fmt: skip


def settings(services: int, forecaster: str) -> PlannerSettings:
    """`services` alike, each under its own name."""
    base = build_settings(load_config(None, {}, START | {"forecast.model": forecaster}))
    (service,) = base.services.values()
    named: dict[str, ServiceSettings] = {f"s{i}": replace(service, name=f"s{i}") for i in range(services)}
    return PlannerSettings(named, base.budget_gpus)


def rate_per_s(i: int) -> float:
    """A load that moves every tick, so that nothing is decided twice."""
    return 40 + 20 * ((i * 7919) % 101) / 101 + i / 50


def state(planner: PlannerSettings) -> PlannerState:
    """Four hours of history for every service."""
    history = tuple(DemandPoint(INTERVAL_S * i, rate_per_s(i), 3000, 150, 0.5) for i in range(POINTS))
    return PlannerState({name: ServiceState(started_s=0, history=history) for name in planner.services})


def samples(at_s: float, i: int) -> ServiceSamples:
    """Eight replicas a pool, all heard."""

    def s(value: float) -> Sample:
        return Sample(value, at_s)

    pool = PoolSamples(
        wanted=s(8), ready=s(8), starting=s(0), pending=s(0), draining=s(0), rolling_out=s(0), reporting=s(8),
        waiting=s(1), running=s(20),
    )  # fmt: skip
    return ServiceSamples(
        window_s=INTERVAL_S, rate_per_s=s(rate_per_s(i)), isl_tokens=s(3000), osl_tokens=s(150), isl_cv2=s(0.5),
        ttft_s=s(0.08), itl_s=s(0.01), pools={Role.PREFILL: pool, Role.DECODE: pool},
    )  # fmt: skip


def measure(services: int, forecaster: str, ticks: int) -> list[float]:
    """Seconds per tick."""
    planner = settings(services, forecaster)
    current, spent = state(planner), []
    for i in range(POINTS, POINTS + ticks):
        seen = samples(INTERVAL_S * i, i)
        came_in = dict.fromkeys(planner.services, seen)
        begun = time.perf_counter()
        current, _ = tick(current, came_in, planner, INTERVAL_S * i)
        spent.append(time.perf_counter() - begun)
    return spent


def main() -> None:
    """Print a table of tick times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=100, help="ticks per row with one service (default 100)")
    ticks = parser.parse_args().ticks
    print("| services | forecaster | median ms | p95 ms | max ms |\n|---|---|---|---|---|")
    for services, forecaster, count in (
        (1, "constant", ticks), (1, "kalman", ticks), (1, "arima", ticks), (1000, "constant", 3), (1000, "kalman", 3),
    ):  # fmt: skip
        spent = sorted(1e3 * seconds for seconds in measure(services, forecaster, count))
        p95 = spent[min(len(spent) - 1, round(0.95 * len(spent)))]
        print(f"| {services} | {forecaster} | {statistics.median(spent):.2f} | {p95:.2f} | {spent[-1]:.2f} |")


if __name__ == "__main__":
    main()
