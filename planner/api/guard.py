"""What every request passes before any route: whom it is addressed to, where it comes from, how much it carries.

- The Host header names this service: otherwise a page elsewhere could, by making its own name resolve to this
  address, read the planner as if it were its own (DNS rebinding). IP addresses and localhost cannot be rebound.
- A browser says in Origin which page a state change comes from; only this service's own may.
- A body is at most `MAX_BODY` bytes, counted as it comes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.api.answers import error_response

MAX_BODY = 64 * 1024

# plotly sets styles of elements, and turns charts into images to be saved.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d+)?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """An ASGI application around another. `hosts` are names it answers to; one with a leading dot means all below."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await error_response(*refusal)(scope, receive, send_with_headers)
            return
        await self._app(scope, _counted(receive), send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, f"host: {host[:200]!r} is not a name of this planner; add it to the allowed hosts"
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None and _authority(origin) != host.lower():
            return 403, f"origin: {origin[:200]!r} is another site; change state from the planner's own page"
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > MAX_BODY:
            return 413, f"body: {length[:20]} bytes are more than {MAX_BODY}; send less"
        return None

    def _is_ours(self, host: str) -> bool:
        parts = _HOST.fullmatch(host.lower())
        if parts is None:
            return False
        name = parts["name"].rstrip(".")
        if name == "localhost" or _is_address(name.strip("[]")):
            return True
        return any(name == ours or (ours.startswith(".") and name.endswith(ours)) for ours in self._hosts)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _counted(receive: Receive) -> Receive:
    """`receive`, which raises once more than `MAX_BODY` bytes have come."""
    count = 0

    async def counting() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > MAX_BODY:
            raise HTTPException(413, f"body: is more than {MAX_BODY} bytes; send less")
        return message

    return counting
