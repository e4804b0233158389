"""The cluster of a configuration, as `planner doctor` asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.kubernetes_targets import lease_of, pools_of

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.config.model import Service
    from planner.doctor.cluster import ClusterEvidence, Fleet
    from planner.doctor.report import Section
    from planner.scaling.types import Role, ServiceSamples

_NOWHERE = "(no cluster)"


@dataclass(frozen=True, slots=True)
class ClusterAsked:
    """What is to be known, and how the cluster is reached."""

    fleet: Fleet
    kubeconfig: Path | None

    async def examined(self) -> ClusterExamined:
        """Ask. Where there is no way to a cluster, that is what was found."""
        from planner.clock import WallClock
        from planner.connectors.kubernetes.api.access import Access, AccessError
        from planner.connectors.kubernetes.api.client import Api
        from planner.doctor.cluster import ClusterEvidence, examine

        access = Access(self.kubeconfig)
        try:
            url = str((await access.load()).host)
        except AccessError as error:
            return ClusterExamined(_NOWHERE, ClusterEvidence(self.fleet, failure=str(error)))
        return ClusterExamined(url, await examine(Api(access), self.fleet, WallClock()))


@dataclass(frozen=True, slots=True)
class ClusterExamined:
    """What was answered."""

    url: str
    evidence: ClusterEvidence

    @property
    def ready(self) -> Mapping[str, Mapping[Role, int]]:
        """Ready replicas by service, as far as they are known."""
        return self.evidence.ready

    def section(self, seen: Mapping[str, ServiceSamples]) -> Section:
        """The findings, judged by what Prometheus has told of the services, too."""
        from planner.doctor.cluster import judge
        from planner.doctor.report import Section

        return Section("kubernetes", self.url, tuple(self.evidence.fleet.services), judge(self.evidence, seen))


def cluster_asked(
    loaded: LoadedConfig, services: Mapping[str, Service], kubeconfig: Path | None, lease: str | None
) -> ClusterAsked:
    """For these services of a configuration. Raises UserError for targets or a Lease that make no sense."""
    from planner.config import build_settings
    from planner.doctor.cluster import Fleet

    settings = build_settings(loaded)
    # The Lease is that of the whole planner, whichever service is looked at.
    namespace = next(iter(loaded.config.services.values())).kubernetes.namespace
    chosen = {name: settings.services[name] for name in services}
    external = frozenset(name for name, service in services.items() if service.kubernetes.actuator == "external")
    fleet = Fleet(chosen, pools_of(services, settings), settings.budget_gpus, lease_of(lease, namespace), external)
    return ClusterAsked(fleet, kubeconfig)
