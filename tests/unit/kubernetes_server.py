"""An API server that answers as it is told, on the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.client import Api


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    verb: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: str


LONG_S = 60.0
"""A deadline that no test waits for."""

Reply: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeApiServer:
    """Plays a script for each verb and path; a watch has the verb WATCH."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.gone = asyncio.Event()
        """A client went away before it had its answer."""
        self.runner: web.AppRunner
        self._scripts: dict[tuple[str, str], list[Reply]] = {}

    def script(self, verb: str, path: str, *replies: Reply) -> None:
        """What to reply, one after another and then the last for ever."""
        self._scripts[verb, path] = list(replies)

    def tokens(self) -> list[str]:
        """The Authorization of each request."""
        return [each.headers.get("authorization", "") for each in self.asked]

    @property
    def connections(self) -> int:
        """Open now."""
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        verb = "WATCH" if "watch" in request.query else request.method
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(verb, request.path, dict(request.query), headers, await request.text()))
        replies = self._scripts[verb, request.path]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        try:
            return await reply(request)
        except asyncio.CancelledError:
            self.gone.set()
            raise


@asynccontextmanager
async def fake_api_server(certificate: Path | None = None) -> AsyncIterator[FakeApiServer]:
    """A running server; with a certificate it speaks TLS."""
    server = FakeApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    server.runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await server.runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    site = web.TCPSite(server.runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = server.runner.addresses[0][1]
    server.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await server.runner.cleanup()


Script: TypeAlias = Callable[[FakeApiServer, Api], Awaitable[Any]]


def play(folder: Path, script: Script, *, deadline_s: float = LONG_S, token: str = "t0") -> Any:
    """Run `script` with a server and a client, and close both."""

    async def played() -> Any:
        async with fake_api_server() as server:
            api = Api(Access(kubeconfig(folder, server.url, {"token": token})), deadline_s=deadline_s)
            try:
                return await script(server, api)
            finally:
                await api.close()

    return asyncio.run(played())


# --- replies ----------------------------------------------------------------------------------------------------


def says(document: object, status: int = 200, **headers: str) -> Reply:
    """The document; `Retry_After` stands for Retry-After."""

    async def reply(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(document, status=status, headers=named)

    return reply


def refuses(status: int, reason: str, message: str = "it will not", details: object = None, **headers: str) -> Reply:
    """A Status, as the API server puts a refusal."""
    document = {"kind": "Status", "code": status, "reason": reason, "message": message, "details": details}
    return says(document, status, **headers)


def text(body: str, status: int = 200) -> Reply:
    """What is no JSON."""

    async def reply(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body, status=status)

    return reply


async def hangs(request: web.Request) -> web.StreamResponse:
    """Not even a status."""
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Closes without a word."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError


def watch(*events: object, then: str = "ends") -> Reply:
    """The events, each on a line, and then: `ends` in order, is `cut`, or `stays` open."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for event in events:
            line = event if isinstance(event, str) else json.dumps(event)
            await response.write(line.encode() + b"\n")
        if then == "ends":
            return response
        assert request.transport is not None
        if then == "cut":
            request.transport.abort()
        await asyncio.Event().wait()
        raise AssertionError

    return reply


# --- documents --------------------------------------------------------------------------------------------------


def deployment(name: str, version: int, replicas: int = 1, namespace: str = "llm", **more: Any) -> dict[str, Any]:
    """A Deployment, in short."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)},
        "spec": {"replicas": replicas},
        **more,
    }


def listing(version: int, *items: Mapping[str, Any], more: str = "") -> dict[str, Any]:
    """A list of Deployments, whose items leave out what they are; `more` continues it."""
    bare = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in items]
    metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": bare}


def event(kind: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """One event of a watch."""
    return {"type": kind, "object": said}


def bookmark(version: int) -> dict[str, Any]:
    """How far the watch has come."""
    return event("BOOKMARK", {"kind": "Deployment", "metadata": {"resourceVersion": str(version)}})


def error(code: int, reason: str) -> dict[str, Any]:
    """The event of a watch that cannot go on."""
    return event("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "too old"})


def kubeconfig(folder: Path, url: str, user: Mapping[str, Any] | None = None, authority: Path | None = None) -> Path:
    """Write a kubeconfig; YAML takes JSON as it is."""
    file = folder / "kubeconfig"
    cluster = {} if authority is None else {"certificate-authority": str(authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "planner", "user": dict(user or {})}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "planner"}}],
    }
    file.write_text(json.dumps(document))
    return file
