"""Requests through the official client, and how its connections end.

A session is one client with the credentials it was opened with. Those that no longer do are renewed: the next request
opens a new session, and the old one is closed when the last of its requests, such as a watch, has ended.

Limits: the client's own deadline of 300 s is switched off, so callers set one. Proxies of the environment count, as
they do for kubectl.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from planner import __version__
from planner.connectors.kubernetes.api.access import Access, AccessError
from planner.connectors.kubernetes.api.errors import ApiError, one_line

FAILURES = (aiohttp.ClientError, AccessError, ConfigException, OSError, ValueError)
"""What asking may raise, apart from running out of time."""
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API server."""

    verb: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


class Session:
    """One client."""

    def __init__(self, configuration: Configuration) -> None:
        self._client: Any = ApiClient(configuration)
        self._client.user_agent = f"sla-planner/{__version__}"
        self._closed = False
        self.users = 0

    @asynccontextmanager
    async def ask(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send it and wait for status and headers. Raises one of FAILURES.

        Left before the answer is read to its end, as a watch is, the connection is gone.
        """
        response = await self._send(request)
        transport = response.connection.transport if response.connection else None
        try:
            yield response
        finally:
            # Else TLS would wait up to 30 s for the other side's goodbye. Once read, the connection serves others.
            if transport is not None and (response.connection is not None or transport.is_closing()):
                transport.abort()
            response.release()

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        verb, url, headers, body, _ = await self._client.param_serialize(
            request.verb,
            request.path,
            query_params=dict(request.params),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        # A token's file often ends in a line feed, which no header may.
        headers = {name: value.strip() for name, value in headers.items()}
        try:
            answer = await self._client.call_api(verb, url, headers, body, _request_timeout=_NO_LIMIT)
        except (AssertionError, RuntimeError):
            # So aiohttp trips over a session that is closed meanwhile.
            if self._closed:
                raise ConnectionAbortedError("the client was closed") from None
            raise
        response: aiohttp.ClientResponse = answer.response
        return response

    async def close(self) -> None:
        """Let go of its connections; requests under way are cut."""
        self._closed = True
        await self._client.close()


class Sessions:
    """The session to use now, and those still in use. Belongs to one event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._current: Session | None = None
        self._open: set[Session] = set()
        self._closed = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Session]:
        """A session for one request. Raises ApiError once closed, and AccessError."""
        session = self._current or await self._opened()
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if session.users == 0 and session is not self._current:
                self._open.discard(session)
                await session.close()

    def renew(self, session: Session) -> None:
        """Its credentials no longer do: let the next request load new ones, unless another did so already."""
        if self._current is session:
            self._current = None

    async def close(self) -> None:
        """Close all; requests under way are cut, later ones fail."""
        self._closed = True
        self._current = None
        while self._open:
            await self._open.pop().close()

    async def _opened(self) -> Session:
        configuration = None if self._closed else await self._access.load()
        if configuration is None or self._closed:
            raise ApiError(None, "Closed", "the Kubernetes client was closed; make a new one")
        # Two first requests at once load twice; the first to be done counts.
        if self._current is None:
            self._current = Session(configuration)
            self._open.add(self._current)
        return self._current


def broken(request: Request, error: Exception) -> ApiError:
    """What an exception on the way says."""
    if isinstance(error, AccessError):
        return ApiError(None, "Credentials", f"{request}: {error}")
    if isinstance(error, ConfigException):
        return ApiError(None, "Credentials", f"{request}: the token's file cannot be read; mount it into the pod")
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError | ssl.CertificateError):
        return ApiError(None, "Tls", f"{request}: {_words(error)}; give the cluster's certificate authority")
    if isinstance(error, aiohttp.ClientConnectorError):
        return ApiError(
            None,
            "Unreachable",
            f"{request}: {_words(error)}; see whether the API server runs and is let through to",
        )
    return ApiError(None, "Cut", f"{request}: the connection broke ({_words(error)}); see the API server's log")


def _words(error: Exception) -> str:
    """The system's own words, such as Connection refused."""
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return one_line(getattr(inner, "strerror", None) or str(inner) or type(inner).__name__)
