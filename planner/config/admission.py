"""Which discovered services are in force: each is judged by itself, and what was in force stays until it is mended.

- A service in force ends when no object names it any more, where that can be seen.
- A service of the configuration goes before labels of the same name.
- One that does not fit into the budget is not let in; newcomers are asked in order of name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache

from planner.config.annotations import Reading, read_services
from planner.config.load import LoadedConfig, with_services
from planner.config.mistakes import ConfigError, dotted
from planner.config.resolve import LoadProfile, declare, shared_by_all
from planner.config.rules import PLACEHOLDERS, Declared, idle_pool_mistakes, minima
from planner.config.tree import Given, Tree, find, overlay
from planner.connectors.kubernetes.objects.services import SERVICE, Sightings, place_of
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.errors import UserError
from planner.profiler import library
from planner.scaling.types import Role

Check = Callable[[str, LoadedConfig], None]
"""Raises UserError when the service of that name cannot run in the configuration; others are known to be good."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A service that is not taken as its objects say."""

    mistakes: tuple[str, ...]
    objects: tuple[ObjectRef, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What is in force from now on."""

    loaded: LoadedConfig
    forms: Mapping[str, Reading]
    """Discovered services, as they were taken."""
    refused: Mapping[str, Refused]


def admit(base: LoadedConfig, seen: Sightings, before: Mapping[str, Reading], check: Check) -> Admitted:
    """`base` with the services of `seen`; `before` are those in force.

    Raises ConfigError when `base` itself leaves no room for what is in force.
    """
    seen = _within(seen, base.config.discover.namespaces)
    found = read_services(seen.objects)
    stay = {name: form for name, form in sorted(before.items()) if name not in base.declared}
    stay = {name: form for name, form in stay.items() if name in found or _unseen(form, seen)}
    placed = dict(base.declared)
    cannot_stay: dict[str, ConfigError] = {}
    load_profile = cache(library.load_profile)
    for name, form in stay.items():
        try:
            placed[name] = _declared(base, name, form, load_profile)
        except ConfigError as error:
            cannot_stay[name] = error
    forms, refused = dict(stay), dict[str, Refused]()
    for name in (*stay, *(each for each in found if each not in stay)):
        reading = found.get(name)
        in_force = stay.get(name)
        if reading is None or (in_force is not None and _unseen(in_force, seen)) or reading == in_force:
            continue
        if in_force is None and reading.incomplete and _may_be_hidden(reading, seen):
            continue
        try:
            one = _newly_declared(base, name, reading, placed, load_profile)
            check(name, with_services(base, {**placed, name: one}))
        except UserError as error:
            mistakes = error.mistakes if isinstance(error, ConfigError) else (str(error),)
            refused[name] = Refused(mistakes, reading.objects)
        else:
            placed[name], forms[name] = one, reading
            cannot_stay.pop(name, None)
    if cannot_stay:
        raise ConfigError([line for error in cannot_stay.values() for line in error.mistakes])
    return Admitted(with_services(base, placed), forms, refused)


def _within(seen: Sightings, namespaces: Collection[str]) -> Sightings:
    """Without namespaces that are not looked at any more."""
    return Sightings(
        tuple(each for each in seen.objects if each.ref.namespace in namespaces),
        frozenset(each for each in seen.blind if each[2] in namespaces),
    )


def _unseen(form: Reading, seen: Sightings) -> bool:
    """Whether nobody can tell now what became of its objects."""
    return any(place_of(ref) in seen.blind for ref in form.pools.values())


def _may_be_hidden(reading: Reading, seen: Sightings) -> bool:
    """Whether the object that is missing may be where nothing can be seen."""
    namespaces = {ref.namespace for ref in reading.objects}
    return any(namespace in namespaces for _, _, namespace in seen.blind)


def _newly_declared(
    base: LoadedConfig, name: str, reading: Reading, placed: Mapping[str, Declared], load_profile: LoadProfile
) -> Declared:
    """The service as its objects say, for which there is room. Raises ConfigError."""
    if name in base.declared:
        raise ConfigError([f"{SERVICE}: {name} is a service of the configuration, which goes before labels; keep one"])
    if reading.mistakes:
        raise ConfigError(reading.mistakes)
    one = _declared(base, name, reading, load_profile)
    needed, gpus = sum(map(minima, {**placed, name: one}.values())), base.config.budget.gpus
    if needed > gpus:
        raise ConfigError([
            f"budget.gpus: with {name} the minima of all services need {needed} GPUs, and the budget is {gpus}; raise "
            "it or lower min_replicas"
        ])  # fmt: skip
    return one


def _declared(base: LoadedConfig, name: str, reading: Reading, load_profile: LoadProfile) -> Declared:
    """Laid over the top level. Raises ConfigError."""
    root = ("services", name)
    mistakes: list[str] = []
    tree = _filled(overlay(shared_by_all(base.top), reading.own), name, reading.pools, mistakes)
    one = declare(root, tree, load_profile, mistakes)
    if one is not None:
        mistakes += idle_pool_mistakes({name: replace(one, tree=reading.own)})
    if one is None or mistakes:
        raise ConfigError(mistakes)
    return one


def _filled(tree: Tree, name: str, pools: Mapping[Role, ObjectRef], mistakes: list[str]) -> Tree:
    """With the placeholders in the labels of its metrics filled in."""
    metrics = find(tree, ("metrics",))
    if not isinstance(metrics, dict):
        return tree
    namespace = next(iter(pools.values())).namespace
    names = {str(role): ref.name for role, ref in pools.items()}
    # Of one object alone, all labels may speak.
    only = next(iter(names.values())) if len(names) == 1 else None
    filled = dict(metrics)
    for key, given in metrics.items():
        if not (isinstance(given, Given) and isinstance(given.value, str)):
            continue
        values = (name, namespace, names.get(key, only))
        text = given.value
        for placeholder, value in zip(PLACEHOLDERS, values, strict=True):
            if value is not None:
                text = text.replace(placeholder, value)
            elif placeholder in text and key in ("match", "router"):
                mistakes.append(
                    f"{dotted(given.path)}: {placeholder} is the name of one object, and {name} has two; write it in "
                    f"metrics.prefill and metrics.decode ({given.origin})"
                )
        filled[key] = replace(given, value=text)
    return {**tree, "metrics": filled}
