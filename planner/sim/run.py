"""The whole simulation: arrivals, ticks and replicas on one virtual clock.

The run starts at 0, ticks every `interval_s`, and ends with the first tick at or after the last arrival, so every
policy is judged, and charged, over the same time. The same arguments give the same result, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from planner.errors import UserError
from planner.scaling.types import Role
from planner.sim.fleet import Fleet
from planner.sim.ledger import Ledger, Outcome
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.policies import Cause, Policy
from planner.sim.pool import PoolCounts
from planner.sim.settings import FleetSettings
from planner.slo.targets import Targets

SCHEMA = "sla-planner/simulation/1"


@dataclass(frozen=True, slots=True)
class TickRow:
    """One tick: what was seen, what was ordered, why."""

    at_s: float
    rate_per_s: float
    """Arrivals since the last tick."""
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
class Result:
    """What a policy made of a load, and what it cost."""

    seed: int
    duration_s: float
    interval_s: float
    outcome: Outcome
    gpu_hours: float
    """From placement to departure of every replica, starting and draining included."""
    peak_gpus: int
    actions: tuple[ScaleAction, ...]
    timeline: tuple[TickRow, ...]

    def document(self) -> dict[str, object]:
        """As JSON-able data, with the schema's version."""
        return {"schema": SCHEMA, **asdict(self)}


def simulate(
    requests: Iterable[Request],
    policy: Policy,
    fleet_settings: FleetSettings,
    targets: Targets,
    *,
    interval_s: float,
    seed: int = 0,
    service: str = "service",
    on_tick: Callable[[float], None] | None = None,
) -> Result:
    """Play `requests`, sorted by arrival, against the fleet while `policy` scales it.

    `on_tick` is called with the virtual time after every tick.
    Raises UserError when the interval is not positive or there are no requests, and whatever reading them raises.
    """
    if not interval_s > 0:
        raise UserError(f"interval_s: {interval_s!r} must be a positive number of seconds")
    loop, ledger = Loop(), Ledger()
    fleet = Fleet(fleet_settings, loop, ledger, seed)
    arrivals = _Arrivals(requests, loop, fleet)
    timeline: list[TickRow] = []
    while not arrivals.over:
        loop.run_until((len(timeline) + 1) * interval_s)
        timeline.append(_play_tick(loop, fleet, policy, service))
        if on_tick is not None:
            on_tick(loop.now_s)
    return Result(
        seed=seed,
        duration_s=loop.now_s,
        interval_s=interval_s,
        outcome=ledger.judge(targets, loop.now_s),
        gpu_hours=fleet.cluster.gpu_hours(),
        peak_gpus=fleet.cluster.peak_gpus,
        actions=tuple(_actions(timeline)),
        timeline=tuple(timeline),
    )


class _Arrivals:
    """Feeds the fleet, holding one request at a time."""

    def __init__(self, requests: Iterable[Request], loop: Loop, fleet: Fleet) -> None:
        self._requests = iter(requests)
        self._loop = loop
        self._fleet = fleet
        self._next = next(self._requests, None)
        if self._next is None:
            raise UserError("trace: no requests to play; widen the slice or raise the scale")
        loop.at(self._next.arrival_s, self._arrive)

    @property
    def over(self) -> bool:
        """The last request has arrived."""
        return self._next is None

    def _arrive(self) -> None:
        assert self._next is not None
        self._fleet.arrive(self._next)
        self._next = next(self._requests, None)
        if self._next is not None:
            self._loop.at(self._next.arrival_s, self._arrive)


def _play_tick(loop: Loop, fleet: Fleet, policy: Policy, service: str) -> TickRow:
    samples = fleet.read_metrics()
    pools = fleet.counts()
    order = policy.decide({service: samples}, loop.now_s).get(service)
    if order is not None:
        fleet.order(order.replicas)
    assert samples.rate_per_s.status == "sample"
    return TickRow(
        at_s=loop.now_s,
        rate_per_s=samples.rate_per_s.value,
        pools=pools,
        held_gpus=fleet.cluster.held_gpus,
        order={} if order is None else dict(order.replicas),
        reasons=() if order is None else order.causes,
    )


def _actions(timeline: Iterable[TickRow]) -> Iterable[ScaleAction]:
    for row in timeline:
        for role, after in row.order.items():
            before = row.pools[role].wanted
            if after != before:
                reasons = tuple(cause for cause in row.reasons if cause.role in (None, role))
                yield ScaleAction(row.at_s, role, before, after, reasons)
