"""From sources to a configuration that is known to be sound, each value with its origin.

Precedence, lowest first: defaults, the YAML file, PLANNER_ variables, flags. Then each service is laid over the top
level, so what a service says of itself goes before what all inherit, whatever the source. All mistakes are reported
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from planner.config.catalogue import DISCOVER_SETTINGS, ENV_FILE, SERVICE_SETTINGS, SIMULATION_SETTINGS, KeyPath
from planner.config.discover import Discover
from planner.config.mistakes import ConfigError, shown
from planner.config.model import Budget, Config, Service
from planner.config.resolve import LoadProfile, declare, partly_wrong, profile_of, services_in, shared_by_all, validated
from planner.config.rules import Declared, budget_mistakes, idle_pool_mistakes, placeholder_mistakes
from planner.config.simulation import Simulation
from planner.config.sources import read_env, read_file, read_flags
from planner.config.tree import Given, Tree, find, grow, overlay, plain
from planner.errors import UserError
from planner.profiler import library
from planner.scaling.profile import Profile, document_from_profile, profile_from_document
from planner.scaling.types import Role

DEFAULT_SERVICE = "default"
"""The name of the only service when none is declared."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A sound configuration: the effective values, where each comes from, and the profiles they name."""

    config: Config
    profiles: Mapping[str, Profile]
    """By the name or path under which `config` knows them."""
    top: Tree
    """What is written but for `services`."""
    top_profile: Mapping[str, Profile]
    """The one that discovered services inherit."""
    declared: Mapping[str, Declared]
    """The services, as given and as validated."""

    @property
    def origins(self) -> Mapping[KeyPath, str]:
        """For every setting of `to_document`: "default", "file planner.yaml", "env PLANNER_SLA__TTFT" or "flag --ttft";
        a value inherited from the top level says so."""
        return dict(_origins(self.top, self.config, self.declared))

    @property
    def interval_s(self) -> float:
        """Of the top level: how often a planner looks that has no service yet."""
        given = find(self.top, ("interval_s",))
        return float(str(given.value)) if isinstance(given, Given) else Service.model_fields["interval_s"].default

    def to_document(self) -> dict[str, Any]:
        """The effective configuration, every default filled in; of the simulated fleet, which no plan depends on, what
        departs from its defaults; where services are discovered, also what those to come inherit. JSON values only."""
        services = {
            name: service.model_dump(mode="json", exclude=_idle_pools(service))
            for name, service in self.config.services.items()
        }
        simulation = _departures(self.config.simulation)
        discover = self.config.discover
        to_come = {"discover": discover.model_dump(mode="json"), **plain(shared_by_all(self.top))}
        return {
            "budget": self.config.budget.model_dump(mode="json"),
            **({"simulation": simulation} if simulation else {}),
            **(to_come if discover.namespaces else {}),
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


def with_services(base: LoadedConfig, services: Mapping[str, Declared]) -> LoadedConfig:
    """The same top level with these services. Raises ConfigError when their minima exceed the budget."""
    config = base.config
    budget = _origin(find(base.top, ("budget", "gpus")), ())
    if mistakes := list(budget_mistakes(services, config.budget.gpus, budget)):
        raise ConfigError(mistakes)
    profiles = {one.service.profile: one.profile for one in services.values()}
    return LoadedConfig(
        config=config.model_copy(update={"services": {name: one.service for name, one in services.items()}}),
        profiles={**base.top_profile, **profiles},
        top=base.top,
        top_profile=base.top_profile,
        declared=services,
    )


def _resolved(tree: Tree, mistakes: list[str], load_profile: LoadProfile) -> LoadedConfig:
    """Validate everything that can be, then raise all mistakes at once or give the configuration."""
    mistakes = list(mistakes)
    load_profile = cache(load_profile)
    budget = validated(Budget, tree.get("budget", {}), ("budget",), mistakes)
    simulation = validated(Simulation, tree.get("simulation", {}), ("simulation",), mistakes)
    discover = validated(Discover, tree.get("discover", {}), ("discover",), mistakes)
    discovers = discover is not None and bool(discover.namespaces)
    shared = shared_by_all(tree)
    # Without any declared, the top level is the only one.
    written = services_in(tree, mistakes)
    trees: dict[str, tuple[KeyPath, Tree]] = {
        name: (("services", name), overlay(shared, own)) for name, own in written.items()
    }
    if not tree.get("services") and not discovers:
        trees = {DEFAULT_SERVICE: ((), shared)}
    services: dict[str, Declared] = {}
    for name, (root, service_tree) in trees.items():
        one = declare(root, service_tree, load_profile, mistakes)
        if one is not None:
            services[name] = one
            mistakes += placeholder_mistakes(one)
    top_profile: dict[str, Profile] = {}
    if discovers:
        mistakes += partly_wrong(shared)
        if (profile := profile_of(shared, load_profile, mistakes)) is not None:
            top_profile = {str(plain(shared)["profile"]): profile}
    # A pool that no service has may stand at the top level for those to be discovered.
    whole = {name: replace(one, tree=written[name]) for name, one in services.items()} if discovers else services
    mistakes += idle_pool_mistakes(whole)
    if budget is None or simulation is None or discover is None or mistakes:
        raise ConfigError(mistakes)
    top = {key: branch for key, branch in tree.items() if key != "services"}
    config = Config(budget=budget, simulation=simulation, discover=discover, services={})
    base = LoadedConfig(config, {}, top, top_profile, {})
    return with_services(base, services)


def _origins(tree: Tree, config: Config, services: Mapping[str, Declared]) -> Iterator[tuple[KeyPath, str]]:
    """Every setting of the effective configuration's document with the source of its value."""
    yield ("budget", "gpus"), _origin(find(tree, ("budget", "gpus")), ())
    if config.discover.namespaces:
        for setting in (*DISCOVER_SETTINGS, *SERVICE_SETTINGS):
            given = find(tree, setting.path)
            if given is not None or setting in DISCOVER_SETTINGS:
                yield setting.path, _origin(given, ())
    departures = grow({"simulation": _departures(config.simulation)}, "")
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
