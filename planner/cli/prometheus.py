"""From the configuration to one source for all services: those that share a Prometheus are asked for together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from planner.clock import Clock
from planner.config.metrics import Metrics, Prometheus, labels_of
from planner.config.model import Service
from planner.errors import UserError
from planner.scaling.types import ServiceSamples
from planner.slo.targets import MS_PER_S
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import BasicAuth, PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import Asked, PrometheusSource
from planner.sources.types import Source


class Sources:
    """Each service's own source."""

    def __init__(self, of: Mapping[str, Source]) -> None:
        self._of = of

    async def collect(self, service: str) -> ServiceSamples:
        """What the service's source knows now."""
        return await self._of[service].collect(service)

    async def close(self) -> None:
        """All of them, each once."""
        for source in dict.fromkeys(self._of.values()):
            await source.close()


def prometheus_sources(services: Mapping[str, Service], clock: Clock) -> Sources:
    """A source for every service.

    Raises UserError when a service has no Prometheus, or a setting or a metric map makes no sense.
    """
    lacking = [name for name, service in services.items() if service.prometheus.url is None]
    if lacking:
        raise UserError(f"prometheus.url: {', '.join(lacking)} has none; give the address of its Prometheus")
    of: dict[str, Source] = {}
    by_section: dict[str, tuple[Prometheus, dict[str, Service]]] = {}
    for name, service in services.items():
        section = service.prometheus
        by_section.setdefault(section.model_dump_json(), (section, {}))[1][name] = service
    for section, sharing in by_section.values():
        source = PrometheusSource(
            PrometheusClient(_settings(section)),
            {name: _asked(service) for name, service in sharing.items()},
            load_maps([Path(file) for file in section.maps]),
            clock,
            window_s=section.window_s,
            deadline_s=section.timeout_s,
            pod_labels=tuple(section.pod_labels),
        )
        of |= dict.fromkeys(sharing, source)
    return Sources(of)


def _asked(service: Service) -> Asked:
    metrics: Metrics = service.metrics
    pools = {role: labels_of(getattr(metrics, role)) for role in service.pools}
    if len(pools) > 1 and not all(pools.values()):
        lacking = next(role for role, labels in pools.items() if not labels)
        raise UserError(
            f"metrics.{lacking}: is empty; give labels that tell the {lacking} pool's engines from the others, "
            f"such as role={lacking}"
        )
    return Asked(Selector(labels_of(metrics.match), pools), service.pools, service.sla.ttft / MS_PER_S)


def _settings(section: Prometheus) -> PrometheusSettings:
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
