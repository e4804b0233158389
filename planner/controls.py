"""What people may order of a running planner: pause a service, hold it at a number of replicas, act on nothing at all.

Values, not actions: the loop reads them at every tick. A hold bounds the pools from both sides before the tick, so it
is sized, budgeted and explained like any bound; a pause and a dry run only keep plans from being applied.

Units: seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from planner.errors import UserError
from planner.scaling.settings import PlannerSettings
from planner.scaling.types import Role


class ControlError(UserError):
    """An order that cannot be followed."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Plans of a service are made and not applied."""

    by: str
    why: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Pools of a service stay at these replicas until a time."""

    replicas: Mapping[Role, int]
    until_s: float
    by: str
    why: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Controls:
    """All orders in force."""

    dry_run: Pause | None = None
    """Plans of every service are made and not applied."""
    paused: Mapping[str, Pause] = field(default_factory=dict)
    holds: Mapping[str, Hold] = field(default_factory=dict)

    def at(self, now_s: float) -> Controls:
        """Without the holds that are over."""
        holds = {service: hold for service, hold in self.holds.items() if hold.until_s > now_s}
        return self if len(holds) == len(self.holds) else replace(self, holds=holds)

    def only(self, services: Collection[str]) -> Controls:
        """Without what was ordered of other services."""
        return replace(
            self,
            paused={service: pause for service, pause in self.paused.items() if service in services},
            holds={service: hold for service, hold in self.holds.items() if service in services},
        )


def held(settings: PlannerSettings, holds: Mapping[str, Hold]) -> PlannerSettings:
    """The settings with every held pool bounded to its number.

    Raises ControlError when a hold names what is not there or asks for less than one replica, or when the minima with
    all holds exceed the budget.
    """
    services = dict(settings.services)
    for name, hold in holds.items():
        if name not in services:
            raise ControlError(f"service: {name!r} is unknown; the services are {', '.join(services)}")
        pools = dict(services[name].pools)
        for role, count in hold.replicas.items():
            if role not in pools:
                raise ControlError(f"replicas: {name} has no {role} pool; it has {' and '.join(pools)}")
            if count < 1:
                raise ControlError(f"replicas: {role} {count} must be 1 or more")
            pools[role] = replace(pools[role], min_replicas=count, max_replicas=count)
        services[name] = replace(services[name], pools=pools)
    least = sum(
        pool.min_replicas * pool.gpus_per_replica for service in services.values() for pool in service.pools.values()
    )
    if least > settings.budget_gpus:
        raise ControlError(
            f"replicas: with this hold the minima need {least} GPUs, the budget is {settings.budget_gpus}; "
            "hold fewer replicas"
        )
    return replace(settings, services=services) if holds else settings
