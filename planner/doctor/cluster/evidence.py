"""What the API server answered, before anybody judges it. Seconds since the epoch; objects are as they were sent.

What could not be asked for is None; the cause is told once, of the whole cluster, and not again of each pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.connectors.kubernetes.api.discovery import Resource
from planner.connectors.kubernetes.connector import Pool
from planner.connectors.kubernetes.objects.kinds import Kind
from planner.connectors.kubernetes.objects.owners import Owner, Reference, owners_of
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.pools import PoolState
from planner.doctor.cluster.needs import Need
from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Absent, Replicas, Role, Sample


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is configured of the cluster."""

    services: Mapping[str, ServiceSettings]
    pools: Mapping[str, Mapping[Role, Pool]]
    """By service."""
    budget_gpus: int
    lease: tuple[str, str]
    """Namespace and name."""
    external: frozenset[str] = frozenset()
    """Services whose replicas an autoscaler sets, by the planner's figure."""


@dataclass(frozen=True, slots=True)
class Found:
    """A target that is there."""

    resource: Resource
    kind: Kind
    target: Object


@dataclass(frozen=True, slots=True)
class PoolEvidence:
    """What there is of one pool."""

    role: Role
    service: ServiceSettings
    pool: Pool
    found: Found | Absent | None
    """Absent where the kind is not served, or there is no such object."""
    pods: tuple[Object, ...] | None = None
    """Those that its selector matches; None also where the selector is not known."""
    state: PoolState | None = None
    """What they say together."""

    @property
    def replicas(self) -> Replicas | None:
        """Its counts; None where one of them is not known."""
        if self.state is None:
            return None
        told = self.state.samples
        every = (told.wanted, told.ready, told.starting, told.pending, told.draining, told.rolling_out)
        counts = [round(each.value) for each in every if isinstance(each, Sample)]
        if len(counts) < len(every):
            return None
        wanted, ready, starting, pending, draining, rolling_out = counts
        return Replicas(wanted, ready, starting, pending, draining, bool(rolling_out))


@dataclass(frozen=True, slots=True)
class ClusterEvidence:
    """What one API server answered."""

    fleet: Fleet
    failure: str | None = None
    """Why it did not answer at all; then nothing else is known."""
    version: str | None = None
    account: str | None = None
    """Whom it takes us for."""
    skew_s: float | None = None
    """Its clock less ours, to a second; None when it does not tell its time."""
    at_s: float = 0.0
    """When it was asked, on our clock."""
    asked: int = 0
    """Permissions that were asked for."""
    denied: tuple[Need, ...] = ()
    """Those of them that are lacking."""
    unanswered: tuple[str, ...] = ()
    """Why some questions had no answer, each cause once."""
    owners: Mapping[tuple[str, Reference], Object | None] = field(default_factory=dict)
    """Controllers above targets, by namespace and reference; None for one that is gone, or cannot be read."""
    autoscalers: Mapping[str, tuple[Object, ...] | None] = field(default_factory=dict)
    """By namespace, of all kinds that are served; None where not all could be read."""
    claims: Mapping[str, Mapping[str, Object] | None] = field(default_factory=dict)
    """ResourceClaimTemplates by namespace and name, where a target names one; None where they could not be read."""
    lease: Object | Absent | None = None
    node_gpus: int | None = None
    """Allocatable GPUs of all nodes; None where nodes may not be listed, as the planner need not."""
    pools: tuple[PoolEvidence, ...] = ()

    def above(self, one: PoolEvidence) -> tuple[Owner, ...]:
        """The controllers above a pool's target, the nearest first; none where it was not found."""
        if not isinstance(one.found, Found):
            return ()
        namespace = one.pool.target.object.namespace
        return owners_of(one.found.target, lambda reference: self.owners.get((namespace, reference)))

    @property
    def ready(self) -> Mapping[str, Mapping[Role, int]]:
        """Ready replicas by service, of those pools where they are known."""
        counts: dict[str, dict[Role, int]] = {}
        for pool in self.pools:
            if pool.replicas is not None:
                counts.setdefault(pool.service.name, {})[pool.role] = pool.replicas.ready
        return counts
