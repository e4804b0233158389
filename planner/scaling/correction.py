"""Correction factors: what this hardware takes over what the profile says.

A factor must mean "the hardware differs from the profile" and not "the fleet is overloaded" or "requests come in
clumps". So what is compared is the time at the engine: TTFT less the time in the queue, where the engine publishes it.
Where it does not, the expected TTFT includes the wait that the model predicts at the *present* replicas and load, and a
ratio counts only up to `max_utilisation`; beyond it waiting dominates. ITL has no queue, but is bounded likewise.

A ratio counts only when latency and load are valid, at least `min_requests` came in the window, and no pool is rolling
out or starting, so that the replicas observed are the replicas modelled. Ratios are clamped, then enter an
exponentially weighted mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.scaling.burstiness import Burstiness, learn
from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.settings import CorrectionSettings, ServiceSettings
from planner.scaling.size.predict import Prediction, predict_itl, predict_ttft
from planner.scaling.size.types import Factors
from planner.scaling.types import Demand, Observation


@dataclass(frozen=True, slots=True)
class Correction:
    """What has been learnt of hardware and arrivals, and what became of this tick's latencies."""

    factors: Factors
    burstiness: Burstiness
    ttft_note: str
    itl_note: str
    arrival_note: str


def correct(
    factors: Factors, known: Burstiness, observation: Observation, present: Demand, service: ServiceSettings
) -> Correction:
    """What one observation teaches; `present` is the demand at the observed rate, not the forecast."""
    if not service.correction.enabled:
        off = "correction is off"
        return Correction(Factors(), Burstiness(service.sizing.arrival_cv2), off, off, off)
    corrected, ttft_note, itl_note = _corrected(factors, observation, present, service)
    burstiness, arrival_note = learn(known, observation, present, corrected.ttft, service)
    return Correction(corrected, burstiness, ttft_note, itl_note, arrival_note)


def _corrected(
    factors: Factors, observation: Observation, present: Demand, service: ServiceSettings
) -> tuple[Factors, str, str]:
    blocked = _blocked(observation, service.correction)
    if blocked is not None:
        return factors, blocked, blocked
    ready = {
        role: pool.replicas.value.ready
        for role, pool in observation.pools.items()
        if not isinstance(pool.replicas, Missing)
    }
    ttft_role, itl_role = service.prefill_role, service.decode_role
    ttft, ttft_note = factors.ttft, "no Ready replica"
    itl, itl_note = factors.itl, "no Ready replica"
    if ready[ttft_role] > 0:
        expected = predict_ttft(present, ready[ttft_role], ttft_role, service)
        at_engine = _at_engine(observation)
        if at_engine is not None:
            expected = replace(expected, wait_s=0.0, utilisation=0.0)
        ttft, ttft_note = _moved(factors.ttft, at_engine or observation.ttft_s, expected, service.correction)
    if ready[itl_role] > 0:
        expected = predict_itl(present, ready[itl_role], itl_role, service)
        itl, itl_note = _moved(factors.itl, observation.itl_s, expected, service.correction)
    return Factors(ttft, itl), ttft_note, itl_note


def _blocked(observation: Observation, settings: CorrectionSettings) -> str | None:
    """Why nothing can be learnt from this observation; None when something can."""
    rate = observation.rate_per_s
    if not isinstance(rate, Valid):
        return f"kept: the load is {rate.status} ({rate.cause})"
    requests = rate.value * observation.window_s
    if requests < settings.min_requests:
        return f"kept: {requests:.0f} requests in the window, {settings.min_requests:.0f} needed"
    for role, pool in observation.pools.items():
        replicas = pool.replicas
        if not isinstance(replicas, Valid):
            return f"kept: the {role} replicas are {replicas.status} ({replicas.cause})"
        if replicas.value.rolling_out or replicas.value.starting:
            return f"kept: {role} replicas are changing"
    return None


def _at_engine(observation: Observation) -> Reading[float] | None:
    """TTFT less the time in the queue; None when the engine does not publish that."""
    ttft, queue = observation.ttft_s, observation.queue_s
    if isinstance(queue, Missing):
        return None
    if not (isinstance(ttft, Valid) and isinstance(queue, Valid)):
        return queue if isinstance(ttft, Valid) else ttft
    if queue.value >= ttft.value:
        return Missing(f"the time in the queue, {queue.value:.3f} s, is no less than TTFT, {ttft.value:.3f} s")
    return Valid(ttft.value - queue.value, ttft.at_s)


def _moved(
    factor: float, observed: Reading[float], expected: Prediction, settings: CorrectionSettings
) -> tuple[float, str]:
    if not isinstance(observed, Valid):
        return factor, f"kept: the latency is {observed.status} ({observed.cause})"
    if expected.utilisation > settings.max_utilisation or math.isinf(expected.latency_s):
        return factor, f"kept: predicted utilisation {expected.utilisation:.0%} says more of load than of hardware"
    ratio = observed.value / expected.latency_s
    clamped = min(max(ratio, settings.lowest), settings.highest)
    moved = factor + settings.smoothing * (clamped - factor)
    note = f"observed {observed.value * 1e3:.1f} ms, expected {expected.latency_s * 1e3:.1f} ms, ratio {ratio:.2f}"
    return moved, note if clamped == ratio else f"{note}, clamped to {clamped:g}"
