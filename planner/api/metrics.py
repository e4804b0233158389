"""The board as Prometheus metrics.

Base units throughout. A number that is not known, or does not describe now, is left out: a gap in a graph, never a
zero. Times are exported as timestamps, so that age is computed where it is asked for:
`time() - sla_planner_last_tick_timestamp_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from planner import __version__
from planner.api.answers import compressed
from planner.api.facts import facts_of
from planner.api.metrics_grip import of_grip
from planner.api.metrics_services import PREFIX, add, gauge, of_pools, of_services
from planner.api.seams import Planner
from planner.board import Board, Totals
from planner.connectors.grip import Grip
from planner.sources.types import Queries


def metrics_routes(
    planner: Planner, queries: Callable[[], Queries] | None, grip: Callable[[], Grip] | None
) -> APIRouter:
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
        asked, held = None if queries is None else queries(), None if grip is None else grip()
        registry.register(BoardCollector(planner.board(), planner.totals(), asked, held))
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # With 1,000 services this takes a third of a second, in which others are to be answered.
        return await compressed(request, await asyncio.to_thread(encode, registry), media_type)

    return router


class BoardCollector(Collector):
    """Samples of one board."""

    def __init__(self, board: Board, totals: Totals, queries: Queries | None, grip: Grip | None) -> None:
        self._board = board
        self._totals = totals
        self._queries = queries
        self._grip = grip

    def describe(self) -> list[Metric]:
        """Nothing: a board is collected once, and its names cannot clash."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a value."""
        return (family for family in families(self._board, self._totals, self._queries, self._grip) if family.samples)


def families(board: Board, totals: Totals, queries: Queries | None, grip: Grip | None) -> Iterator[Metric]:
    """Every metric there may be, those without a value too."""
    facts = [facts_of(board, service) for service in board.services]
    yield from _planner(board, totals)
    yield from of_services(facts)
    yield from of_pools(facts)
    yield from _asked(queries)
    yield from of_grip(grip)


def _planner(board: Board, totals: Totals) -> Iterator[Metric]:
    build = InfoMetricFamily(PREFIX + "build", "Version of the planner.")
    build.add_metric([], {"version": __version__})
    yield build
    start = gauge("start_timestamp_seconds", "When the planner started.")
    start.add_metric([], board.started_s)
    yield start
    ticks = CounterMetricFamily(PREFIX + "ticks", "Decision ticks made.")
    ticks.add_metric([], board.ticks)
    yield ticks
    due = gauge("next_tick_timestamp_seconds", "When the next tick is due; in the past, the loop stands still.")
    due.add_metric([], board.next_tick_s)
    yield due
    lasted = gauge("tick_duration_seconds", "Time the last tick took to compute.")
    add(lasted, [], totals.tick_s)
    yield lasted
    last = gauge("last_tick_timestamp_seconds", "When the last decisions were made.")
    times = [shown.last.decision.at_s for shown in board.services.values() if shown.last is not None]
    add(last, [], max(times, default=None))
    yield last
    reasons = CounterMetricFamily(PREFIX + "decisions", "Decisions that carried this reason.", labels=["reason"])
    for code, count in totals.reasons.items():
        reasons.add_metric([code], count)
    yield reasons
    trouble = gauge("troubles", "Things wrong with the planner itself.")
    trouble.add_metric([], len(board.trouble))
    yield trouble
    dry_run = gauge("dry_run", "1 while plans of all services are made and not applied.")
    dry_run.add_metric([], board.controls.dry_run is not None)
    yield dry_run
    budget = gauge("budget_gpus", "GPUs of the budget: limit, held by replicas, wanted, granted.", "state")
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


def _asked(queries: Queries | None) -> list[Metric]:
    asked = CounterMetricFamily(PREFIX + "source_queries", "Questions put to the server of metrics.")
    failed = CounterMetricFamily(
        PREFIX + "source_query_failures", "Questions that had no answer, by cause.", labels=["cause"]
    )
    lasted = CounterMetricFamily(PREFIX + "source_query_seconds", "Time between questions and answers, summed.")
    if queries is not None:
        asked.add_metric([], queries.asked)
        for cause, count in queries.failed.items():
            failed.add_metric([cause], count)
        lasted.add_metric([], queries.seconds)
    return [asked, failed, lasted]
