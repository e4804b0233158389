"""How much more than Poisson the arrivals vary, learnt from the time requests spend in the queue.

Requests that come in clumps wait on a fleet that is idle on average; no rate over half a minute shows it, and sizing
for Poisson arrivals then misses the agreement. What shows it is the queue: the squared coefficient of variation of the
time between arrivals, Ca2, is the one for which the queueing model predicts the wait that was observed.

A window teaches only when its waits began and could end in it: the queue was empty when it began, the replicas did not
change, and the load was at most `max_utilisation`. What comes of too few replicas is the forecast's to mend, not this.
Windows are weighted by their requests, because it is requests that wait, and the weight halves every `HALF_LIFE_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.scaling.reading import Missing, Valid
from planner.scaling.settings import ServiceSettings
from planner.scaling.size.predict import engine_prompts
from planner.scaling.size.queueing import wait
from planner.scaling.types import Demand, Observation, Role

HALF_LIFE_S = 1800.0
"""Clumps are rare events; half an hour holds enough of them, and forgets yesterday's."""

MOST = 100.0
"""Ca2 beyond which a window says no more than "one clump"."""

_PRIOR_REQUESTS = 200.0
"""Weight of the configured value: a few busy windows outweigh it, one odd window does not."""

OVERHEAD_SHARE = 0.25
"""Share of a prompt's service time that every request spends between arrival and the next step of the engine, whoever
else is there; it is no queue."""

_HALVINGS = 12


@dataclass(frozen=True, slots=True)
class Burstiness:
    """What has been learnt of the arrivals."""

    arrival_cv2: float
    requests: float = _PRIOR_REQUESTS
    """Requests it rests on, those of the past halved with age."""
    queue_empty: bool = False
    """Nobody waited at the last tick."""


def learn(
    known: Burstiness, observation: Observation, present: Demand, factor: float, service: ServiceSettings
) -> tuple[Burstiness, str]:
    """Burstiness after this observation, and what became of it; `factor` is the TTFT factor."""
    role = service.prefill_role
    pool = observation.pools[role]
    after = replace(known, queue_empty=isinstance(pool.waiting, Valid) and pool.waiting.value == 0)
    rate, queue, replicas = observation.rate_per_s, observation.queue_s, pool.replicas
    if isinstance(queue, Missing):
        return after, f"kept: the time in the queue is missing ({queue.cause})"
    if not (isinstance(rate, Valid) and isinstance(queue, Valid) and isinstance(replicas, Valid)):
        return after, "kept: load, queue or replicas are not valid"
    if not known.queue_empty:
        return after, "kept: requests waited when the window began"
    if replicas.value.starting or replicas.value.rolling_out or replicas.value.ready == 0:
        return after, f"kept: {role} replicas are changing"
    shown = _shown(queue.value, present, replicas.value.ready, role, factor, service)
    if shown is None:
        return after, f"kept: more than {service.correction.max_utilisation:.0%} busy, waits say more of load"
    requests = rate.value * observation.window_s
    past = known.requests * 0.5 ** (observation.window_s / HALF_LIFE_S)
    total = past + requests
    arrival_cv2 = (past * known.arrival_cv2 + requests * shown) / total if total > 0 else known.arrival_cv2
    note = f"{queue.value * 1e3:.0f} ms in the queue, as of Ca2 {shown:.1f}"
    return replace(after, arrival_cv2=arrival_cv2, requests=total), note


def _shown(
    queue_s: float, present: Demand, ready: int, role: Role, factor: float, service: ServiceSettings
) -> float | None:
    """The Ca2 that explains this wait, within 1 (or the configured value, if less) and MOST; None when overloaded."""
    prompts = engine_prompts(present, ready, role, service)
    if prompts is None or present.rate_per_s * prompts.mean_s * factor > service.correction.max_utilisation * ready:
        return None

    def expected_s(arrival_cv2: float) -> float:
        return wait(
            present.rate_per_s, prompts.mean_s * factor, prompts.cv2, arrival_cv2, ready, service.sizing.routing
        ).mean_s

    queue_s -= OVERHEAD_SHARE * prompts.mean_s * factor
    low, high = min(1.0, max(service.sizing.arrival_cv2, 0.1)), MOST
    if queue_s <= expected_s(low):
        return low
    if queue_s >= expected_s(high):
        return high
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        if expected_s(middle) < queue_s:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
