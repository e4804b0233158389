"""JSON to and from the Kubernetes API server: every call has a deadline, every failure is one kind of exception.

Through the official client's lower half: its configuration, tokens and TLS. Not through its models, which drop fields
they do not know.

- A call is answered within its deadline, in seconds, or raises ApiError. Cancelled, it leaves nothing behind here; a
  write may have been done over there.
- Asked to wait (429 or 503 with Retry-After), it waits and asks again where the deadline leaves time for it: the
  server did nothing yet.
- Not let in (401, or the server's certificate no longer holds), it reads the credentials anew and asks once more.
- Nothing else is repeated here: the caller knows whether that would do harm. But HTTP lets aiohttp send a GET, PUT or
  DELETE once more when the connection breaks before any answer (RFC 9112, section 9.3.1); a PUT that had arrived is
  then answered with Conflict, and a DELETE with NotFound.

Limits: an answer is parsed in one go on the event loop, a page of a list at a time. Importing this module loads the
official client: 58 MiB, and about a second.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import aiohttp

from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.errors import ApiError, refused
from planner.connectors.kubernetes.api.listing import Listing, items_of, selectors
from planner.connectors.kubernetes.api.session import FAILURES, Request, Session, Sessions, broken
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.writers import OURS

_PAGE = 500
"""Objects a page, as kubectl has it: some 5 MiB of pods."""
_FIRST_WAIT_S = 0.05
"""Before asking again; doubles each time, so that a Retry-After of 0 makes no storm."""


class Api:
    """One API server. Belongs to one event loop."""

    def __init__(self, access: Access, *, deadline_s: float = 5.0) -> None:
        self._sessions = Sessions(access)
        self._deadline_s = deadline_s
        self.calls: Counter[tuple[str, str]] = Counter()
        """By verb, a watch as such, and by status, or by what went wrong before there was one."""

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read one object, or whatever else is at the path. Raises ApiError."""
        return await self._call(Request("GET", path, params))

    async def items(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        """All objects of a collection, read page by page, each within the deadline. Raises ApiError.

        They are as the store has them, never older, as those of the API server's cache might be.
        """
        params: dict[str, str | int] = {"limit": _PAGE, **selectors(label_selector, field_selector)}
        items: list[Object] = []
        while True:
            try:
                page = await self._call(Request("GET", path, params))
            except ApiError as error:
                if error.status != 410 or "continue" not in params:
                    raise
                # The store forgot the moment that the first page was of: read all of it at once.
                params = selectors(label_selector, field_selector)
                items = []
                continue
            items += items_of(page)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))
            params["continue"] = metadata["continue"]

    async def patch(self, path: str, body: Object, *, field_manager: str = OURS) -> dict[str, Any]:
        """Merge `body` into the object (RFC 7386), the one patch that all kinds know. Answers the new object.

        With `metadata.resourceVersion` in `body`, an object that changed since is refused with Conflict. Raises
        ApiError.
        """
        params = {"fieldManager": field_manager}
        return await self._call(Request("PATCH", path, params, body, "application/merge-patch+json"))

    async def create(self, path: str, body: Object, *, field_manager: str = OURS) -> dict[str, Any]:
        """Put a new object into the collection at the path. Raises ApiError, AlreadyExists when it is there."""
        return await self._call(Request("POST", path, {"fieldManager": field_manager}, body))

    async def replace(self, path: str, body: Object, *, field_manager: str = OURS) -> dict[str, Any]:
        """Put the whole object anew; what `body` leaves out is lost. Raises ApiError."""
        return await self._call(Request("PUT", path, {"fieldManager": field_manager}, body))

    async def delete(self, path: str) -> dict[str, Any]:
        """Delete the object; it may live on until its finalizers are done. Raises ApiError."""
        return await self._call(Request("DELETE", path))

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str | int], *, silence_s: float
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """One JSON object a line, as a watch sends them, until the server ends it.

        Entered once the server has answered, within the deadline. Raises ApiError then, and between objects when the
        connection breaks or nothing comes for `silence_s`.
        """
        request = Request("GET", path, params)
        async with AsyncExitStack() as kept:
            try:
                async with asyncio.timeout(self._deadline_s):
                    response = await self._open(request, kept)
            except TimeoutError:
                raise self._late(request, self._deadline_s) from None
            async with aclosing(self._lines(request, response, silence_s)) as lines:
                yield lines

    async def close(self) -> None:
        """Let go of all connections. Calls under way fail, and so do later ones."""
        await self._sessions.close()

    async def _call(self, request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._deadline_s), AsyncExitStack() as kept:
                response = await self._open(request, kept)
                body = await response.read()
        except TimeoutError:
            raise self._late(request, self._deadline_s) from None
        except FAILURES as error:
            raise broken(request, error) from error
        return _parsed(request, response.status, body)

    async def _open(self, request: Request, kept: AsyncExitStack) -> aiohttp.ClientResponse:
        """An answer that is a success; `kept` closes it. Raises ApiError."""
        until_s = asyncio.get_running_loop().time() + self._deadline_s
        wait_s, renewed = _FIRST_WAIT_S, False
        while True:
            answer = await self._attempt(request, kept, may_renew=not renewed)
            if isinstance(answer, aiohttp.ClientResponse):
                return answer
            if _not_let_in(answer) and not renewed:
                renewed = True
                continue
            if answer.status not in (429, 503) or answer.retry_after_s is None:
                raise answer
            wait_s = max(wait_s, answer.retry_after_s)
            if asyncio.get_running_loop().time() + wait_s >= until_s:
                raise answer
            await asyncio.sleep(wait_s)
            wait_s *= 2

    async def _attempt(
        self, request: Request, kept: AsyncExitStack, *, may_renew: bool
    ) -> aiohttp.ClientResponse | ApiError:
        session: Session | None = None
        async with AsyncExitStack() as attempt:
            try:
                session = await attempt.enter_async_context(self._sessions.lent())
                response = await attempt.enter_async_context(session.ask(request))
                self._count(request, str(response.status))
                if response.status < 300:
                    kept.push_async_callback(attempt.pop_all().aclose)
                    return response
                error = refused(
                    str(request),
                    response.status,
                    response.reason,
                    response.headers.get("Retry-After"),
                    await response.read(),
                )
            except TimeoutError:
                raise
            except FAILURES as failure:
                error = broken(request, failure)
                self._count(request, error.reason)
            if session is not None and may_renew and _not_let_in(error):
                self._sessions.renew(session)
            return error

    async def _lines(
        self, request: Request, response: aiohttp.ClientResponse, silence_s: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    line = await response.content.readline()
            except TimeoutError:
                raise self._late(request, silence_s) from None
            except FAILURES as error:
                raise broken(request, error) from error
            if not line:
                return
            yield _parsed(request, response.status, line)

    def _count(self, request: Request, outcome: str) -> None:
        self.calls["WATCH" if "watch" in request.params else request.verb, outcome] += 1

    def _late(self, request: Request, limit_s: float) -> ApiError:
        self._count(request, "Timeout")
        text = f"{request}: nothing came within {limit_s:g} s; see whether the API server is overloaded"
        return ApiError(None, "Timeout", text)


def _not_let_in(error: ApiError) -> bool:
    return error.status == 401 or error.reason == "Tls"


def _parsed(request: Request, status: int, body: bytes) -> dict[str, Any]:
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        text = f"{request}: the answer is no JSON object; see what stands between the planner and the API server"
        raise ApiError(status, "NotJson", text)
    return said
