"""The default optimiser: what there is to do, in; the next step's schedule, with its target and its reasons, out.

Pure: the same input gives the same output. It decides only where the model may be believed; elsewhere the engine
schedules by itself, and those steps are what the model then learns from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from planner.engine.latency.coverage import gap
from planner.engine.latency.types import LatencyModel, Phase, phase_of
from planner.engine.optimise.fill import decode_step, fill
from planner.engine.optimise.reasons import Code, because
from planner.engine.optimise.types import Limits, Schedule, Work
from planner.engine.settings import SLASchedulerConfig
from planner.engine.target import aim


def decide(
    model: LatencyModel, work: Work, limits: Limits, margins: Mapping[Phase, float], config: SLASchedulerConfig
) -> Schedule:
    """The schedule of the next step. `margins`, of both phases and at least 1, multiply what the model predicts."""
    base = decode_step(work, limits)
    decodes_ms = model.predict_ms(base) * margins["decode"] if base.requests else 0.0
    chosen = aim(work, decodes_ms, config)
    schedule = fill(model, work, chosen.target_ms, limits, margins, config)
    reasons = (*chosen.reasons, *schedule.reasons)
    stock = False
    unseen = gap(model.seen, schedule.step)
    if unseen is not None:
        # The target stays in the record; the chunks are those that only the engine's own limits bound.
        schedule = fill(model, work, math.inf, limits, margins, config)
        reasons, stock = (*chosen.reasons, because(Code.NOT_COVERED, cause=str(unseen))), True
    return replace(
        schedule,
        target_ms=chosen.target_ms,
        feasible=schedule.predicted_ms * margins[phase_of(schedule.step)] <= chosen.target_ms,
        stock=stock,
        capacity_short=chosen.capacity_short,
        reasons=reasons,
    )
