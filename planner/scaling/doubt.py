"""Whether an observation is good enough to lower a fleet on.

Raising on half a picture costs money; lowering on it costs the agreement. So every reading that would have raised the
wish must be valid before a pool is lowered. In an idle window (a valid rate of 0) lengths and latencies do not exist
and are not asked for; latencies matter only while they correct the profile; what not every engine publishes is asked
for from one that has.
"""

from __future__ import annotations

from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.settings import CorrectionSettings
from planner.scaling.types import Observation


def publishes(published: frozenset[str], observation: Observation) -> frozenset[str]:
    """The optional readings that were ever given, this observation's included."""
    given = {name for name, reading in _optional(observation).items() if not isinstance(reading, Missing)}
    return published if given <= published else published | given


def doubt(observation: Observation, published: frozenset[str], correction: CorrectionSettings) -> str | None:
    """The first reason not to lower anything; None when there is none."""
    needed: dict[str, Reading[float]] = {"rate": observation.rate_per_s}
    for role, pool in observation.pools.items():
        if not isinstance(pool.replicas, Valid):
            return f"{role} replicas: {pool.replicas.cause}"
        needed |= {f"{role} waiting": pool.waiting, f"{role} running": pool.running}
    rate = observation.rate_per_s
    if not (isinstance(rate, Valid) and rate.value == 0):
        needed |= {"isl": observation.isl_tokens, "osl": observation.osl_tokens}
        if correction.enabled:
            needed |= {"ttft": observation.ttft_s, "itl": observation.itl_s}
        needed |= {name: reading for name, reading in _optional(observation).items() if name in published}
    for name, reading in needed.items():
        if not isinstance(reading, Valid):
            return f"{name}: {reading.cause}"
    return None


def _optional(observation: Observation) -> dict[str, Reading[float]]:
    return {"isl_cv2": observation.isl_cv2, "queue": observation.queue_s}
