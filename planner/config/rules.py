"""What must hold between sections, between services, and between a service and its profile.

Each rule gives one line per mistake, under the path where the value was written. What the profile cannot meet at any
replica count is no mistake but a warning (see `planner.cli.check_config`): the planner serves what is best reachable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.config.catalogue import KeyPath
from planner.config.mistakes import dotted, mistake
from planner.config.model import Service
from planner.config.tree import Tree, find, written_at
from planner.scaling.profile import Profile
from planner.scaling.types import Role

PLACEHOLDERS = ("{service}", "{namespace}", "{name}")
"""In labels of metrics: the discovered service's name, its namespace, and the name of the role's object."""

_FEWEST_INTERVALS = 5
"""With fewer points a forecaster knows neither a trend nor its own errors."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A service as given and as validated, and its profile."""

    root: KeyPath
    """Where its keys stand: empty for the single service of the top level."""
    tree: Tree
    service: Service
    profile: Profile


def gpus_per_replica(service: Service, role: Role, profile: Profile) -> int:
    """GPUs of one replica: configured, else the profile's; an aggregated replica is as large as a decode one."""
    measured = profile.prefill.gpus if role is Role.PREFILL else profile.decode.gpus
    return service.pools[role].gpus_per_replica or measured


def history_mistakes(one: Declared) -> Iterator[str]:
    """History too short to forecast from."""
    fewest_s = _FEWEST_INTERVALS * one.service.interval_s
    history_s = one.service.forecast.history_s
    if history_s < fewest_s:
        rule = (
            f"is less than {_FEWEST_INTERVALS} intervals of {one.service.interval_s:g} s; "
            f"give at least {fewest_s:g}, or shorten interval_s"
        )
        yield mistake(one.tree, one.root, ("forecast", "history_s"), rule, history_s)


def window_mistakes(one: Declared) -> Iterator[str]:
    """A down window within which a rate after an outage would still be the mean of half a window."""
    window_s, down_s = one.service.prometheus.window_s, one.service.scaling.stabilisation_down_s
    if one.service.prometheus.url is not None and down_s < window_s:
        rule = (
            f"is less than prometheus.window_s, {window_s:g} s; after an outage half a window would lower the fleet; "
            f"give at least {window_s:g}"
        )
        yield mistake(one.tree, one.root, ("scaling", "stabilisation_down_s"), rule, down_s)


def idle_pool_mistakes(services: Mapping[str, Declared]) -> Iterator[str]:
    """Pools that were configured, but that no service with these settings has in its mode."""
    idle: dict[str, str] = {}
    used: set[str] = set()
    for one in services.values():
        for role in Role:
            given = written_at(find(one.tree, (role.value,)))
            if given is None:
                continue
            where = dotted(given.path)
            if role in one.service.pools:
                used.add(where)
            else:
                pools = " and ".join(one.service.pools)
                idle[where] = (
                    f"{where}: mode {one.service.mode} has no such pool; "
                    f"configure {pools}, or change mode ({given.origin})"
                )
    yield from (line for where, line in idle.items() if where not in used)


def placeholder_mistakes(one: Declared) -> Iterator[str]:
    """Labels that only a discovered service can fill in, which no series has as they stand."""
    for name in ("match", "router", *one.service.pools):
        value = getattr(one.service.metrics, name)
        if any(placeholder in value for placeholder in PLACEHOLDERS):
            rule = "has placeholders, which are filled in for discovered services alone; write the service's own"
            yield mistake(one.tree, one.root, ("metrics", name), rule, value)


def minima(one: Declared) -> int:
    """GPUs that its pools hold at the least."""
    return sum(
        pool.min_replicas * gpus_per_replica(one.service, role, one.profile) for role, pool in one.service.pools.items()
    )


def budget_mistakes(services: Mapping[str, Declared], gpus: int, origin: str) -> Iterator[str]:
    """Minima that do not fit into the budget: it could never be kept."""
    parts = {
        dotted((*one.root, role.value)): (
            pool.min_replicas,
            gpus_per_replica(one.service, role, one.profile),
        )
        for one in services.values()
        for role, pool in one.service.pools.items()
    }
    needed = sum(replicas * each for replicas, each in parts.values())
    if needed > gpus:
        sums = " + ".join(f"{where} {replicas} x {each}" for where, (replicas, each) in parts.items())
        yield (
            f"budget.gpus: {gpus} is less than the {needed} GPUs of the minima ({sums}); "
            f"raise it or lower min_replicas ({origin})"
        )
