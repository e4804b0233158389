"""Decisions as the API's values: `schemas_decision` says what each means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from planner.api import schemas_decision as schemas
from planner.board import Line
from planner.scaling.correction import Correction
from planner.scaling.decision import PoolDecision
from planner.scaling.forecast.types import Forecast
from planner.scaling.reading import Missing, Reading, Stale
from planner.scaling.reasons import Reason
from planner.scaling.size.types import PoolSizing, Sizing
from planner.scaling.types import Observation, PoolObservation, Replicas, Role

T = TypeVar("T")
V = TypeVar("V")


def decision_view(line: Line) -> schemas.Decision:
    """A decision with everything that led there."""
    decision = line.decision
    return schemas.Decision(
        tick=line.tick,
        at_s=decision.at_s,
        service=decision.service,
        observation=_observed(decision.observation),
        lead=schemas.Lead(lead_s=decision.lead.lead_s, starts=decision.lead.starts),
        forecast=None if decision.forecast is None else _forecasted(decision.forecast),
        correction=_corrected(decision.correction),
        sizing=None if decision.sizing is None else _sized(decision.sizing),
        pools=_each(_pool_decided, decision.pools),
        reasons=[_reason(reason) for reason in decision.reasons],
        applied=_applied(line),
        changes=decision.changes,
    )


def decision_line(line: Line) -> schemas.DecisionLine:
    """A decision in short."""
    decision = line.decision
    return schemas.DecisionLine(
        tick=line.tick,
        at_s=decision.at_s,
        service=decision.service,
        pools=_each(_pool_decided, decision.pools),
        reasons=[schemas.ReasonText(code=reason.code, text=reason.text) for reason in decision.reasons],
        applied=_applied(line),
        changes=decision.changes,
    )


def _reading(reading: Reading[float]) -> schemas.Reading:
    if isinstance(reading, Missing):
        return schemas.Reading(status="missing", value=None, at_s=None, cause=reading.cause)
    cause = reading.cause if isinstance(reading, Stale) else None
    return schemas.Reading(status=reading.status, value=reading.value, at_s=reading.at_s, cause=cause)


def _replicas(reading: Reading[Replicas]) -> schemas.ReplicasReading:
    if isinstance(reading, Missing):
        return schemas.ReplicasReading(status="missing", value=None, at_s=None, cause=reading.cause)
    counts = reading.value
    value = schemas.ReplicaCounts(
        wanted=counts.wanted,
        ready=counts.ready,
        starting=counts.starting,
        pending=counts.pending,
        draining=counts.draining,
        rolling_out=counts.rolling_out,
        failing=counts.failing,
    )
    cause = reading.cause if isinstance(reading, Stale) else None
    return schemas.ReplicasReading(status=reading.status, value=value, at_s=reading.at_s, cause=cause)


def _pool_seen(pool: PoolObservation) -> schemas.PoolSeen:
    return schemas.PoolSeen(
        replicas=_replicas(pool.replicas), waiting=_reading(pool.waiting), running=_reading(pool.running)
    )


def _observed(seen: Observation) -> schemas.Observed:
    return schemas.Observed(
        at_s=seen.at_s,
        window_s=seen.window_s,
        rate_per_s=_reading(seen.rate_per_s),
        isl_tokens=_reading(seen.isl_tokens),
        osl_tokens=_reading(seen.osl_tokens),
        isl_cv2=_reading(seen.isl_cv2),
        ttft_s=_reading(seen.ttft_s),
        queue_s=_reading(seen.queue_s),
        itl_s=_reading(seen.itl_s),
        pools=_each(_pool_seen, seen.pools),
    )


def _forecasted(forecast: Forecast) -> schemas.Forecasted:
    return schemas.Forecasted(
        model=forecast.model,
        why=forecast.why,
        at_s=forecast.at_s,
        horizon_s=forecast.horizon_s,
        point=forecast.point,
        quantiles=[schemas.Quantile(level=level, value=value) for level, value in forecast.quantiles],
        errors=forecast.errors,
        mean_abs_error=forecast.mean_abs_error,
    )


def _corrected(correction: Correction) -> schemas.Corrected:
    return schemas.Corrected(
        ttft_factor=correction.factors.ttft,
        ttft_note=correction.ttft_note,
        itl_factor=correction.factors.itl,
        itl_note=correction.itl_note,
        arrival_cv2=correction.burstiness.arrival_cv2,
        arrival_note=correction.arrival_note,
    )


def _sized(sizing: Sizing) -> schemas.Sized:
    demand = sizing.demand
    return schemas.Sized(
        method=sizing.method,
        demand=schemas.DemandSized(
            rate_per_s=demand.rate_per_s,
            isl_tokens=demand.isl_tokens,
            osl_tokens=demand.osl_tokens,
            isl_cv2=demand.isl_cv2,
            arrival_cv2=demand.arrival_cv2,
        ),
        pools=_each(_pool_sized, sizing.pools),
    )


def _pool_sized(pool: PoolSizing) -> schemas.PoolSized:
    return schemas.PoolSized(
        replicas=pool.replicas,
        utilisation=_finite(pool.utilisation),
        unattainable=pool.unattainable,
        outside=pool.outside,
        steps=[
            schemas.Step(symbol=step.symbol, value=_finite(step.value), unit=step.unit, meaning=step.meaning)
            for step in pool.steps
        ],
    )


def _pool_decided(pool: PoolDecision) -> schemas.PoolDecided:
    return schemas.PoolDecided(current=pool.current, wanted=pool.wanted, granted=pool.granted, replicas=pool.replicas)


def _reason(reason: Reason) -> schemas.Reason:
    values = {name: value if isinstance(value, str) else _finite(value) for name, value in reason.values.items()}
    return schemas.Reason(code=reason.code, values=values, text=reason.text)


def _applied(line: Line) -> schemas.Applied | None:
    applied = line.applied
    return None if applied is None else schemas.Applied(status=applied.status, detail=applied.detail)


def _each(of: Callable[[T], V], pools: Mapping[Role, T]) -> dict[Role, V]:
    return {role: of(pool) for role, pool in pools.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
