"""From what users write to policies that are ready to play.

planner               the planner as configured
forecaster:NAME       the planner with another forecaster
published             the published throughput formulas, see `published`
hpa:METRIC[=TARGET]   a Horizontal Pod Autoscaler on `utilisation` or `queue`, see `hpa`
static:peak           a fixed fleet for the trace's peak; static:7+3 by pool; static:10 every split of 10 GPUs
clairvoyant[:SHARE]   knows the load to come, sized for the objective or another share, see `clairvoyant`
oracle                the clairvoyant over many objectives: a frontier
default               one of each kind
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from planner.errors import UserError
from planner.scaling.forecast import build
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.types import Role
from planner.sim.baselines.clairvoyant import ClairvoyantPolicy
from planner.sim.baselines.hpa import DEFAULT_TARGETS, HpaPolicy, Metric
from planner.sim.baselines.published import published
from planner.sim.baselines.static import splits, static_peak
from planner.sim.loads import Request
from planner.sim.policies import Apart, PlannerPolicy, Policy, Record, StaticPolicy
from planner.sim.settings import Conditions, fleet_as_configured
from planner.sim.stage import Workload

DEFAULT = "planner,published,hpa:utilisation,hpa:queue,static:peak,clairvoyant"
"""One of each kind, quick enough to be asked for often."""

ORACLE_OBJECTIVES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, slots=True)
class Variation:
    """In what a world differs from others that the same policies are played in."""

    startup_s: float | None = None
    """From placement to Ready; None: as each service is configured."""
    scale: float = 1.0
    """Of the load."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What all contenders share. Raises UserError when the services do not tick together."""

    settings: PlannerSettings
    """What the planner is told."""
    requests: Mapping[str, Iterable[Request]]
    """Of each service; re-iterable."""
    conditions: Mapping[str, Conditions]
    """How each service's fleet really is."""
    gpus: int
    """Those the cluster really has."""
    variation: Variation = Variation()

    def __post_init__(self) -> None:
        intervals_s = sorted({service.interval_s for service in self.services.values()})
        if len(intervals_s) > 1:
            raise UserError(
                f"interval_s: {' and '.join(f'{interval_s:g}' for interval_s in intervals_s)} differ; services that "
                "are simulated together must tick together"
            )

    @property
    def services(self) -> Mapping[str, ServiceSettings]:
        """All that are played, by name."""
        return self.settings.services

    @property
    def interval_s(self) -> float:
        """Between two ticks."""
        return next(iter(self.services.values())).interval_s

    def workloads(self, fixed: Mapping[str, Mapping[Role, int]] | None = None) -> Mapping[str, Workload]:
        """What is to be played; `fixed` replicas at time 0, None: each pool's minimum."""
        return {
            name: Workload(
                self.requests[name],
                fleet_as_configured(service, self.conditions[name], None if fixed is None else fixed[name]),
                service.targets,
            )
            for name, service in self.services.items()
        }

    def with_services(self, change: Callable[[ServiceSettings], ServiceSettings]) -> World:
        """The same with every service's settings changed."""
        services = {name: change(service) for name, service in self.services.items()}
        return replace(self, settings=replace(self.settings, services=services))

    def with_startup(self, startup_s: float) -> World:
        """The same where every start takes so long, and is expected to."""
        variation = replace(self.variation, startup_s=startup_s)
        changed = self.with_services(lambda service: replace(service, startup_s=startup_s))
        return replace(changed.starting_in(startup_s), variation=variation)

    def starting_in(self, startup_s: float) -> World:
        """The same where every start takes so long, whatever is expected."""
        conditions = {
            name: replace(each, lives=replace(each.lives, startup_s=startup_s))
            for name, each in self.conditions.items()
        }
        return replace(self, conditions=conditions)


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy in its world."""

    name: str
    """As users write it."""
    world: World
    make: Callable[[World, Record], Policy]
    """A new policy; only the planner has anything to record."""
    fixed: Mapping[str, Mapping[Role, int]] | None = None
    """Replicas of fleets that never change, by service."""


def planner(world: World) -> Contender:
    """The planner as configured."""
    return Contender("planner", world, _make_planner)


def fixed(world: World, replicas: Mapping[Role, int]) -> Contender:
    """The only service's fleet, never changed."""
    (service,) = world.services
    return Contender(f"static:{'+'.join(map(str, replicas.values()))}", world, _make_static, {service: replicas})


def fixed_for_peak(world: World) -> Contender:
    """Fleets for the peak of each service's load, see `static_peak`."""
    peaks = {
        name: static_peak(world.requests[name], each.pools, each.profile, each.targets, each.interval_s)
        for name, each in world.services.items()
    }
    return Contender("static:peak", world, _make_static, peaks)


def contenders(text: str, world: World) -> list[Contender]:
    """What `text` names, in order, each once.

    Raises UserError that names the part which makes no sense, and what would.
    """
    found: dict[str, Contender] = {}
    for spec in text.split(","):
        kind, _, argument = spec.strip().partition(":")
        if kind not in _KINDS:
            near = get_close_matches(kind, _KINDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(_KINDS)}"
            raise UserError(f"--compare: {spec.strip()!r} is no policy; {hint}")
        for contender in _KINDS[kind](argument, world):
            found.setdefault(contender.name, contender)
    return list(found.values())


def _planner(argument: str, world: World) -> list[Contender]:
    _no_argument("planner", argument)
    return [planner(world)]


def _forecaster(argument: str, world: World) -> list[Contender]:
    if not argument:
        raise UserError("--compare: 'forecaster' lacks its name; write forecaster:constant")
    changed = world.with_services(lambda service: replace(service, forecaster=build(argument, service.interval_s)))
    return [replace(planner(changed), name=f"forecaster:{argument}")]


def _published(argument: str, world: World) -> list[Contender]:
    _no_argument("published", argument)
    changed = world.with_services(lambda service: published(service, world.settings.budget_gpus))
    return [replace(planner(changed), name="published")]


def _hpa(argument: str, world: World) -> list[Contender]:
    name, _, target_text = argument.partition("=")
    metric = next((metric for metric in DEFAULT_TARGETS if metric == name), None)
    if metric is None:
        raise UserError(f"--compare: 'hpa:{argument}' has no such metric; use {' or '.join(DEFAULT_TARGETS)}")
    target = _number(target_text) if target_text else DEFAULT_TARGETS[metric]
    if target is None or target <= 0:
        raise UserError(f"--compare: 'hpa:{argument}' must have a positive target, such as hpa:{metric}=0.7")
    return [Contender(f"hpa:{argument}", world, _HpaMaker(metric, target))]


def _static(argument: str, world: World) -> list[Contender]:
    if argument == "peak":
        return [fixed_for_peak(world)]
    if len(world.services) > 1:
        raise UserError(
            f"--compare: 'static:{argument}' is one fleet, and {len(world.services)} services are played; "
            "use static:peak"
        )
    (service,) = world.services.values()
    pools = service.pools
    counts = [int(part) if part.isdecimal() else 0 for part in argument.split("+")]
    fleets: list[Mapping[Role, int]] = []
    if min(counts) > 0:
        if len(counts) == 1:
            fleets = splits(pools, counts[0])
        elif len(counts) == len(pools):
            fleets = [dict(zip(pools, counts, strict=True))]
    if not fleets:
        least = sum(pool.gpus_per_replica for pool in pools.values())
        by_pool = f"static:{'+'.join('2' for _ in pools)} ({' + '.join(pools)} replicas), " if len(pools) > 1 else ""
        raise UserError(
            f"--compare: 'static:{argument}' is no fleet of {' and '.join(pools)}; use static:peak, {by_pool}or "
            f"static:N to split N GPUs, at least {least}, into whole replicas"
        )
    return [fixed(world, replicas) for replicas in fleets]


def _clairvoyant(argument: str, world: World) -> list[Contender]:
    if not argument:
        return [Contender("clairvoyant", world, _make_clairvoyant)]
    objective = _number(argument)
    if objective is None or not 0 < objective < 1:
        raise UserError(f"--compare: 'clairvoyant:{argument}' must name a share between 0 and 1, such as 0.98")
    return [_clairvoyant_at(objective, world)]


def _oracle(argument: str, world: World) -> list[Contender]:
    _no_argument("oracle", argument)
    return [_clairvoyant_at(objective, world) for objective in ORACLE_OBJECTIVES]


def _clairvoyant_at(objective: float, world: World) -> Contender:
    """Sized for another share; it is judged by the agreement's targets, as all are."""
    changed = world.with_services(
        lambda service: replace(service, targets=replace(service.targets, objective=objective))
    )
    return Contender(f"clairvoyant:{objective:g}", changed, _make_clairvoyant)


def _default(argument: str, world: World) -> list[Contender]:
    _no_argument("default", argument)
    return contenders(DEFAULT, world)


def _no_argument(kind: str, argument: str) -> None:
    if argument:
        raise UserError(f"--compare: '{kind}:{argument}' has one part too many; write {kind}")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


_KINDS: Mapping[str, Callable[[str, World], list[Contender]]] = {
    "planner": _planner,
    "forecaster": _forecaster,
    "published": _published,
    "hpa": _hpa,
    "static": _static,
    "clairvoyant": _clairvoyant,
    "oracle": _oracle,
    "default": _default,
}


def _make_planner(world: World, record: Record) -> Policy:
    return PlannerPolicy(world.settings, record)


def _make_static(world: World, record: Record) -> Policy:
    return StaticPolicy()


def _make_clairvoyant(world: World, record: Record) -> Policy:
    return ClairvoyantPolicy(world.settings, world.requests)


@dataclass(frozen=True, slots=True)
class _HpaMaker:
    metric: Metric
    target: float

    def __call__(self, world: World, record: Record) -> Policy:
        budget_gpus = world.settings.budget_gpus
        return Apart(
            {name: HpaPolicy(each, budget_gpus, self.metric, self.target) for name, each in world.services.items()}
        )
