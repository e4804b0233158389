"""What was asked and answered, before anybody judges it. Seconds throughout; label sets are as Prometheus gave them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

from planner.scaling.types import Role, ServiceSamples
from planner.sources.prometheus.answers import Failure, Labels, carries
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.detect import Detection
from planner.sources.prometheus.maps import MetricMap, Quantity

_TOLD_BY_DECODE = frozenset({Quantity.OSL_TOKENS, Quantity.ITL_S})


@dataclass(frozen=True, slots=True)
class Setup:
    """How one Prometheus is asked, as configured."""

    maps: Mapping[str, MetricMap]
    window_s: float
    deadline_s: float
    pod_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be known of one service, and by what it is judged."""

    asked: Asked
    max_age_s: float
    corrects: bool
    """Whether latencies correct the profile; if so, they must be valid for the fleet to be lowered."""
    ready: Mapping[Role, int] | None = None
    """Ready replicas as the orchestrator counts them, of the pools where it does; None where nobody said."""


@dataclass(frozen=True, slots=True)
class ServiceEvidence:
    """What Prometheus has of one service."""

    name: str
    wanted: Wanted
    detection: Detection
    samples: ServiceSamples
    """What a running planner would have read."""
    asked_at_s: float
    """When, on our clock: a sample's age is this less its `at_s`."""
    idle: frozenset[Quantity]
    """Means over no events: counted, and none."""
    reporting: tuple[Labels, ...]
    """All series that prove replicas, with all labels, before anything is merged."""
    scrape_interval_s: float | None
    """Between two samples of such a series, the worst pool's; None with fewer than two scrapes to go by."""
    ttft_edges_s: tuple[float, ...]
    """Finite edges of the TTFT histogram above 0, rising; empty where there is none."""
    shares: Mapping[float, float]
    """By edge beside the target: share of requests with their first token within it."""

    def of_pool(self, role: Role) -> tuple[Labels, ...]:
        """The reporting series of one pool."""
        labels = self.wanted.asked.selector.of_pool(role)
        return tuple(series for series in self.reporting if carries(series, labels))

    @property
    def overlapping(self) -> Collection[Role]:
        """Pools that share series with another."""
        pairs = combinations(self.wanted.asked.roles, 2)
        return {role for pair in pairs if shared(*map(self.of_pool, pair)) for role in pair}

    @property
    def unseen(self) -> tuple[Role, ...]:
        """Pools of which no replica reports, while the service has some: everything else follows from that."""
        return tuple(role for role in self.wanted.asked.roles if self.reporting and not self.of_pool(role))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one Prometheus answered."""

    setup: Setup
    failure: Failure | None
    """Why it did not answer at all; then there are no services."""
    queries: int = 0
    """Of one round, as a running planner asks it every interval."""
    took_s: float = 0.0
    """That round."""
    skew_s: float | None = None
    """Its clock less ours; None when it does not tell its time."""
    warnings: tuple[str, ...] = ()
    """What it said beside its answers."""
    unanswered: tuple[str, ...] = ()
    """Why some questions had no answer, each cause once."""
    there: tuple[Labels, ...] = ()
    """All series that a map knows: names, and the labels by which services and pools are told apart."""
    services: tuple[ServiceEvidence, ...] = ()


def shared(first: Collection[Labels], second: Collection[Labels]) -> tuple[Labels, ...]:
    """The series that are among both."""
    keys = {frozenset(series.items()) for series in second}
    return tuple(series for series in first if frozenset(series.items()) in keys)


def teller(quantity: Quantity, asked: Asked) -> Role:
    """The pool whose engines tell a quantity of the service; see `planner.sources.prometheus.readings`."""
    if Role.AGGREGATED in asked.roles:
        return Role.AGGREGATED
    return Role.DECODE if quantity in _TOLD_BY_DECODE else Role.PREFILL
