"""A planner's hands on a Kubernetes cluster, as configured: API client, watches, lease and connector."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from planner.cli.kubernetes_targets import lease_of, pools_of

if TYPE_CHECKING:
    from planner.clock import Clock
    from planner.config.model import Service
    from planner.connectors.kubernetes.cluster import Cluster
    from planner.connectors.kubernetes.connector import KubernetesConnector
    from planner.connectors.kubernetes.events import Events
    from planner.connectors.kubernetes.lease import Lease
    from planner.connectors.types import Applied
    from planner.live import Beside
    from planner.loop import ControlLoop
    from planner.scaling.decision import Decision
    from planner.scaling.settings import PlannerSettings

TELL_EVERY_S = 5.0
MOST_TOLD = 3
"""Failures in one sentence; more of them have one cause."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What runs beside the loop, and what the loop hands its plans to."""

    connector: KubernetesConnector
    cluster: Cluster
    lease: Lease
    events: Events
    before: dict[str, Decision] = field(default_factory=dict)
    """Each service's last decision."""

    def beside(self, loop: ControlLoop, clock: Clock) -> tuple[Beside, ...]:
        """What runs along with the loop."""
        return self.cluster.run, self.lease.run, self.events.run, partial(self._watch, loop, clock)

    def say(self, decision: Decision, applied: Applied | None, trouble: tuple[str, ...]) -> None:
        """Events of a decision, on the objects it is about; a standby decides as well and says nothing."""
        from planner.connectors.kubernetes.events_notes import EventReason, Note, events_of
        from planner.connectors.kubernetes.events_series import Target

        service, before = decision.service, self.before.get(decision.service)
        self.before[service] = decision
        if not self.lease.leads:
            return
        conflicts = self.connector.conflicts(service)
        notes = (
            *events_of(decision, applied, before, trouble),
            *(Note(EventReason.CONFLICT_DETECTED, why, role) for role, why in conflicts.items()),
        )
        for role in decision.pools:
            target = self.connector.target(service, role)
            if target is not None:
                self.events.say(Target.of(target), [note for note in notes if note.role in (None, role)])

    async def _watch(self, loop: ControlLoop, clock: Clock) -> None:
        """Put on the board what cannot be watched, and why the Lease cannot be had."""
        told: str | None = None
        while True:
            await clock.sleep_until(clock.now_s() + TELL_EVERY_S)
            failures = [f"{what}: {why}" for what, why in self.cluster.failures().items()]
            failures += [f"the Lease: {self.lease.trouble}"] if self.lease.trouble else []
            text = "; ".join(failures[:MOST_TOLD]) or None
            if text == told:
                continue
            told = text
            if text is None:
                loop.well("kubernetes")
            else:
                loop.trouble("kubernetes", text)


def hands(
    services: Mapping[str, Service], settings: PlannerSettings, clock: Clock, kubeconfig: Path | None, lease: str | None
) -> Hands:
    """Everything, connected to nothing yet. Raises UserError for targets that make no sense."""
    from planner.connectors.kubernetes.api import Api
    from planner.connectors.kubernetes.api_access import Access
    from planner.connectors.kubernetes.cluster import Cluster
    from planner.connectors.kubernetes.connector import KubernetesConnector
    from planner.connectors.kubernetes.events import Events
    from planner.connectors.kubernetes.lease import Lease
    from planner.connectors.kubernetes.writers import Policy

    pools = pools_of(services, settings)
    namespace, name = lease_of(lease, next(iter(services.values())).kubernetes.namespace)
    api = Api(Access(kubeconfig))
    refs = {pool.target.object for of_service in pools.values() for pool in of_service.values()}
    cluster = Cluster(api, refs, clock, Random())
    one = Lease(api, namespace, name, socket.gethostname(), clock)
    policies = {
        each: Policy(service.kubernetes.on_change, service.kubernetes.respect_s) for each, service in services.items()
    }
    connector = KubernetesConnector(api, cluster, pools, policies, clock, one.check)
    return Hands(connector, cluster, one, Events(api, clock, socket.gethostname()))
