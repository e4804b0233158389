"""A running planner: its loop, its API, and the signals that end both.

Whatever ends it - a signal, the loop itself, an error - it is over within `GRACE_S`: the tick under way is finished or
has changed nothing, plans under way are handed over whole or not at all, and connections are let go of.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from planner.errors import UserError
from planner.loop import ControlLoop

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

log = logging.getLogger("planner.live")

GRACE_S = 8.0
"""Kubernetes gives 30 s by default; a supervisor with less patience 10."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any that is free. Raises UserError when it cannot."""
    try:
        return socket.create_server((host, port), reuse_port=False, backlog=128)
    except OSError as error:
        raise UserError(
            f"--listen: {host}:{port} cannot be listened on ({error.strerror or error}); choose another"
        ) from None


@asynccontextmanager
async def stopping(loop: ControlLoop) -> AsyncIterator[None]:
    """SIGTERM and SIGINT stop `loop`; meanwhile nothing else happens on them."""
    running = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("%s: stopping", name)
        loop.stop()

    signals = (signal.SIGTERM, signal.SIGINT)
    for one in signals:
        running.add_signal_handler(one, stop, one.name)
    try:
        yield
    finally:
        for one in signals:
            running.remove_signal_handler(one)


Beside = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs along with the loop and is cancelled when that ends."""


async def run(loop: ControlLoop, app: FastAPI | None, listener: socket.socket | None, *beside: Beside) -> None:
    """Run until the loop ends. Raises what the loop, the API or one of `beside` raises."""
    server = None if app is None else _server(app)
    ticking: asyncio.Task[None] = asyncio.create_task(loop.run(), name="loop")
    along = [asyncio.create_task(each(), name="beside the loop") for each in beside]
    serving = []
    if server is not None and listener is not None:
        serving.append(asyncio.create_task(server.serve(sockets=[listener]), name="api"))
    async with stopping(loop):
        try:
            waiting: set[asyncio.Task[None]] = {ticking, *along, *serving}
            while not ticking.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            loop.stop()
            if server is not None:
                server.should_exit = True
            for task in along:
                task.cancel()
            _, late = await asyncio.wait((ticking, *along, *serving), timeout=GRACE_S)
            for task in late:
                log.error("%s did not end within %g s and is abandoned", task.get_name(), GRACE_S)
                task.cancel()


def _server(app: FastAPI) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn without its signal handling: who ends it is decided here."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3))
