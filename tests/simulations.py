"""Short ways to play one service, for tests of the simulator."""

from __future__ import annotations

from collections.abc import Iterable

from planner.scaling.settings import PlannerSettings
from planner.sim.baselines.contenders import World
from planner.sim.loads import Request
from planner.sim.policies import Policy
from planner.sim.run import Result, simulate
from planner.sim.settings import FleetSettings, conditions_as_configured
from planner.sim.stage import Workload
from planner.slo.targets import Targets

SERVICE = "service"


def simulate_one(
    requests: Iterable[Request],
    policy: Policy,
    fleet: FleetSettings,
    targets: Targets,
    *,
    interval_s: float,
    gpus: int | None = None,
    seed: int = 0,
    service: str = SERVICE,
) -> Result:
    """One service's run."""
    workloads = {service: Workload(requests, fleet, targets)}
    return simulate(workloads, policy, interval_s=interval_s, gpus=gpus, seed=seed)


def world_of(settings: PlannerSettings, requests: Iterable[Request]) -> World:
    """The world as the settings believe it, with this load for the only service."""
    return World(
        settings,
        dict.fromkeys(settings.services, requests),
        {name: conditions_as_configured(service) for name, service in settings.services.items()},
        settings.budget_gpus,
    )
