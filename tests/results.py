"""Results made up for tests of what is written about them: round numbers, each overridable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.scaling.types import Role
from planner.sim.baselines.contenders import Variation
from planner.sim.compare import Moment, Played
from planner.sim.ledger import Little, Outcome, Quantiles
from planner.sim.pool import PoolCounts
from planner.sim.run import Result
from planner.sim.stage import ServiceResult, TickRow
from planner.slo.attainment import Attainment

LATENCIES = Quantiles(0.05, 0.1, 1.25)

ROW = TickRow(
    at_s=30.0, rate_per_s=10.0, good_share=1.0, ttft_p95_s=0.1, itl_p95_s=0.01,
    pools={Role.PREFILL: PoolCounts(1, 1, 0, 0, 0, 0, 0), Role.DECODE: PoolCounts(1, 1, 0, 0, 0, 0, 0)},
    held_gpus=2, order={}, reasons=(),
)  # fmt: skip
"""A quiet tick of one prefill and one decode replica that nobody scales."""

MOMENT = Moment(10.0, 0.05, 0.008, None)


def outcome(met: int = 950, missed: int = 50, **fields: Any) -> Outcome:
    """Everything judged has finished."""
    total = met + missed
    latencies = LATENCIES if total else None
    made = Outcome(
        arrived=total, finished=total, refused=0, lost=0, in_flight=0, preemptions=0,
        attainment=Attainment(met=met, missed=missed), good_share=met / total if total else None,
        ttft_s=latencies, itl_s=latencies, little=Little(5.0, 2.5, 2.0),
    )  # fmt: skip
    return replace(made, **fields)


def service_result(met: int = 950, missed: int = 50, *, gpu_hours: float = 2.0, **fields: Any) -> ServiceResult:
    """One quiet tick and no action."""
    return replace(ServiceResult(outcome(met, missed), gpu_hours, (), (ROW,)), **fields)


def result_of(services: Mapping[str, ServiceResult]) -> Result:
    """An hour with a tick every half minute."""
    return Result(seed=0, duration_s=3600.0, interval_s=30.0, peak_gpus=4, services=services)


def played_services(name: str, services: Mapping[str, ServiceResult], **variation: Any) -> Played:
    """A run of several services; the metrics always say the same."""
    moments = {each: (MOMENT,) * len(result.timeline) for each, result in services.items()}
    return Played(name, Variation(**variation), result_of(services), moments)


def played(name: str, met: int = 950, missed: int = 50, *, gpu_hours: float = 2.0, **variation: Any) -> Played:
    """A run of one service, `chat`."""
    return played_services(name, {"chat": service_result(met, missed, gpu_hours=gpu_hours)}, **variation)
