"""One service in play: its requests arrive at its fleet, and what becomes of them is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from planner.errors import UserError
from planner.scaling.types import Role, ServiceSamples
from planner.sim.cluster import Cluster
from planner.sim.fleet import Fleet
from planner.sim.ledger import Ledger, Outcome
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.policies import Cause, Order
from planner.sim.pool import PoolCounts
from planner.sim.settings import FleetSettings
from planner.slo.targets import Targets


@dataclass(frozen=True, slots=True)
class Workload:
    """One service of a simulation: what it is asked, what it runs on, what it has promised."""

    requests: Iterable[Request]
    """Sorted by arrival."""
    fleet: FleetSettings
    targets: Targets


@dataclass(frozen=True, slots=True)
class TickRow:
    """One service at one tick: what had happened since the last one, what was ordered, why."""

    at_s: float
    rate_per_s: float
    """Arrivals since the last tick, whatever the metrics said."""
    good_share: float | None
    """Of the requests that ended since the last tick; None without any, as are the latencies of those that finished."""
    ttft_p95_s: float | None
    itl_p95_s: float | None
    pools: Mapping[Role, PoolCounts]
    """Before the order."""
    held_gpus: int
    """After the order."""
    order: Mapping[Role, int]
    reasons: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class ScaleAction:
    """One pool's change of replicas."""

    at_s: float
    role: Role
    before: int
    after: int
    reasons: tuple[Cause, ...]
    """The service's and this pool's."""


@dataclass(frozen=True, slots=True)
class ServiceResult:
    """What a policy made of one service's load, and what it cost."""

    outcome: Outcome
    gpu_hours: float
    """From placement to departure of every replica, starting and draining included."""
    actions: tuple[ScaleAction, ...]
    timeline: tuple[TickRow, ...]


class Stage:
    """One service in play; it holds one request at a time of those to come.

    Raises UserError when there are none, and whatever reading them raises.
    """

    def __init__(self, name: str, workload: Workload, loop: Loop, cluster: Cluster, seed: int) -> None:
        self._loop = loop
        self._ledger = Ledger(workload.targets)
        self._fleet = Fleet(workload.fleet, loop, cluster, self._ledger, f"{seed}:{name}")
        self._timeline: list[TickRow] = []
        self._requests = iter(workload.requests)
        self._next = next(self._requests, None)
        if self._next is None:
            raise UserError(f"trace: no requests to play for {name}; widen the slice or raise the scale")
        loop.at(self._next.arrival_s, self._arrive)

    @property
    def expects_more(self) -> bool:
        """There are requests yet to arrive."""
        return self._next is not None

    def read_metrics(self) -> ServiceSamples:
        """What the policy is shown."""
        return self._fleet.read_metrics()

    def counts(self) -> Mapping[Role, PoolCounts]:
        """How its pools stand now."""
        return self._fleet.counts()

    def follow(self, order: Order | None) -> TickRow:
        """Scale as ordered, and note how things stood. None: the policy does not speak of this service."""
        pools, lately = self._fleet.counts(), self._ledger.lately()
        if self._fleet.population() != self._ledger.in_flight:
            raise AssertionError(f"{self._fleet.population()} requests in the fleet, not {self._ledger.in_flight}")
        if order is not None:
            self._fleet.order(order.replicas)
        passed_s = self._loop.now_s - (self._timeline[-1].at_s if self._timeline else 0.0)
        row = TickRow(
            at_s=self._loop.now_s,
            rate_per_s=lately.arrived / passed_s if passed_s > 0 else 0.0,
            good_share=lately.good_share,
            ttft_p95_s=lately.ttft_p95_s,
            itl_p95_s=lately.itl_p95_s,
            pools=pools,
            held_gpus=self._fleet.account.held_gpus,
            order={} if order is None else dict(order.replicas),
            reasons=() if order is None else order.causes,
        )
        self._timeline.append(row)
        return row

    def result(self) -> ServiceResult:
        """The outcome now."""
        return ServiceResult(
            outcome=self._ledger.judge(self._loop.now_s),
            gpu_hours=self._fleet.account.gpu_hours(),
            actions=tuple(_actions(self._timeline)),
            timeline=tuple(self._timeline),
        )

    def _arrive(self) -> None:
        assert self._next is not None
        self._fleet.arrive(self._next)
        self._next = next(self._requests, None)
        if self._next is not None:
            self._loop.at(self._next.arrival_s, self._arrive)


def _actions(timeline: Iterable[TickRow]) -> Iterator[ScaleAction]:
    for row in timeline:
        for role, after in row.order.items():
            before = row.pools[role].wanted
            if after != before:
                reasons = tuple(cause for cause in row.reasons if cause.role in (None, role))
                yield ScaleAction(row.at_s, role, before, after, reasons)
