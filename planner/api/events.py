"""News as server-sent events: that there is something new, not what; the page fetches what it shows.

Each client costs a task and a queue of one board, so a slow one misses news instead of piling it up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from planner.api.answers import described, refused
from planner.api.seams import Planner
from planner.board import Board

MOST_CLIENTS = 100
HEARTBEAT_S = 15.0
"""Between signs of life; proxies close what is silent for a minute."""
_RETRY_MS = 3000

_EXAMPLE = 'event: tick\ndata: {"tick": 42, "at_s": 1767225600.0}\n\n'


def event_routes(planner: Planner) -> APIRouter:
    """The stream of news."""
    router = APIRouter(tags=["look"])
    clients: set[object] = set()

    class Stream(StreamingResponse):
        """One client, counted while it listens."""

        media_type = "text/event-stream"

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            clients.add(self)
            try:
                await super().__call__(scope, receive, send)
            finally:
                clients.discard(self)

    @router.get(
        "/events",
        response_class=Stream,
        responses={
            200: {"content": {"text/event-stream": {"example": _EXAMPLE}}, "description": "Until the planner ends."},
            503: described("Too many clients listen."),
        },
    )
    async def events() -> Response:
        """`tick` when there is a new board, the present one at once; `control` when orders of people changed."""
        if len(clients) >= MOST_CLIENTS:
            raise refused(503, f"events: {MOST_CLIENTS} clients listen already; poll /overview", {"Retry-After": "30"})
        # A proxy that collects answers before it passes them on would hold the news back.
        return Stream(stream(planner), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    return router


async def stream(planner: Planner, heartbeat_s: float = HEARTBEAT_S) -> AsyncGenerator[str, None]:
    """What one client is sent, until the planner ends."""
    boards = planner.subscribe()
    coming = asyncio.ensure_future(anext(boards, None))
    try:
        await asyncio.sleep(0)  # lets the subscription begin, so that nothing is missed between it and this board
        shown = planner.board()
        yield f"retry: {_RETRY_MS}\n{_event('tick', shown)}"
        while True:
            await asyncio.wait((coming,), timeout=heartbeat_s)
            if not coming.done():
                yield ": alive\n\n"
                continue
            board = coming.result()
            if board is None:
                return
            coming = asyncio.ensure_future(anext(boards, None))
            yield _event("tick", board)
            if board.controls != shown.controls:
                yield _event("control", board)
            shown = board
    finally:
        if not coming.cancel():  # it holds a board that nobody will read, and the subscription goes on
            await boards.aclose()


def _event(kind: str, board: Board) -> str:
    data = json.dumps({"tick": board.ticks, "at_s": board.now_s})
    return f"event: {kind}\ndata: {data}\n\n"
