"""The board as Prometheus metrics.

Base units throughout. A number that is not known, or does not describe now, is left out: a gap in a graph, never a
zero. Times are exported as timestamps, so that age is computed where it is asked for:
`time() - sla_planner_last_tick_timestamp_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import get_args

from fastapi import APIRouter, Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from planner import __version__
from planner.api.answers import compressed
from planner.api.facts import Facts, facts_of
from planner.api.health import health
from planner.api.schemas import HealthState
from planner.api.seams import Planner
from planner.board import Board, Totals
from planner.scaling.reading import Missing, Reading, Valid

_PREFIX = "sla_planner_"


def metrics_routes(planner: Planner) -> APIRouter:
    """The page that Prometheus scrapes."""
    router = APIRouter(tags=["probes"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}, "description": "Samples."}},
    )
    async def metrics(request: Request) -> Response:
        """The board as Prometheus text, or OpenMetrics where the scraper asks for it."""
        registry = CollectorRegistry()
        registry.register(BoardCollector(planner.board(), planner.totals()))
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # With 1,000 services this takes a third of a second, in which others are to be answered.
        return await compressed(request, await asyncio.to_thread(encode, registry), media_type)

    return router


class BoardCollector(Collector):
    """Samples of one board."""

    def __init__(self, board: Board, totals: Totals) -> None:
        self._board = board
        self._totals = totals

    def describe(self) -> list[Metric]:
        """Nothing: a board is collected once, and its names cannot clash."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value."""
        facts = [facts_of(self._board, service) for service in self._board.services]
        families = [*_planner(self._board, self._totals), *_services(facts), *_pools(facts)]
        return (family for family in families if family.samples)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


def _number(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None


def _planner(board: Board, totals: Totals) -> Iterator[Metric]:
    build = InfoMetricFamily(_PREFIX + "build", "Version of the planner.")
    build.add_metric([], {"version": __version__})
    yield build
    start = _gauge("start_timestamp_seconds", "When the planner started.")
    start.add_metric([], board.started_s)
    yield start
    ticks = CounterMetricFamily(_PREFIX + "ticks", "Decision ticks made.")
    ticks.add_metric([], board.ticks)
    yield ticks
    due = _gauge("next_tick_timestamp_seconds", "When the next tick is due; in the past, the loop stands still.")
    due.add_metric([], board.next_tick_s)
    yield due
    lasted = _gauge("tick_duration_seconds", "Time the last tick took to compute.")
    _add(lasted, [], totals.tick_s)
    yield lasted
    last = _gauge("last_tick_timestamp_seconds", "When the last decisions were made.")
    times = [shown.last.decision.at_s for shown in board.services.values() if shown.last is not None]
    _add(last, [], max(times, default=None))
    yield last
    reasons = CounterMetricFamily(_PREFIX + "decisions", "Decisions that carried this reason.", labels=["reason"])
    for code, count in totals.reasons.items():
        reasons.add_metric([code], count)
    yield reasons
    trouble = _gauge("troubles", "Things wrong with the planner itself.")
    trouble.add_metric([], len(board.trouble))
    yield trouble
    dry_run = _gauge("dry_run", "1 while plans of all services are made and not applied.")
    dry_run.add_metric([], board.controls.dry_run is not None)
    yield dry_run
    budget = _gauge("budget_gpus", "GPUs of the budget: limit, held by replicas, wanted, granted.", "state")
    if board.budget is not None:
        values = {
            "limit": board.budget.gpus,
            "held": board.budget.held,
            "wanted": board.budget.wanted,
            "granted": board.budget.granted,
        }
        for state, value in values.items():
            budget.add_metric([state], value)
    yield budget


def _services(services: list[Facts]) -> list[Metric]:
    state = _gauge("service_health", "1 for the state the service is in.", "service", "state")
    paused = _gauge("service_paused", "1 while plans of the service are made and not applied.", "service")
    held = _gauge("service_held", "1 while pools of the service are held.", "service")
    reason = _gauge("service_reason", "1 for each reason that the last decision carries.", "service", "reason")
    rate = _gauge("request_rate", "Requests arriving per second, mean of the window.", "service")
    at = _gauge(
        "observation_timestamp_seconds",
        "When the rate seen last was true.",
        "service",
    )
    demand = _gauge("demand_request_rate", "Requests per second sized for.", "service")
    point = _gauge(
        "forecast_request_rate", "Requests per second forecast for when an order made now serves.", "service"
    )
    lead = _gauge("lead_seconds", "From an order to Ready, measured once enough starts were seen.", "service")
    error = _gauge("forecast_error_request_rate", "Mean absolute error of past forecasts.", "service")
    ttft = _gauge("ttft_seconds", "Mean time to first token of the window.", "service")
    itl = _gauge("itl_seconds", "Mean inter-token latency of the window.", "service")
    ttft_target = _gauge("ttft_target_seconds", "Agreed time to first token.", "service")
    itl_target = _gauge("itl_target_seconds", "Agreed inter-token latency.", "service")
    good = _gauge("good_ratio", "Share of the window's requests that met both targets.", "service")
    objective = _gauge("objective_ratio", "Share of requests that must meet both targets.", "service")
    factor = _gauge("correction_factor", "Observed over expected latency.", "service", "latency")
    cv2 = _gauge("arrival_cv2", "Learnt squared coefficient of variation of the time between arrivals.", "service")
    for facts in services:
        name, targets = facts.name, facts.settings.targets
        is_in = health(facts).state
        for each in get_args(HealthState):
            state.add_metric([name, each], each == is_in)
        paused.add_metric([name], facts.pause is not None)
        held.add_metric([name], facts.hold is not None)
        ttft_target.add_metric([name], targets.ttft_s)
        itl_target.add_metric([name], targets.itl_s)
        objective.add_metric([name], targets.objective)
        _add(good, [name], None if facts.point is None else facts.point.good_share)
        if facts.line is None:
            continue
        decision = facts.line.decision
        seen, forecast, sizing = decision.observation, decision.forecast, decision.sizing
        for code in dict.fromkeys(each.code for each in decision.reasons):
            reason.add_metric([name, code], 1)
        _add(rate, [name], _number(seen.rate_per_s))
        _add(at, [name], None if isinstance(seen.rate_per_s, Missing) else seen.rate_per_s.at_s)
        _add(ttft, [name], _number(seen.ttft_s))
        _add(itl, [name], _number(seen.itl_s))
        lead.add_metric([name], decision.lead.lead_s)
        _add(point, [name], None if forecast is None else forecast.point)
        _add(error, [name], None if forecast is None else forecast.mean_abs_error)
        _add(demand, [name], None if sizing is None else sizing.demand.rate_per_s)
        factor.add_metric([name, "ttft"], decision.correction.factors.ttft)
        factor.add_metric([name, "itl"], decision.correction.factors.itl)
        cv2.add_metric([name], decision.correction.burstiness.arrival_cv2)
    return [
        state, paused, held, reason, rate, at, demand, point, lead, error, ttft, itl, ttft_target, itl_target, good,
        objective, factor, cv2,
    ]  # fmt: skip


def _pools(services: list[Facts]) -> list[Metric]:
    replicas = _gauge(
        "replicas", "Replicas of a pool as they are; wanted is what is ordered.", "service", "role", "state"
    )
    planned = _gauge(
        "planned_replicas", "Replicas of a pool after each step of the decision.", "service", "role", "step"
    )
    for facts in services:
        if facts.line is None:
            continue
        decision = facts.line.decision
        for role, pool in decision.observation.pools.items():
            if not isinstance(pool.replicas, Valid):
                continue
            counts = pool.replicas.value
            replicas.add_metric([facts.name, role, "wanted"], counts.wanted)
            replicas.add_metric([facts.name, role, "ready"], counts.ready)
            replicas.add_metric([facts.name, role, "starting"], counts.starting)
            replicas.add_metric([facts.name, role, "pending"], counts.pending)
        for role, chosen in decision.pools.items():
            sized = None if decision.sizing is None else decision.sizing.pools.get(role)
            _add(planned, [facts.name, role, "sized"], None if sized is None else sized.replicas)
            _add(planned, [facts.name, role, "bounded"], chosen.wanted)
            _add(planned, [facts.name, role, "granted"], chosen.granted)
            _add(planned, [facts.name, role, "ordered"], chosen.replicas)
    return [replicas, planned]
