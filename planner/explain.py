"""A decision in words and numbers, from the samples to the orders.

Prints what the decision carries and computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from planner.scaling.cap import Budget
from planner.scaling.decision import Decision
from planner.scaling.reading import Missing, Reading, Stale
from planner.scaling.size.types import Step
from planner.scaling.types import Replicas

T = TypeVar("T")

_EPOCH_S = 1e9
"""More seconds than any simulation lasts: since 1970."""


def explain(decision: Decision, budget: Budget) -> str:
    """The whole arithmetic of one service's decision, a section per step of the tick."""
    return "\n".join(_lines(decision, budget))


def when(at_s: float) -> str:
    """A time: of the day, or in a simulation, which begins at 0, in seconds."""
    if at_s < _EPOCH_S:
        return f"{at_s:g} s"
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _lines(decision: Decision, budget: Budget) -> Iterator[str]:
    yield f"service {decision.service} at {when(decision.at_s)}"
    yield ""
    yield "observed"
    yield from _observed(decision)
    yield ""
    yield "forecast"
    lead = decision.lead
    source = f"0.9 quantile of {lead.starts} start-ups" if lead.starts else "as configured"
    yield f"  lead time {lead.lead_s:.0f} s ({source})"
    yield from _forecast(decision)
    yield ""
    yield "correction"
    correction = decision.correction
    yield f"  TTFT factor {correction.factors.ttft:.3f}  {correction.ttft_note}"
    yield f"  ITL factor  {correction.factors.itl:.3f}  {correction.itl_note}"
    yield f"  Ca2         {correction.burstiness.arrival_cv2:.2f}  {correction.arrival_note}"
    if decision.sizing is not None:
        demand = decision.sizing.demand
        yield ""
        yield f"sizing, method {decision.sizing.method}"
        yield (
            f"  demand {demand.rate_per_s:.2f} req/s, isl {demand.isl_tokens:.0f} tokens "
            f"(cv2 {demand.isl_cv2:.2f}), osl {demand.osl_tokens:.0f} tokens"
        )
        for role, pool in decision.sizing.pools.items():
            yield f"  {role}: {pool.replicas} replicas, {pool.utilisation:.0%} busy"
            for step in pool.steps:
                yield f"    {_step(step)}"
    yield ""
    yield "budget"
    yield f"  {budget.gpus} GPUs; {budget.held} held, {budget.wanted} wanted, {budget.granted} granted, all services"
    yield ""
    yield "decision"
    for role, chosen in decision.pools.items():
        way = (f"current {_count(chosen.current)}", f"wanted {_count(chosen.wanted)}",
               f"granted {_count(chosen.granted)}", f"ordered {_count(chosen.replicas)}")  # fmt: skip
        yield f"  {role}: {', '.join(way)}"
    yield ""
    yield "because"
    for reason in decision.reasons:
        yield f"  [{reason.code}] {reason.text}"


def _observed(decision: Decision) -> Iterator[str]:
    seen = decision.observation
    yield f"  window      {seen.window_s:g} s"
    yield f"  arrivals    {_reading(seen.rate_per_s, '{:.2f} req/s')}"
    yield f"  isl         {_reading(seen.isl_tokens, '{:.0f} tokens')}"
    yield f"  osl         {_reading(seen.osl_tokens, '{:.0f} tokens')}"
    yield f"  isl cv2     {_reading(seen.isl_cv2, '{:.2f}')}"
    yield f"  TTFT        {_latency(seen.ttft_s)}"
    yield f"  in queue    {_latency(seen.queue_s)}"
    yield f"  ITL         {_latency(seen.itl_s)}"
    for role, pool in seen.pools.items():
        yield f"  {role}"
        yield f"    replicas  {_replicas(pool.replicas)}"
        yield f"    waiting   {_reading(pool.waiting, '{:.0f} requests')}"
        yield f"    running   {_reading(pool.running, '{:.0f} requests')}"


def _forecast(decision: Decision) -> Iterator[str]:
    forecast = decision.forecast
    if forecast is None:
        yield "  none"
        return
    yield f"  {forecast.model}: {forecast.point:.2f} req/s in {forecast.horizon_s:.0f} s ({forecast.why})"
    band = ", ".join(f"{level:.0%} {value:.2f}" for level, value in forecast.quantiles)
    error = "none yet" if forecast.mean_abs_error is None else f"mean {forecast.mean_abs_error:.2f} req/s"
    yield f"  quantiles {band}"
    yield f"  own past errors: {forecast.errors}, {error}"


def _reading(reading: Reading[float], form: str) -> str:
    if isinstance(reading, Missing):
        return f"missing: {reading.cause}"
    shown = form.format(reading.value)
    return f"{shown}  stale: {reading.cause}" if isinstance(reading, Stale) else shown


def _latency(reading: Reading[float]) -> str:
    in_ms = reading if isinstance(reading, Missing) else replace(reading, value=reading.value * 1e3)
    return _reading(in_ms, "{:.1f} ms")


def _replicas(reading: Reading[Replicas]) -> str:
    if isinstance(reading, Missing):
        return f"missing: {reading.cause}"
    counts = reading.value
    shown = (
        f"{counts.wanted} ordered, {counts.ready} ready, {counts.starting} starting, {counts.pending} unschedulable, "
        f"{counts.draining} draining{', rolling out' if counts.rolling_out else ''}"
    )
    return f"{shown}  stale: {reading.cause}" if isinstance(reading, Stale) else shown


def _step(step: Step) -> str:
    number = f"{step.value:.0f}" if float(step.value).is_integer() else f"{step.value:.4g}"
    return f"{step.symbol} = {number}{' ' + step.unit if step.unit else ''}  ({step.meaning})"


def _count(replicas: int | None) -> str:
    return "unknown" if replicas is None else str(replicas)
