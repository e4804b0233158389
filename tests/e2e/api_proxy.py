"""What stands between a planner and its API server: passes everything on, until told to behave badly.

It listens on 127.0.0.1 without TLS, in the test's own event loop, and passes each answer on as it comes.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from cluster_programs import free_port
from yarl import URL

Forward = Callable[[], Awaitable[web.StreamResponse]]
"""Ask the API server, and pass its answer on."""
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]
"""What becomes of a request."""


async def passes(request: web.Request, forward: Forward) -> web.StreamResponse:
    """No fault."""
    return await forward()


def refuses(status: int, reason: str, retry_after_s: int | None = None) -> web.Response:
    """An answer as an API server gives it."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "so it is told"}
    return web.json_response({**said, "code": status}, status=status, headers=headers)


class Proxy:
    """One, in front of one API server."""

    def __init__(self, server: str, session: ClientSession) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.fault: Fault = passes
        self._server = server
        self._session = session
        self._watches: set[ClientResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        return await self.fault(request, lambda: self._forward(request))

    def cut(self) -> None:
        """Break all that is under way, such as watches."""
        for each in self._watches:
            _abort(each)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url = URL(self._server + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, headers=kept, data=await request.read()) as told:
            answer = web.StreamResponse(status=told.status, headers={"Content-Type": told.headers["Content-Type"]})
            await answer.prepare(request)
            self._watches.add(told)
            try:
                async for chunk in told.content.iter_any():
                    await answer.write(chunk)
                await answer.write_eof()
            except ClientError:
                # Either side is gone, and so goes the other.
                if request.transport is not None:
                    request.transport.abort()
            finally:
                self._watches.discard(told)
                _abort(told)
            return answer


def _abort(told: ClientResponse) -> None:
    """Unless it was read to its end: TLS would wait for the other side's goodbye, beyond the end of the test's loop."""
    if told.connection is not None and told.connection.transport is not None:
        told.connection.transport.abort()


@asynccontextmanager
async def proxy(server: str, ca_file: Path) -> AsyncIterator[Proxy]:
    """Listening; all it passes on ends with it."""
    connector = TCPConnector(ssl=ssl.create_default_context(cafile=str(ca_file)))
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=None)) as session:
        made = Proxy(server, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", made.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", URL(made.url).port)
        await site.start()
        try:
            yield made
        finally:
            made.cut()
            await runner.cleanup()
