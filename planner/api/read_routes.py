"""What can be looked at: everything, the overview, one service's series, decisions, and the probes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from planner.api import schemas
from planner.api.answers import described, error_response, json_answer, refused, to_json
from planner.api.facts import Encoded, Facts
from planner.api.schemas_decision import Decision
from planner.api.seams import Planner
from planner.api.security import Security
from planner.api.views import head_view, row_view, series_view, service_view
from planner.api.views_decision import decision_line, decision_view
from planner.board import Board, Line

_MOST_LINES = 200
_MISSED = 2.0
"""Intervals a tick may be overdue, so that a living loop's last sign is younger than three intervals."""

_UNKNOWN = described("The service, or the decision, is unknown.")

Cursor = Annotated[int | None, Query(ge=0, le=2**53, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=_MOST_LINES, description="Decisions at most.")]
Changes = Annotated[bool, Query(description="Only those that ordered something.")]
One = Annotated[str | None, Query(description="Only this service's.", examples=["chat"])]
Names = Annotated[list[str] | None, Query(description="Only these; give it several times for several.")]
Service = Annotated[str, Path(description="Its name.", examples=["chat"])]
Tick = Annotated[int, Path(ge=0, le=2**53, description="As in `/decisions`.", examples=[42])]


def read_routes(planner: Planner, security: Security) -> APIRouter:
    """Routes that change nothing and need no token."""
    router = APIRouter(tags=["look"])
    services = Encoded(lambda facts: to_json(service_view(facts)))
    rows = Encoded(Rows(planner))

    def head(board: Board) -> bytes:
        return to_json(head_view(board, security.warnings()))

    @router.get("/status", response_model=schemas.Status, responses={404: _UNKNOWN})
    async def status(request: Request, service: Names = None) -> Response:
        """Everything about all services, or about those named."""
        board = planner.board()
        names = list(board.services) if service is None else list(dict.fromkeys(service))
        for name in names:
            require(board, name)
        found = zip(names, await services.of(board, names), strict=True)
        members = (json.dumps(name).encode() + b":" + text for name, text in found)
        return await json_answer(request, _with(head(board), b"{", members, b"}"))

    @router.get("/overview", response_model=schemas.Overview)
    async def overview(request: Request) -> Response:
        """All services in short: what the page shows first."""
        board = planner.board()
        return await json_answer(request, _with(head(board), b"[", await rows.of(board, board.services), b"]"))

    @router.get("/series/{service}", response_model=schemas.Series, responses={404: _UNKNOWN})
    async def series(request: Request, service: Service) -> Response:
        """The service's latest points as columns, for charts."""
        board = planner.board()
        require(board, service)
        targets = board.settings.services[service].targets
        return await json_answer(request, to_json(series_view(service, targets, board.services[service].points)))

    @router.get("/decisions", response_model=schemas.Decisions, responses={404: _UNKNOWN})
    async def decisions(
        request: Request, service: One = None, before: Cursor = None, limit: Limit = 50, changes: Changes = False
    ) -> Response:
        """Decisions in memory, newest first."""
        if service is not None:
            require(planner.board(), service)
        lines, cursor = planner.page(service, before, limit, changes)
        answer = schemas.Decisions(items=[decision_line(line) for line in lines], next=cursor)
        return await json_answer(request, to_json(answer))

    @router.get("/decisions/{tick}/{service}", response_model=Decision, responses={404: _UNKNOWN})
    async def decision(request: Request, tick: Tick, service: Service) -> Response:
        """One decision with everything that led there."""
        require(planner.board(), service)
        line = _find(planner, service, tick)
        if line is None:
            raise refused(404, f"tick: {tick} of {service} is not in memory; run planner explain on the journal")
        return await json_answer(request, to_json(decision_view(line)))

    return router


def probe_routes(planner: Planner) -> APIRouter:
    """Routes for the kubelet."""
    router = APIRouter(tags=["probes"])
    # The model is named this once, so that the description defines what all other errors refer to.
    late = {"model": schemas.Error, "description": "The loop stands still."}

    @router.get("/healthz", response_model=schemas.Alive, responses={503: late})
    async def healthz() -> Response:
        """Alive while the loop ticks; 503 once its last sign is three intervals old."""
        board = planner.board()
        age_s = max(0.0, planner.now_s() - (board.next_tick_s - board.interval_s))
        if age_s >= (1 + _MISSED) * board.interval_s:
            return error_response(503, f"loop: no tick for {age_s:.0f} s, one is due every {board.interval_s:g} s")
        return JSONResponse(schemas.Alive(status="ok", age_s=age_s).model_dump())

    @router.get("/readyz", response_model=schemas.Ready)
    async def readyz() -> Response:
        """Ready as soon as this answers: configuration and profiles are loaded before. No metrics source is asked."""
        return JSONResponse(schemas.Ready(status="ok").model_dump())

    return router


def require(board: Board, service: str) -> None:
    """Raises HTTPException 404 for a service that the board does not know."""
    if service not in board.services:
        known = list(board.services)
        listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise refused(404, f"service: {service[:200]!r} is unknown; the services are {listed}")


class Rows:
    """Encodes a service's row of the overview. Its last change is remembered, for memory of decisions is short."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._changed: dict[str, Line] = {}

    def __call__(self, facts: Facts) -> bytes:
        """The row's JSON."""
        lines, _ = self._planner.page(facts.name, None, 1, True)
        if lines:
            self._changed[facts.name] = lines[0]
        return to_json(row_view(facts, self._changed.get(facts.name)))


def _with(head: bytes, opening: bytes, parts: Iterable[bytes], closing: bytes) -> bytes:
    """The head's JSON object with one more member, `services`."""
    return b"".join((head[:-1], b',"services":', opening, b",".join(parts), closing, b"}"))


def _find(planner: Planner, service: str, tick: int) -> Line | None:
    before = None
    while True:
        lines, before = planner.page(service, before, _MOST_LINES, False)
        for line in lines:
            if line.tick == tick:
                return line
        if before is None or (lines and lines[-1].tick < tick):
            return None
