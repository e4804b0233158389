"""From sources to a configuration that is known to be sound, each value with its origin.

Precedence, lowest first: defaults, the YAML file, PLANNER_ variables, flags. Then each service is laid over the top
level, so what a service says of itself goes before what all inherit, whatever the source. All mistakes are reported
together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from planner.config.catalogue import ENV_FILE, SERVICE_SETTINGS, SIMULATION_SETTINGS, KeyPath
from planner.config.mistakes import ConfigError, dotted, from_pydantic, shown
from planner.config.model import Budget, Config, Service
from planner.config.rules import (
    Declared,
    budget_mistakes,
    history_mistakes,
    idle_pool_mistakes,
    window_mistakes,
)
from planner.config.section import Section
from planner.config.simulation import Simulation
from planner.config.sources import read_env, read_file, read_flags
from planner.config.tree import Given, Tree, find, grow, overlay, plain
from planner.errors import UserError
from planner.profiler import library
from planner.scaling.profile import Profile, document_from_profile, profile_from_document
from planner.scaling.types import Role

DEFAULT_SERVICE = "default"
"""The name of the only service when none is declared."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

SectionT = TypeVar("SectionT", bound=Section)
LoadProfile = Callable[[str], Profile]


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A sound configuration: the effective values, where each comes from, and the profiles they name."""

    config: Config
    origins: Mapping[KeyPath, str]
    """For every setting of `to_document`: "default", "file planner.yaml", "env PLANNER_SLA__TTFT" or "flag --ttft"; a
    value inherited from the top level says so."""
    profiles: Mapping[str, Profile]
    """By the name or path under which `config` knows them."""

    def to_document(self) -> dict[str, Any]:
        """The effective configuration, every default filled in; of the simulated fleet, which no plan depends on, what
        departs from its defaults. JSON values only."""
        services = {
            name: service.model_dump(mode="json", exclude=_idle_pools(service))
            for name, service in self.config.services.items()
        }
        simulation = _departures(self.config.simulation)
        return {
            "budget": self.config.budget.model_dump(mode="json"),
            **({"simulation": simulation} if simulation else {}),
            "services": services,
        }

    def profile_documents(self) -> dict[str, Any]:
        """The profiles as JSON documents, by name or path."""
        return {name: document_from_profile(profile) for name, profile in self.profiles.items()}


def load_config(file: Path | None, env: Mapping[str, str], flags: Mapping[str, object]) -> LoadedConfig:
    """The configuration of a file (None: the one PLANNER_CONFIG names, if any), an environment and flags.

    `flags` maps a flag (`--ttft`) or a path (`sla.ttft`) to its value; text is parsed as a YAML scalar.
    Raises ConfigError with a line for each mistake.
    """
    if file is None and env.get(ENV_FILE):
        file = Path(env[ENV_FILE])
    from_file = read_file(file) if file is not None else {}
    declared = from_file.get("services")
    names = list(declared) if isinstance(declared, dict) else []
    from_env, env_mistakes = read_env(env, names)
    from_flags, flag_mistakes = read_flags(flags, names)
    tree = overlay(overlay(from_file, from_env), from_flags)
    return _resolved(tree, [*env_mistakes, *flag_mistakes], library.load_profile)


def config_from_document(document: Mapping[str, object], profiles: Mapping[str, object]) -> LoadedConfig:
    """The configuration that `to_document` and `profile_documents` wrote, from them alone: no file is read.

    Raises ConfigError with a line for each mistake.
    """

    def load_profile(name: str) -> Profile:
        if name not in profiles:
            raise UserError(f"profile {shown(name)} is not among the documents ({', '.join(profiles) or 'none'})")
        return profile_from_document(profiles[name])

    return _resolved(grow(document, "document"), [], load_profile)


def _resolved(tree: Tree, mistakes: list[str], load_profile: LoadProfile) -> LoadedConfig:
    """Validate everything that can be, then raise all mistakes at once or give the configuration."""
    mistakes = list(mistakes)
    load_profile = cache(load_profile)
    budget = _validated(Budget, tree.get("budget", {}), ("budget",), mistakes)
    simulation = _validated(Simulation, tree.get("simulation", {}), ("simulation",), mistakes)
    services: dict[str, Declared] = {}
    for name, root, service_tree in _service_trees(tree, mistakes):
        service = _validated(Service, {"sla": {}, **service_tree}, root, mistakes)
        profile = _profile(service_tree, load_profile, mistakes)
        if service is not None and profile is not None:
            services[name] = Declared(root, service_tree, service, profile)
    for one in services.values():
        mistakes += [*history_mistakes(one), *window_mistakes(one)]
    mistakes += idle_pool_mistakes(services)
    if budget is not None and not mistakes:
        mistakes += budget_mistakes(services, budget.gpus, _origin(find(tree, ("budget", "gpus")), ()))
    if budget is None or simulation is None or mistakes:
        raise ConfigError(mistakes)
    config = Config(
        budget=budget, simulation=simulation, services={name: one.service for name, one in services.items()}
    )
    return LoadedConfig(
        config=config,
        origins=dict(_origins(tree, simulation, services)),
        profiles={one.service.profile: one.profile for one in services.values()},
    )


def _service_trees(tree: Tree, mistakes: list[str]) -> Iterator[tuple[str, KeyPath, Tree]]:
    """Name, path and complete tree of each service; without any declared, the top level is the only one."""
    shared = {key: branch for key, branch in tree.items() if key not in ("budget", "simulation", "services")}
    services = tree.get("services", {})
    if isinstance(services, Given):
        mistakes.append(
            f"services: {shown(services.value)} must be a mapping of service names to settings ({services.origin})"
        )
        return
    if not services:
        yield DEFAULT_SERVICE, (), shared
    for name, own in services.items():
        root = ("services", name)
        if not _NAME.fullmatch(name):
            mistakes.append(
                f"{dotted(root)}: {shown(name)} is no service name; use lower-case letters, digits and inner dashes"
            )
        elif isinstance(own, Given):
            mistakes.append(f"{dotted(root)}: {shown(own.value)} must be a section with settings ({own.origin})")
        else:
            yield name, root, overlay(shared, own)


def _validated(model: type[SectionT], branch: Tree | Given, root: KeyPath, mistakes: list[str]) -> SectionT | None:
    raw = branch.value if isinstance(branch, Given) else plain(branch)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        mistakes += from_pydantic(error, model, branch, root)
        return None


def _profile(tree: Tree, load_profile: LoadProfile, mistakes: list[str]) -> Profile | None:
    """The profile a service names, None when it names none or one that cannot be loaded."""
    given = find(tree, ("profile",))
    if not (isinstance(given, Given) and isinstance(given.value, str) and given.value):
        return None
    try:
        return load_profile(given.value)
    except UserError as error:
        reason = str(error).removeprefix("profile: ")
        mistakes.append(f"{dotted(given.path)}: {reason} ({given.origin})")
        return None


def _origins(tree: Tree, simulation: Simulation, services: Mapping[str, Declared]) -> Iterator[tuple[KeyPath, str]]:
    """Every setting of the effective configuration's document with the source of its value."""
    yield ("budget", "gpus"), _origin(find(tree, ("budget", "gpus")), ())
    departures = grow({"simulation": _departures(simulation)}, "")
    for setting in SIMULATION_SETTINGS:
        if find(departures, setting.path) is not None:
            yield setting.path, _origin(find(tree, setting.path), ())
    for name, one in services.items():
        idle = _idle_pools(one.service)
        for setting in SERVICE_SETTINGS:
            if setting.path[0] in idle:
                continue
            yield ("services", name, *setting.path), _origin(find(one.tree, setting.path), one.root)


def _departures(simulation: Simulation) -> dict[str, Any]:
    """Where the simulated fleet is not what its defaults say. JSON values only."""
    return simulation.model_dump(mode="json", exclude_defaults=True)


def _idle_pools(service: Service) -> set[str]:
    """Pools that the service's mode does not have."""
    return {role.value for role in Role} - {role.value for role in service.pools}


def _origin(branch: Tree | Given | None, root: KeyPath) -> str:
    if not isinstance(branch, Given):
        return "default"
    inherited = branch.path[: len(root)] != root
    return f"{branch.origin}, inherited" if inherited else branch.origin
