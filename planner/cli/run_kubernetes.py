"""A planner's hands on a Kubernetes cluster, as configured: API client, watches, lease and connector."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from planner.cli.kubernetes_targets import lease_of, policies_of, pools_of
from planner.config.discover import DEFAULT_KINDS

if TYPE_CHECKING:
    from planner.clock import Clock
    from planner.config import LoadedConfig
    from planner.config.admission import Refused
    from planner.connectors.grip import Grip
    from planner.connectors.kubernetes.api.client import Api
    from planner.connectors.kubernetes.connector import KubernetesConnector, LoadsOf
    from planner.connectors.kubernetes.events.events import Events
    from planner.connectors.kubernetes.lease.lease import Lease
    from planner.connectors.kubernetes.watches.cluster import Cluster
    from planner.connectors.kubernetes.watches.services import ServiceWatches
    from planner.connectors.types import Applied
    from planner.live import Beside
    from planner.loop import ControlLoop
    from planner.scaling.decision import Decision

TELL_EVERY_S = 5.0
SAY_AGAIN_S = 60.0
MOST_TOLD = 3
"""Failures in one sentence; more of them have one cause."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What runs beside the loop, and what the loop hands its plans to."""

    api: Api
    connector: KubernetesConnector
    cluster: Cluster
    lease: Lease
    events: Events
    services: ServiceWatches
    refusals: dict[str, Refused] = field(default_factory=dict)
    """Discovered services that are not taken as labelled."""
    before: dict[str, Decision] = field(default_factory=dict)
    """Each service's last decision."""

    def beside(self, loop: ControlLoop, clock: Clock) -> tuple[Beside, ...]:
        """What runs along with the loop."""
        runs = self.cluster.run, self.lease.run, self.events.run, self.services.run
        return *runs, partial(self._watch, loop, clock), partial(self._say_refusals, clock)

    def prepare(self, loaded: LoadedConfig) -> Callable[[], None]:
        """What scales other targets when called, and looks for services elsewhere. Raises UserError."""
        from planner.config import build_settings

        services, discover = loaded.config.services, loaded.config.discover
        pools, policies = pools_of(services, build_settings(loaded)), policies_of(services)

        def commit() -> None:
            self.connector.adopt(pools, policies)
            self.services.want(discover.namespaces, discover.kinds)
            for gone in self.before.keys() - services.keys():
                del self.before[gone]

        return commit

    def grip(self) -> Grip:
        """How the cluster is held, for metrics."""
        from planner.connectors.grip import Grip

        blind = {**self.cluster.failures(), **self.services.failures()}
        return Grip(self.lease.leads, self.connector.contended(), dict(self.api.calls), len(blind), self.events.lost)

    def refuse(self, refused: Mapping[str, Refused]) -> None:
        """Tell the objects of these services, for as long as it lasts, why they are not taken as labelled."""
        self.refusals.clear()
        self.refusals.update(refused)

    def say(self, decision: Decision, applied: Applied | None, trouble: tuple[str, ...]) -> None:
        """Events of a decision, on the objects it is about; a standby decides as well and says nothing."""
        from planner.connectors.kubernetes.events.notes import EventReason, Note, events_of, grace_note
        from planner.connectors.kubernetes.events.series import Target

        service, before = decision.service, self.before.get(decision.service)
        self.before[service] = decision
        if not self.lease.leads:
            return
        conflicts = self.connector.conflicts(service)
        notes = (
            *events_of(decision, applied, before, trouble),
            *(Note(EventReason.CONFLICT_DETECTED, why, role) for role, why in conflicts.items()),
            *(
                note
                for role in decision.pools
                if (note := grace_note(decision, applied, role, self.connector.grace_s(service, role)))
            ),
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
            failures += [f"{what}: {why}" for what, why in self.services.failures().items()]
            failures += [f"the Lease: {self.lease.trouble}"] if self.lease.trouble else []
            text = "; ".join(failures[:MOST_TOLD]) or None
            if text == told:
                continue
            told = text
            if text is None:
                loop.well("kubernetes")
            else:
                loop.trouble("kubernetes", text)

    async def _say_refusals(self, clock: Clock) -> None:
        """Events of refused services, again and again: they are counted in one."""
        from planner.connectors.kubernetes.events.notes import EventReason, Note
        from planner.connectors.kubernetes.events.series import Target

        said: Mapping[str, Refused] = {}
        said_s = clock.now_s()
        while True:
            await clock.sleep_until(clock.now_s() + TELL_EVERY_S)
            if not self.lease.leads or (self.refusals == said and clock.now_s() - said_s < SAY_AGAIN_S):
                continue
            said, said_s = dict(self.refusals), clock.now_s()
            for refused in said.values():
                text = "; ".join(refused.mistakes[:MOST_TOLD])
                for target in filter(None, map(self.services.get, refused.objects)):
                    self.events.say(Target.of(target), [Note(EventReason.CONFIGURATION_REFUSED, text)])


def hands(loaded: LoadedConfig, clock: Clock, kubeconfig: Path | None, lease: str | None, loads: LoadsOf) -> Hands:
    """Everything, connected to nothing yet; `loads` tells how busy a pool's pods are.

    Raises UserError for targets that make no sense.
    """
    from planner.connectors.kubernetes.api.access import Access
    from planner.connectors.kubernetes.api.client import Api
    from planner.connectors.kubernetes.connector import KubernetesConnector
    from planner.connectors.kubernetes.events.events import Events
    from planner.connectors.kubernetes.lease.lease import Lease
    from planner.connectors.kubernetes.watches.cluster import Cluster
    from planner.connectors.kubernetes.watches.services import ServiceWatches

    services, discover = loaded.config.services, loaded.config.discover
    namespaces = [*(service.kubernetes.namespace for service in services.values()), *discover.namespaces]
    namespace, name = lease_of(lease, namespaces[0])
    api = Api(Access(kubeconfig))
    cluster = Cluster(api, (), clock, Random())
    one = Lease(api, namespace, name, socket.gethostname(), clock)
    connector = KubernetesConnector(api, cluster, {}, {}, clock, one.check, loads)
    labelled = ServiceWatches(api, clock, Random(), may_lack=DEFAULT_KINDS)
    made = Hands(api, connector, cluster, one, Events(api, clock, socket.gethostname()), labelled)
    made.prepare(loaded)()
    return made
