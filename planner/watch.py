"""What is known of each service right now: asked side by side, taken as it comes.

A service's samples stay until newer ones come, and grow old; an answer that never came, or an error, leaves them absent
with the cause. Nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import TypeVar

from planner.clock import Clock
from planner.connectors.types import Connector
from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Absent, PoolSamples, ReplicaSamples, Role, ServiceSamples
from planner.sources.types import Source

log = logging.getLogger("planner.watch")

T = TypeVar("T")

BREATH = 20
"""So many services are dealt with in a row before others may run: requests are answered meanwhile."""


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TimeoutError when it takes longer on the clock; then it is cancelled."""
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep_until(clock.now_s() + seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return await task
    finally:
        for each in (task, timer):
            each.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)


class Watch:
    """The newest samples of every service."""

    def __init__(self, source: Source, connector: Connector, clock: Clock, timeout_s: float) -> None:
        self._source = source
        self._connector = connector
        self._clock = clock
        self._timeout_s = timeout_s
        self._engines: dict[str, ServiceSamples] = {}
        self._replicas: dict[str, Mapping[Role, ReplicaSamples]] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._trouble: dict[tuple[str, str], str] = {}

    async def ask(self, services: Iterable[str]) -> None:
        """Ask everybody who does not still owe an answer; wait for none."""
        for index, service in enumerate(services):
            if index % BREATH == 0:
                await asyncio.sleep(0)
            for kind, ask in (("source", self._ask_source), ("connector", self._ask_connector)):
                if (service, kind) not in self._asking:
                    task = asyncio.create_task(ask(service), name=f"{kind} {service}")
                    self._asking[service, kind] = task
                    task.add_done_callback(partial(self._answered, (service, kind)))

    def samples(self, services: Mapping[str, ServiceSettings]) -> Mapping[str, ServiceSamples]:
        """What is known now."""
        return {name: self._known(name, service) for name, service in services.items()}

    def trouble(self, service: str) -> tuple[str, ...]:
        """What is wrong with a service's source or connector, and odd about its numbers, a sentence each."""
        wrong = tuple(text for (name, _), text in self._trouble.items() if name == service)
        engines = self._engines.get(service)
        return wrong if engines is None else (*wrong, *engines.remarks)

    def forget(self, services: Iterable[str]) -> None:
        """Forget every service but these."""
        kept = set(services)
        for service in {*self._engines, *self._replicas} - kept:
            self._engines.pop(service, None)
            self._replicas.pop(service, None)
        self._trouble = {key: text for key, text in self._trouble.items() if key[0] in kept}

    def under_way(self) -> list[asyncio.Task[None]]:
        """Questions without an answer yet."""
        return list(self._asking.values())

    def _answered(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._asking[key]

    async def _ask_source(self, service: str) -> None:
        answer = await self._answer(service, "source", self._source.collect(service))
        self._engines[service] = _blind(answer) if isinstance(answer, Absent) else answer

    async def _ask_connector(self, service: str) -> None:
        answer = await self._answer(service, "connector", self._connector.read(service))
        self._replicas[service] = {} if isinstance(answer, Absent) else answer

    async def _answer(self, service: str, kind: str, work: Awaitable[T]) -> T | Absent:
        try:
            answer = await within(self._clock, self._timeout_s, work)
        except TimeoutError:
            cause = f"the {kind} did not answer within {self._timeout_s:g} s"
        # Whatever an outside system can throw must stay this service's own trouble.
        except Exception as error:
            log.exception("the %s failed", kind, extra={"service": service})
            cause = f"the {kind} failed: {type(error).__name__}: {error}"
        else:
            self._trouble.pop((service, kind), None)
            return answer
        self._trouble[service, kind] = cause
        return Absent(cause)

    def _known(self, name: str, service: ServiceSettings) -> ServiceSamples:
        engines = self._engines.get(name) or _blind(Absent("the source has not answered yet"))
        replicas = self._replicas.get(name, {})
        cause = self._trouble.get((name, "connector"), "the connector has not answered yet")
        none = Absent(cause)
        unknown = ReplicaSamples(none, none, none, none, none, none)
        told = {role: replicas.get(role, unknown) for role in service.pools}
        return replace(
            engines,
            pools={role: _joined(engines.pools.get(role), counts) for role, counts in told.items()},
            starts={role: one.starts for role, one in told.items() if not isinstance(one.starts, Absent)},
        )


_GAUGES = ("reporting", "waiting", "running")
_COUNTS = tuple(field.name for field in fields(PoolSamples) if field.name not in _GAUGES)


def _joined(engines: PoolSamples | None, replicas: ReplicaSamples) -> PoolSamples:
    """The engines' gauges and the orchestrator's counts of one pool."""
    counts = {name: getattr(replicas, name) for name in _COUNTS}
    silent = Absent("the source says nothing of this pool")
    gauges = {name: silent if engines is None else getattr(engines, name) for name in _GAUGES}
    return PoolSamples(**counts, **gauges)


def _blind(absent: Absent) -> ServiceSamples:
    return ServiceSamples(0.0, absent, absent, absent, absent, absent, absent, absent, {}, absent)
