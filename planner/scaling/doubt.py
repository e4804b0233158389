"""Whether an observation is good enough to lower a fleet on.

Raising on half a picture costs money; lowering on it costs the agreement. So every reading that would have raised the
wish must be valid before a pool is lowered. In an idle window (a valid rate of 0) lengths and latencies do not exist
and are not asked for; latencies matter only while they correct the profile.
"""

from __future__ import annotations

from planner.scaling.demand import DemandPoint
from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.settings import CorrectionSettings
from planner.scaling.types import Observation


def doubt(observation: Observation, history: tuple[DemandPoint, ...], correction: CorrectionSettings) -> str | None:
    """The first reason not to lower anything; None when there is none."""
    needed: list[tuple[str, Reading[float]]] = [("rate", observation.rate_per_s)]
    for role, pool in observation.pools.items():
        if not isinstance(pool.replicas, Valid):
            return f"{role} replicas: {pool.replicas.cause}"
        needed += [(f"{role} waiting", pool.waiting), (f"{role} running", pool.running)]
    rate = observation.rate_per_s
    if not (isinstance(rate, Valid) and rate.value == 0):
        needed += [("isl", observation.isl_tokens), ("osl", observation.osl_tokens)]
        if correction.enabled:
            needed += [("ttft", observation.ttft_s), ("itl", observation.itl_s)]
        if not isinstance(observation.isl_cv2, Missing) or _vanished(history):
            needed.append(("isl_cv2", observation.isl_cv2))
    for name, reading in needed:
        if not isinstance(reading, Valid):
            return f"{name}: {reading.cause}"
    return None


def _vanished(history: tuple[DemandPoint, ...]) -> bool:
    """Not every engine publishes the spread of its input lengths; one that did and stopped is doubtful."""
    return any(point.isl_cv2 is not None for point in history)
