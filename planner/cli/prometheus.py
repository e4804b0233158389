"""From the configuration to one source for all services: those that share a Prometheus are asked for together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from planner.clock import Clock
from planner.config.metrics import Metrics, Prometheus, labels_of
from planner.config.model import Service
from planner.errors import UserError
from planner.scaling.types import Role, ServiceSamples
from planner.slo.targets import MS_PER_S
from planner.sources.prometheus.answers import Cause
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import BasicAuth, PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource
from planner.sources.types import PastError, Queries


class Sources:
    """Every service's own source; services that share a Prometheus share one."""

    def __init__(self, services: Mapping[str, Service], clock: Clock) -> None:
        """Raises UserError when a service has no Prometheus, or a setting or a metric map makes no sense."""
        self._clock = clock
        self._shared: dict[str, _Shared] = {}
        self._retiring: list[_Shared] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._before = Queries(0, {}, 0.0)
        """Asked by sources that are gone."""
        self.prepare(services)()

    def prepare(self, services: Mapping[str, Service]) -> Callable[[], None]:
        """What takes up other services, or the same otherwise configured, when called. Raises UserError as above.

        A source whose services did not change is kept, with what it has found out.
        """
        shared = {
            key: self._shared_by(key, section, {name: asked(service) for name, service in sharers.items()})
            for key, (section, sharers) in sharing(services).items()
        }

        def commit() -> None:
            replaced = [old for key, old in self._shared.items() if shared.get(key) is not old]
            self._shared = shared
            self._retiring += replaced
            for old in replaced:
                task = asyncio.create_task(self._retire(old), name="retire a source")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        return commit

    async def collect(self, service: str) -> ServiceSamples:
        """What the service's source knows now."""
        return await self._source(service).collect(service)

    async def loads(self, service: str, role: Role) -> Mapping[str, float]:
        """Requests in work and waiting of each of a pool's pods; none where that is not told."""
        return await self._source(service).loads(service, role)

    async def past(
        self, services: Collection[str], at_s: Sequence[float]
    ) -> AsyncIterator[Mapping[str, Sequence[ServiceSamples]]]:
        """What would have been collected then. Raises PastError when one Prometheus fails, after asking the others."""
        failures: list[str] = []
        for each in tuple(self._shared.values()):
            # One that is gone since the question was thought of is nobody's.
            names = [service for service in services if service in each.asked]
            if not names:
                continue
            try:
                async for piece in each.source.past(names, at_s):
                    yield piece
            except PastError as error:
                failures.append(str(error))
        if failures:
            raise PastError("; ".join(failures))

    def queries(self) -> Queries:
        """What was asked of all Prometheuses together."""
        return _together(self._before, (*self._shared.values(), *self._retiring))

    async def close(self) -> None:
        """All of them, each once."""
        for each in self._shared.values():
            await each.source.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _retire(self, old: _Shared) -> None:
        """Let it answer those who wait for it."""
        await old.source.retire()
        self._retiring.remove(old)
        self._before = _together(self._before, (old,))

    def _shared_by(self, key: str, section: Prometheus, asked: Mapping[str, Asked]) -> _Shared:
        known = self._shared.get(key)
        if known is not None and known.asked == asked:
            return known
        client = PrometheusClient(settings(section))
        source = PrometheusSource(
            client,
            asked,
            load_maps([Path(file) for file in section.maps]),
            self._clock,
            window_s=section.window_s,
            deadline_s=section.timeout_s,
            pod_labels=tuple(section.pod_labels),
        )
        return _Shared(client, source, asked)

    def _source(self, service: str) -> PrometheusSource:
        for each in self._shared.values():
            if service in each.asked:
                return each.source
        raise KeyError(service)


@dataclass(frozen=True, slots=True)
class _Shared:
    """One Prometheus and those who share it."""

    client: PrometheusClient
    source: PrometheusSource
    asked: Mapping[str, Asked]


def _together(before: Queries, shared: Iterable[_Shared]) -> Queries:
    stats = [each.client.stats() for each in shared]
    return Queries(
        asked=before.asked + sum(each.queries for each in stats),
        failed={
            cause: before.failed.get(cause, 0) + sum(each.failures.get(cause, 0) for each in stats)
            for cause in get_args(Cause)
        },
        seconds=before.seconds + sum(each.seconds for each in stats),
    )


def sharing(services: Mapping[str, Service]) -> Mapping[str, tuple[Prometheus, Mapping[str, Service]]]:
    """Services by what is written of their Prometheus, that section among it. Raises UserError when one has none."""
    lacking = [name for name, service in services.items() if service.prometheus.url is None]
    if lacking:
        raise UserError(f"prometheus.url: {', '.join(lacking)} has none; give the address of its Prometheus")
    by_section: dict[str, tuple[Prometheus, dict[str, Service]]] = {}
    for name, service in services.items():
        section = service.prometheus
        by_section.setdefault(section.model_dump_json(), (section, {}))[1][name] = service
    return by_section


def asked(service: Service) -> Asked:
    """What is to be known of a service. Raises UserError when its pools cannot be told apart."""
    metrics: Metrics = service.metrics
    pools = {role: labels_of(getattr(metrics, role)) for role in service.pools}
    if len(pools) > 1 and not all(pools.values()):
        lacking = next(role for role, labels in pools.items() if not labels)
        raise UserError(
            f"metrics.{lacking}: is empty; give labels that tell the {lacking} pool's engines from the others, "
            f"such as role={lacking}"
        )
    selector = Selector(labels_of(metrics.match), pools, labels_of(metrics.router) or None)
    return Asked(selector, service.pools, service.sla.ttft / MS_PER_S)


def settings(section: Prometheus) -> PrometheusSettings:
    """How a Prometheus is reached. Raises UserError."""
    assert section.url is not None
    if (section.user is None) != (section.password_file is None):
        raise UserError("prometheus.user, prometheus.password_file: one is of no use without the other; give both")
    basic = None
    if section.user is not None and section.password_file is not None:
        basic = BasicAuth(section.user, Path(section.password_file))
    return PrometheusSettings(
        section.url,
        bearer_token_file=_path(section.bearer_token_file),
        basic_auth=basic,
        ca_file=_path(section.ca_file),
        cert_file=_path(section.cert_file),
        key_file=_path(section.key_file),
        verify=section.verify,
        headers={} if section.tenant is None else {"X-Scope-OrgID": section.tenant},
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
