"""The whole simulation: arrivals, ticks and replicas of one or more services on one virtual clock.

The run starts at 0, ticks every `interval_s`, and ends with the first tick at or after the last arrival, so every
policy is judged, and charged, over the same time. The same arguments give the same result, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from planner.errors import UserError
from planner.sim.cluster import Cluster
from planner.sim.loop import Loop
from planner.sim.policies import Policy
from planner.sim.stage import ServiceResult, Stage, Workload

SCHEMA = "sla-planner/simulation/2"


@dataclass(frozen=True, slots=True)
class Result:
    """What a policy made of all services."""

    seed: int
    duration_s: float
    interval_s: float
    peak_gpus: int
    """The most that all services held at once."""
    services: Mapping[str, ServiceResult]

    @property
    def gpu_hours(self) -> float:
        """Of all services."""
        return sum(service.gpu_hours for service in self.services.values())

    @property
    def only(self) -> ServiceResult:
        """The result of a run that had one service."""
        (service,) = self.services.values()
        return service

    def document(self) -> dict[str, object]:
        """As JSON-able data, with the schema's version."""
        return {"schema": SCHEMA, "gpu_hours": self.gpu_hours, **asdict(self)}


def simulate(
    workloads: Mapping[str, Workload],
    policy: Policy,
    *,
    interval_s: float,
    gpus: int | None = None,
    seed: int = 0,
    on_tick: Callable[[float], None] | None = None,
) -> Result:
    """Play every service's requests against its fleet while `policy` scales them all.

    `gpus` is what the cluster has; replicas beyond stay pending. None: never short. `on_tick` is called with the
    virtual time after every tick.
    Raises UserError when the interval is not positive, the first replicas do not fit the cluster or a service has no
    requests, and whatever reading them raises.
    """
    if not interval_s > 0:
        raise UserError(f"interval_s: {interval_s!r} must be a positive number of seconds")
    first = sum(workload.fleet.first_gpus for workload in workloads.values())
    if gpus is not None and first > gpus:
        raise UserError(
            f"gpus: the first replicas need {first} GPUs, the cluster has {gpus}; start with fewer replicas"
        )
    loop, cluster = Loop(), Cluster(gpus)
    stages = {name: Stage(name, workload, loop, cluster, seed) for name, workload in workloads.items()}
    ticks = 0
    while any(stage.expects_more for stage in stages.values()):
        ticks += 1
        loop.run_until(ticks * interval_s)
        _play_tick(stages, policy, loop.now_s)
        if on_tick is not None:
            on_tick(loop.now_s)
    return Result(
        seed=seed,
        duration_s=loop.now_s,
        interval_s=interval_s,
        peak_gpus=cluster.peak_gpus,
        services={name: stage.result() for name, stage in stages.items()},
    )


def _play_tick(stages: Mapping[str, Stage], policy: Policy, now_s: float) -> None:
    orders = policy.decide({name: stage.read_metrics() for name, stage in stages.items()}, now_s)
    for name, stage in stages.items():
        stage.follow(orders.get(name))
