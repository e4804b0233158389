"""Which steps of a run a model is fitted on, and why the others are left out.

What an engine's first steps take is its warming up; the first after idle waits for the request as well; a step without
tokens computes nothing. Long steps are kept: they are few, take a third of the time, and are those that break targets.

`published` is the filter of the published saturation model, for comparison: it keeps steps of 1 to 300 ms, and drops
just those long ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner.engine.latency.logs import Run
from planner.engine.step import Steps

Rule = Literal["default", "published"]
WARM_UP_STEPS = 5
PAUSE_MS = 10_000.0
"""A longer gap before a step is idleness that nobody told, or a machine that slept."""
_OVERLAP = 1.1
"""A step cannot take longer than since the step before; so much is allowed for the clocks' reading."""
PUBLISHED_MS = (1.0, 300.0)


def screened(run: Run, rule: Rule = "default") -> tuple[Steps, Mapping[str, int]]:
    """The steps to fit on, and how many were left out by which reason; a step counts for the first that holds."""
    steps = run.steps
    reasons: dict[str, NDArray[np.bool_]] = {
        "no tokens": (steps.tokens == 0) | (steps.requests == 0),
        "no time": steps.took_ms <= 0,
    }
    if rule == "published":
        reasons["below 1 ms"] = steps.took_ms < PUBLISHED_MS[0]
        reasons["above 300 ms"] = steps.took_ms > PUBLISHED_MS[1]
    else:
        gap_ms = run.gap_ms()
        reasons[f"warm-up (first {WARM_UP_STEPS})"] = np.arange(len(run)) < WARM_UP_STEPS
        reasons["first after idle"] = run.after_idle
        reasons["first after a pause of 10 s"] = gap_ms - steps.took_ms > PAUSE_MS
        reasons["longer than since the step before"] = steps.took_ms > gap_ms * _OVERLAP
    kept = np.ones(len(run), dtype=bool)
    dropped = {}
    for reason, mask in reasons.items():
        if count := int(np.count_nonzero(kept & mask)):
            dropped[reason] = count
        kept &= ~mask
    return steps.where(kept), dropped


def joined(parts: list[Steps]) -> Steps:
    """Steps one after another; there is at least one part."""
    return Steps(*(np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)))


def _columns(steps: Steps) -> tuple[NDArray[np.float64], ...]:
    return (
        steps.requests,
        steps.tokens,
        steps.prefills,
        steps.prefill_tokens,
        steps.kv_tokens,
        steps.pairs,
        steps.took_ms,
    )
