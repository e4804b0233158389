"""What KEDA is answered: the five questions of its external scaler interface.

A trigger's metadata names `service` and `pool`. The metric is the figure and its target 1 for each replica, so an HPA
that divides the one by the other gets the figure. Where there is none, no number is answered: the question fails with
WrongTriggerError or NoFigureError.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import aclosing

from planner.board import Board
from planner.clock import Clock
from planner.external_scaler.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
    ScaledObjectRef,
)
from planner.external_scaler.figure import NoFigureError, figure, pool_of
from planner.scaling.types import Role

METRIC = "sla-planner-replicas"
"""Its name; KEDA puts the trigger's number before it."""
_SPEC = GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)])


class Answers:
    """Answers from the board, whatever it shows at the moment of asking."""

    def __init__(
        self,
        board: Callable[[], Board],
        subscribe: Callable[[], AsyncGenerator[Board, None]],
        handed_on: Collection[str],
        clock: Clock,
    ) -> None:
        """`handed_on` are the services whose replicas others set."""
        self._board = board
        self._subscribe = subscribe
        self._handed_on = handed_on
        self._clock = clock

    async def is_active(self, asked: ScaledObjectRef) -> IsActiveResponse:
        """Whether any replica is to be."""
        return IsActiveResponse(result=self._figure(asked) > 0)

    async def stream_is_active(self, asked: ScaledObjectRef) -> AsyncIterator[IsActiveResponse]:
        """The same as soon as it is known and whenever it changes; nothing while it is unknown. Ends with the loop."""
        pool, told = self._pool(asked), None
        async with aclosing(self._boards()) as boards:
            async for board in boards:
                try:
                    active = figure(board, *pool, self._clock.now_s()) > 0
                except NoFigureError:
                    continue
                if active != told:
                    told = active
                    yield IsActiveResponse(result=active)

    async def metric_spec(self, asked: ScaledObjectRef) -> GetMetricSpecResponse:
        """The metric and its target; also while there is no figure, since an HPA is made but once."""
        self._pool(asked)
        return _SPEC

    async def stream_metric_spec(self, asked: ScaledObjectRef) -> AsyncIterator[GetMetricSpecResponse]:
        """The same, once: it never changes. Ends with the loop, since KEDA opens anew what has ended."""
        yield await self.metric_spec(asked)
        async with aclosing(self._subscribe()) as boards:
            async for _ in boards:
                pass

    async def metrics(self, asked: GetMetricsRequest) -> GetMetricsResponse:
        """The figure."""
        now = self._figure(asked.scaledObjectRef)
        value = MetricValue(metricName=asked.metricName, metricValue=now, metricValueFloat=float(now))
        return GetMetricsResponse(metricValues=[value])

    async def _boards(self) -> AsyncGenerator[Board, None]:
        """The board of now, and each that comes."""
        yield self._board()
        async with aclosing(self._subscribe()) as boards:
            async for board in boards:
                yield board

    def _figure(self, asked: ScaledObjectRef) -> int:
        return figure(self._board(), *self._pool(asked), self._clock.now_s())

    def _pool(self, asked: ScaledObjectRef) -> tuple[str, Role]:
        service = asked.scalerMetadata.get("service", "")
        pool = asked.scalerMetadata.get("pool", "")
        return service, pool_of(self._board(), self._handed_on, service, pool)
