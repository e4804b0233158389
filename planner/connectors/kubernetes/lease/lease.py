"""Leader election on a Lease, and the fence that every write passes.

`Lease.run` is one candidate for as long as it runs. Nothing that fails ends it: it goes on trying, and after
`DEADLINE_S` without a renewal the fence is closed by the passing of time alone, whatever else the process is doing.
Ending it gives the Lease up, so end it after all else that writes. A standby is healthy. How two leaders are ruled
out: `election`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol
from uuid import uuid4

from planner.clock import Clock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.lease.election import DEADLINE_S, Candidate, closed, decide, held
from planner.connectors.kubernetes.lease.record import (
    API_VERSION,
    LeaseError,
    given_up,
    record_of,
    renewed,
    taken,
    unheld,
)
from planner.connectors.kubernetes.objects.paths import Object

log = logging.getLogger("planner.lease")

RENEW_S = 2.0
RETRY_S = 1.0
"""After a failure; sooner than a renewal would be due, since the deadline is running."""
ROUND_TIMEOUT_S = 4.0
"""A round that hangs leaves time for another before the deadline."""


class LeaseApi(Protocol):
    """What is needed of the API server. Each raises ApiError, and may be cancelled."""

    async def get(self, path: str) -> Any:
        """The object at the path."""
        ...

    async def create(self, path: str, body: Object) -> Any:
        """Add an object to the collection at the path; the object as it then is."""
        ...

    async def replace(self, path: str, body: Object) -> Any:
        """Replace the object at the path, if it is still of the body's resourceVersion; the object as it then is."""
        ...


class NotLeadingError(Exception):
    """Somebody else may write, or nobody; this process must not."""


def monotonic_s() -> float:
    """Seconds that only ever grow, also while the machine is suspended, which `time.monotonic` does not on Linux."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Lease:
    """One candidate for the Lease `name`."""

    def __init__(
        self,
        api: LeaseApi,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        """`identity` names this process to people; what makes it unique is added. `monotonic` gives seconds."""
        self._api = api
        self._namespace, self._name = namespace, name
        self._all = f"/apis/{API_VERSION}/namespaces/{namespace}/leases"
        self._path = f"{self._all}/{name}"
        self._clock = clock
        self._monotonic = monotonic
        self._candidate = Candidate(f"{identity}_{uuid4()}")
        self._ours: Object | None = None
        self._led = False
        self.trouble: str | None = None
        """Why the last look at the Lease, or the last renewal, failed; None when it did not."""

    # --- the fence --------------------------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """As it stands in the Lease."""
        return self._candidate.identity

    @property
    def leads(self) -> bool:
        """Whether this process may write now."""
        return self._monotonic() < self._candidate.may_write_until_s

    @property
    def holder(self) -> str | None:
        """Who held the Lease when it was seen last; None when nobody is known to."""
        return (self._candidate.seen.holder or None) if self._candidate.seen is not None else None

    def may_write_until(self) -> float:
        """On the monotonic clock; minus infinity for a standby."""
        return self._candidate.may_write_until_s

    def check(self) -> None:
        """Pass the fence: to be called right before each write is sent. Raises NotLeadingError."""
        if not self.leads:
            who = "this process held it too long ago" if self.holder == self.identity else f"holder: {self.holder}"
            raise NotLeadingError(f"not leading: Lease {self._namespace}/{self._name}, {who}")

    # --- the candidate ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be a candidate until cancelled; then close the fence and give the Lease up."""
        try:
            while True:
                pause_s = await self._attempt()
                self._tell()
                await self._clock.sleep_until(self._clock.now_s() + pause_s)
        finally:
            self._candidate = closed(self._candidate)
            await self._give_up()

    async def _attempt(self) -> float:
        """One round; the seconds until the next."""
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                await self._round()
        except (ApiError, LeaseError, TimeoutError) as error:
            if _is_conflict(error):
                return RETRY_S
            self._note(_in_words(error))
            asked_s = error.retry_after_s if isinstance(error, ApiError) else None
            return max(RETRY_S, min(asked_s or 0.0, DEADLINE_S))
        self._note(None)
        return RENEW_S

    async def _round(self) -> None:
        lease = await self._read() if self._ours is None else self._ours
        record = None if lease is None else record_of(lease)
        sent_s = self._monotonic()
        self._candidate, action = decide(self._candidate, record, sent_s)
        # Should this fail, nobody knows what became of it: look before the next.
        self._ours = None
        if action == "create":
            await self._api.create(self._all, unheld(self._namespace, self._name))
        if lease is None or action not in {"take", "renew"}:
            return
        now_s = self._clock.now_s()
        wanted = renewed(lease, now_s) if action == "renew" else taken(lease, self.identity, now_s)
        answer = await self._api.replace(self._path, wanted)
        self._candidate = held(self._candidate, record_of(answer), sent_s)
        self._ours = answer

    async def _read(self) -> Object | None:
        try:
            lease: Object = await self._api.get(self._path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return lease

    async def _give_up(self) -> None:
        """Write until it is seen that the Lease is not ours."""
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                while (lease := await self._read()) is not None and record_of(lease).holder == self.identity:
                    try:
                        await self._api.replace(self._path, given_up(lease, self._clock.now_s()))
                    except ApiError as error:
                        # A renewal that was cancelled may still arrive in between.
                        if not _is_conflict(error):
                            raise
        except (ApiError, LeaseError, TimeoutError) as error:
            self._note(f"not given up, so the next leader has to wait: {_in_words(error)}")

    # --- what people see --------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        if self.leads == self._led:
            return
        self._led = not self._led
        log.log(
            logging.INFO if self._led else logging.WARNING,
            "%s: Lease %s/%s, as %s",
            "leading" if self._led else "standing by",
            self._namespace,
            self._name,
            self.identity,
        )

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and self.trouble is None:
            log.warning("Lease %s/%s: %s", self._namespace, self._name, trouble)
        self.trouble = trouble


def _is_conflict(error: Exception) -> bool:
    """Somebody else was faster, which is no trouble."""
    return isinstance(error, ApiError) and error.status == 409


def _in_words(error: Exception) -> str:
    return f"no answer within {ROUND_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else str(error)
