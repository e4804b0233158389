"""Who may change anything: whoever knows the token, in moderation.

The token stands in a file, so that it can be changed without a restart and never shows in a command line. It counts
only in the Authorization header: a cookie would be sent by any page, a query is written into logs.

Wrong tokens are counted per address, so that a stranger's guesses lock out the stranger and not the operator. Units:
seconds on a monotonic clock.
"""

from __future__ import annotations

import hmac
import math
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.security import HTTPBearer

from planner.api.answers import refused

FAILURES_A_MINUTE = 10
CHANGES_A_MINUTE = 30
_MINUTE_S = 60.0
_ADDRESSES = 1000
"""Most addresses whose failures are remembered."""

bearer = HTTPBearer(auto_error=False, description="The text of the planner's token file.")
"""Documents the header; `Security` looks at it."""


class TokenFile:
    """A token that is read again when its file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = b""

    def read(self) -> bytes:
        """The token; empty when there is none."""
        try:
            info = self.path.stat()
            seen = info.st_mtime_ns, info.st_ino, info.st_size
            if seen != self._seen:
                self._token = self.path.read_bytes().strip()
                self._seen = seen
        except OSError:
            self._seen, self._token = None, b""
        return self._token

    def warning(self) -> str | None:
        """What is amiss with the file's permissions."""
        try:
            open_to_others = self.path.stat().st_mode & stat.S_IROTH
        except OSError:
            return None
        return f"token file: {self.path} is readable by every user; chmod o-r it" if open_to_others else None


class Limit:
    """At most `count` events in the last minute."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._at_s: deque[float] = deque(maxlen=count)

    def wait_s(self, now_s: float) -> float:
        """Seconds until another may happen; 0 when it may now."""
        if len(self._at_s) < self._count:
            return 0.0
        return max(0.0, self._at_s[0] + _MINUTE_S - now_s)

    def add(self, now_s: float) -> None:
        """One has happened."""
        self._at_s.append(now_s)


class Security:
    """The token, the names the planner answers to, and who has tried too often."""

    def __init__(
        self,
        token_file: Path | None = None,
        hosts: tuple[str, ...] = (),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hosts` are names beside localhost and IP addresses; one with a leading dot means all names below it."""
        self.hosts = hosts
        self._token = None if token_file is None else TokenFile(token_file)
        self._monotonic_s = monotonic_s
        self._failures: OrderedDict[str, Limit] = OrderedDict()
        self._changes = Limit(CHANGES_A_MINUTE)

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend, a sentence each."""
        warning = None if self._token is None else self._token.warning()
        return () if warning is None else (warning,)

    async def authorise(self, request: Request) -> None:
        """Pass whoever gives the token.

        Raises HTTPException: 401 for a wrong one, 429 after too many, 503 while there is none to compare with.
        """
        address = "" if request.client is None else request.client.host
        now_s = self._monotonic_s()
        failures = self._failures.get(address)
        if failures is not None and (wait_s := failures.wait_s(now_s)) > 0:
            raise _too_many("authorization: too many wrong tokens", wait_s)
        if self._token is None:
            raise refused(503, "token file: none is configured, so nothing can be changed here; configure one")
        token = self._token.read()
        if not token:
            raise refused(503, f"token file: {self._token.path} is missing or empty; write a token into it")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Starlette decodes headers as Latin-1; any byte a client sends comes back the same.
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token):
            return
        self._fail(address, now_s)
        line = "authorization: the token is missing or wrong; send it as: Authorization: Bearer TOKEN"
        raise refused(401, line, {"WWW-Authenticate": "Bearer"})

    def may_change(self) -> None:
        """Raises HTTPException 429 when people changed too much within a minute."""
        if (wait_s := self._changes.wait_s(self._monotonic_s())) > 0:
            raise _too_many(f"orders: more than {CHANGES_A_MINUTE} a minute", wait_s)

    def changed(self) -> None:
        """Somebody changed something."""
        self._changes.add(self._monotonic_s())

    def _fail(self, address: str, now_s: float) -> None:
        limit = self._failures.pop(address, None) or Limit(FAILURES_A_MINUTE)
        limit.add(now_s)
        self._failures[address] = limit
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def _too_many(what: str, wait_s: float) -> HTTPException:
    seconds = math.ceil(wait_s)
    return refused(429, f"{what}; wait {seconds} s", {"Retry-After": str(seconds)})
