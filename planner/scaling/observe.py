"""From raw samples to an `Observation` whose every field says whether it may be believed.

No arithmetic here ever turns a missing value into a number. What a pattern of series means:

==================  ============  =================  =======================================================
replicas reporting  arrival rate  waiting + running  reading of the load
==================  ============  =================  =======================================================
all Ready ones      > 0           any                valid
all Ready ones      0             0                  valid: idle
all Ready ones      0             > 0 or unknown     stale: stalled, or long requests; never lowers the fleet
some Ready ones     any           any                stale: a lower bound; may raise, never lowers
none                any           any                missing
==================  ============  =================  =======================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from planner.scaling.reading import Missing, Reading, Stale, Valid
from planner.scaling.settings import ObserveSettings
from planner.scaling.types import (
    Absent,
    Observation,
    PoolObservation,
    PoolSamples,
    Replicas,
    Role,
    Sampled,
    ServiceSamples,
)

T = TypeVar("T")


def observe(samples: ServiceSamples, settings: ObserveSettings, now_s: float) -> Observation:
    """Judge every sample at `now_s`; `samples` that cover only part of the fleet become stale readings."""

    def read(sampled: Sampled) -> Reading[float]:
        return _read(sampled, settings.max_age_s, now_s)

    judged = {role: _pool(pool, read_at=(settings.max_age_s, now_s)) for role, pool in samples.pools.items()}
    pools = {role: replace(pool.observation, starts=samples.starts.get(role)) for role, pool in judged.items()}
    coverage = _worst(judged)

    def covered(sampled: Sampled) -> Reading[float]:
        reading = read(sampled)
        return reading if coverage is None else _downgrade(reading, coverage)

    return Observation(
        at_s=now_s,
        window_s=samples.window_s,
        rate_per_s=_contradicted(covered(samples.rate_per_s), pools),
        isl_tokens=_positive(covered(samples.isl_tokens)),
        osl_tokens=_positive(covered(samples.osl_tokens)),
        isl_cv2=covered(samples.isl_cv2),
        ttft_s=_positive(covered(samples.ttft_s)),
        queue_s=covered(samples.queue_s),
        itl_s=_positive(covered(samples.itl_s)),
        pools=pools,
    )


@dataclass(frozen=True, slots=True)
class _Coverage:
    """Not every Ready replica was heard."""

    cause: str
    nothing: bool


@dataclass(frozen=True, slots=True)
class _JudgedPool:
    observation: PoolObservation
    coverage: _Coverage | None


def _read(sampled: Sampled, max_age_s: float, now_s: float) -> Reading[float]:
    if isinstance(sampled, Absent):
        return Missing(sampled.cause)
    if not math.isfinite(sampled.value):
        return Missing(f"the sample is {sampled.value}")
    if sampled.value < 0:
        return Missing(f"the sample is negative: {sampled.value}")
    age_s = now_s - sampled.at_s
    if abs(age_s) > max_age_s:
        when = f"{age_s:.0f} s old" if age_s > 0 else f"{-age_s:.0f} s ahead of this clock"
        return Stale(sampled.value, sampled.at_s, f"{when}, believed for {max_age_s:.0f} s")
    return Valid(sampled.value, sampled.at_s)


def _pool(samples: PoolSamples, read_at: tuple[float, float]) -> _JudgedPool:
    replicas = _replicas(samples, *read_at)
    coverage = _coverage(replicas, _read(samples.reporting, *read_at))
    waiting, running = _read(samples.waiting, *read_at), _read(samples.running, *read_at)
    if coverage is not None:
        waiting, running = _downgrade(waiting, coverage), _downgrade(running, coverage)
    return _JudgedPool(PoolObservation(replicas, waiting, running), coverage)


_COUNTS = ("wanted", "ready", "starting", "pending", "draining", "rolling_out")


def _replicas(samples: PoolSamples, max_age_s: float, now_s: float) -> Reading[Replicas]:
    """All counts come from one read of the target: one that is missing makes the whole missing."""
    counts: dict[str, int] = {}
    stale: Stale[float] | None = None
    for name in _COUNTS:
        reading = _read(getattr(samples, name), max_age_s, now_s)
        if isinstance(reading, Missing):
            return Missing(f"{name}: {reading.cause}")
        if isinstance(reading, Stale):
            stale = reading
        counts[name] = round(reading.value)
    rolling_out = bool(counts.pop("rolling_out"))
    failing = _read(samples.failing, max_age_s, now_s)
    pending_go_first = _read(samples.pending_go_first, max_age_s, now_s)
    replicas = Replicas(
        **counts,
        rolling_out=rolling_out,
        failing=round(failing.value) if isinstance(failing, Valid) else None,
        pending_go_first=isinstance(pending_go_first, Valid) and pending_go_first.value > 0,
    )
    at_s = samples.wanted.at_s if not isinstance(samples.wanted, Absent) else now_s
    return Valid(replicas, at_s) if stale is None else Stale(replicas, stale.at_s, stale.cause)


def _coverage(replicas: Reading[Replicas], reporting: Reading[float]) -> _Coverage | None:
    if isinstance(replicas, Missing):
        return _Coverage("the Ready replicas are unknown, so is their coverage", nothing=False)
    ready = replicas.value.ready
    if not isinstance(reporting, Valid):
        return _Coverage(f"the reporting replicas are unknown ({reporting.cause})", nothing=False)
    if reporting.value >= ready:
        return None
    return _Coverage(f"{reporting.value:.0f} of {ready} Ready replicas report", nothing=reporting.value == 0)


def _worst(judged: Mapping[Role, _JudgedPool]) -> _Coverage | None:
    """The coverage that decides: a pool of which nothing is heard outweighs one heard in part."""
    gaps = [
        replace(pool.coverage, cause=f"{role}: {pool.coverage.cause}")
        for role, pool in judged.items()
        if pool.coverage is not None
    ]
    return max(gaps, key=lambda gap: gap.nothing, default=None)


def _downgrade(reading: Reading[T], coverage: _Coverage) -> Reading[T]:
    if isinstance(reading, Missing):
        return reading
    if coverage.nothing:
        return Missing(coverage.cause)
    return Stale(reading.value, reading.at_s, coverage.cause)


def _contradicted(rate: Reading[float], pools: Mapping[Role, PoolObservation]) -> Reading[float]:
    """A rate of zero is believed only when nothing waits or runs; else the fleet is stalled, not idle."""
    if not isinstance(rate, Valid) or rate.value > 0:
        return rate
    in_system = 0.0
    for role, pool in pools.items():
        for name, gauge in (("waiting", pool.waiting), ("running", pool.running)):
            if isinstance(gauge, Missing):
                return Stale(0.0, rate.at_s, f"no arrivals, and {role} {name} is unknown ({gauge.cause})")
            in_system += gauge.value
    if in_system > 0:
        return Stale(0.0, rate.at_s, f"no arrivals while {in_system:.0f} requests are in the system")
    return rate


def _positive(reading: Reading[float]) -> Reading[float]:
    """Lengths and latencies of zero are no measurement."""
    if not isinstance(reading, Missing) and reading.value == 0:
        return Missing("the sample is 0")
    return reading
