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
from planner.sim.policies import PlannerPolicy, Policy, Record, StaticPolicy

DEFAULT = "planner,published,hpa:utilisation,hpa:queue,static:peak,clairvoyant"
"""One of each kind, quick enough to be asked for often."""

ORACLE_OBJECTIVES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, slots=True)
class World:
    """What all contenders share."""

    settings: PlannerSettings
    """Of one service."""
    requests: Iterable[Request]
    """Re-iterable."""

    @property
    def service(self) -> ServiceSettings:
        """The only one."""
        (service,) = self.settings.services.values()
        return service

    def with_service(self, service: ServiceSettings) -> World:
        """The same with the service's settings changed."""
        return replace(self, settings=replace(self.settings, services={service.name: service}))


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy in its world."""

    name: str
    """As users write it."""
    world: World
    make: Callable[[World, Record], Policy]
    """A new policy; only the planner has anything to record."""
    fixed: Mapping[Role, int] | None = None
    """Replicas of a fleet that never changes."""


def planner(world: World) -> Contender:
    """The planner as configured."""
    return Contender("planner", world, _make_planner)


def fixed(world: World, replicas: Mapping[Role, int]) -> Contender:
    """A fleet that never changes."""
    return Contender(f"static:{'+'.join(map(str, replicas.values()))}", world, _make_static, replicas)


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
    service = replace(world.service, forecaster=build(argument, world.service.interval_s))
    return [replace(planner(world.with_service(service)), name=f"forecaster:{argument}")]


def _published(argument: str, world: World) -> list[Contender]:
    _no_argument("published", argument)
    service = published(world.service, world.settings.budget_gpus)
    return [replace(planner(world.with_service(service)), name="published")]


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
    pools = world.service.pools
    if argument == "peak":
        service = world.service
        peak = static_peak(world.requests, pools, service.profile, service.targets, service.interval_s)
        return [replace(fixed(world, peak), name="static:peak")]
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
    service = replace(world.service, targets=replace(world.service.targets, objective=objective))
    return Contender(f"clairvoyant:{objective:g}", world.with_service(service), _make_clairvoyant)


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
    return ClairvoyantPolicy(world.service, world.settings.budget_gpus, world.requests)


@dataclass(frozen=True, slots=True)
class _HpaMaker:
    metric: Metric
    target: float

    def __call__(self, world: World, record: Record) -> Policy:
        return HpaPolicy(world.service, world.settings.budget_gpus, self.metric, self.target)
