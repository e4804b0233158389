"""Correction factors: what this hardware takes over what the profile says.

The expected latency is what the model predicts at the *present* replicas and load, waiting included, so that a factor
means "the hardware differs from the profile" and not "the fleet is overloaded". A ratio counts only when

- both latency and load are valid, and at least `min_requests` came in the window;
- no pool is rolling out or starting, so the replicas observed are the replicas modelled;
- the predicted utilisation is at most `max_utilisation`; beyond it waiting dominates, and the ratio is about load.

Ratios are clamped, then enter an exponentially weighted mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.settings import CorrectionSettings, ServiceSettings
from planner.scaling.size.predict import Prediction, predict_itl, predict_ttft
from planner.scaling.size.types import Factors
from planner.scaling.types import Demand, Observation, Role


@dataclass(frozen=True, slots=True)
class Correction:
    """The factors in force, and what became of this tick's latencies."""

    factors: Factors
    ttft_note: str
    itl_note: str


def correct(factors: Factors, observation: Observation, present: Demand, service: ServiceSettings) -> Correction:
    """New factors from one observation; `present` is the demand at the observed rate, not the forecast."""
    if not service.correction.enabled:
        return Correction(Factors(), "correction is off", "correction is off")
    blocked = _blocked(observation, service.correction)
    if blocked is not None:
        return Correction(factors, blocked, blocked)
    ready = {
        role: pool.replicas.value.ready
        for role, pool in observation.pools.items()
        if not isinstance(pool.replicas, Missing)
    }
    ttft_role = Role.AGGREGATED if Role.AGGREGATED in service.pools else Role.PREFILL
    itl_role = Role.AGGREGATED if Role.AGGREGATED in service.pools else Role.DECODE
    ttft, ttft_note = factors.ttft, "no Ready replica"
    itl, itl_note = factors.itl, "no Ready replica"
    if ready[ttft_role] > 0:
        expected = predict_ttft(present, ready[ttft_role], ttft_role, service)
        ttft, ttft_note = _moved(factors.ttft, observation.ttft_s, expected, service.correction)
    if ready[itl_role] > 0:
        expected = predict_itl(present, ready[itl_role], itl_role, service)
        itl, itl_note = _moved(factors.itl, observation.itl_s, expected, service.correction)
    return Correction(Factors(ttft, itl), ttft_note, itl_note)


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


def _moved(
    factor: float, observed: Reading[float], expected: Prediction, settings: CorrectionSettings
) -> tuple[float, str]:
    if not isinstance(observed, Valid):
        return factor, f"kept: the latency is {observed.status} ({observed.cause})"
    if expected.utilisation > settings.max_utilisation:
        return factor, f"kept: predicted utilisation {expected.utilisation:.0%} says more of load than of hardware"
    ratio = observed.value / expected.latency_s
    clamped = min(max(ratio, settings.lowest), settings.highest)
    moved = factor + settings.smoothing * (clamped - factor)
    note = f"observed {observed.value * 1e3:.1f} ms, expected {expected.latency_s * 1e3:.1f} ms, ratio {ratio:.2f}"
    return moved, note if clamped == ratio else f"{note}, clamped to {clamped:g}"
