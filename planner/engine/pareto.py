"""Choosing among schedules for several targets: none that another beats in both, then by weighted sum.

Published with the inverse optimiser, which leaves the scale open. Here latency (ms) and throughput (tokens per ms) are
each scaled to 0..1 over the schedules that none beats, so that the weights are free of units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

TARGETS_MS = (20.0, 30.0, 40.0, 50.0)
"""Published."""


class Scheduled(Protocol):
    """What is compared of a schedule."""

    @property
    def predicted_ms(self) -> float:
        """How long its step takes."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens it computes."""
        ...


S = TypeVar("S", bound=Scheduled)


def for_targets(optimise: Callable[[float], S], targets_ms: Sequence[float] = TARGETS_MS) -> tuple[S, ...]:
    """One schedule for each target."""
    return tuple(map(optimise, targets_ms))


def pareto_optimal(schedules: Sequence[S]) -> tuple[S, ...]:
    """Those that no other beats: as fast with more throughput, or as much throughput faster; of equals the first."""
    best: list[S] = []
    for schedule in sorted(schedules, key=lambda each: (each.predicted_ms, -_tokens_per_ms(each))):
        if not best or _tokens_per_ms(schedule) > _tokens_per_ms(best[-1]):
            best.append(schedule)
    return tuple(best)


def choose_pareto_optimal(
    schedules: Sequence[S], latency_weight: float = 0.7, throughput_weight: float = 0.3
) -> S | None:
    """The schedule with the largest weighted sum of speed and throughput, the faster of equals; None without any."""
    best = pareto_optimal(schedules)
    if not best:
        return None
    # Sorted by both at once, the first is fastest and the last has most throughput.
    fastest, most = best[0], best[-1]
    latency_ms = most.predicted_ms - fastest.predicted_ms
    throughput = _tokens_per_ms(most) - _tokens_per_ms(fastest)

    def score(schedule: S) -> float:
        if len(best) == 1:
            return 0.0
        speed = (most.predicted_ms - schedule.predicted_ms) / latency_ms
        gain = (_tokens_per_ms(schedule) - _tokens_per_ms(fastest)) / throughput
        return latency_weight * speed + throughput_weight * gain

    return max(best, key=score)


def _tokens_per_ms(schedule: Scheduled) -> float:
    return schedule.tokens / schedule.predicted_ms if schedule.predicted_ms > 0 else 0.0
