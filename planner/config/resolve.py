"""One service of a configuration: laid over the top level, validated by itself, and with its profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pydantic import ValidationError

from planner.config.catalogue import KeyPath
from planner.config.mistakes import dotted, from_pydantic, shown
from planner.config.model import Service
from planner.config.rules import Declared, history_mistakes, window_mistakes
from planner.config.section import Section
from planner.config.tree import Given, Tree, find, plain
from planner.errors import UserError
from planner.scaling.profile import Profile

TOP_LEVEL_ALONE = ("budget", "simulation", "discover", "services")
"""What no service has."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

SectionT = TypeVar("SectionT", bound=Section)
LoadProfile = Callable[[str], Profile]


def shared_by_all(tree: Tree) -> Tree:
    """What every service inherits."""
    return {key: branch for key, branch in tree.items() if key not in TOP_LEVEL_ALONE}


def declare(root: KeyPath, tree: Tree, load_profile: LoadProfile, mistakes: list[str]) -> Declared | None:
    """The service whose complete tree stands at `root`, None when it is no service; `mistakes` has what is wrong."""
    service = validated(Service, {"sla": {}, **tree}, root, mistakes)
    profile = profile_of(tree, load_profile, mistakes)
    if service is None or profile is None:
        return None
    one = Declared(root, tree, service, profile)
    mistakes += [*history_mistakes(one), *window_mistakes(one)]
    return one


def validated(model: type[SectionT], branch: Tree | Given, root: KeyPath, mistakes: list[str]) -> SectionT | None:
    """The section, None when it is not sound."""
    raw = branch.value if isinstance(branch, Given) else plain(branch)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        mistakes += from_pydantic(error, model, branch, root)
        return None


def partly_wrong(shared: Tree) -> Iterator[str]:
    """Mistakes in what every service inherits, whatever each of them adds."""
    tree: Tree = {"sla": {}, **shared}
    try:
        Service.model_validate(plain(tree))
    except ValidationError as error:
        yield from from_pydantic(error, Service, tree, (), but=("missing",))


def profile_of(tree: Tree, load_profile: LoadProfile, mistakes: list[str]) -> Profile | None:
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


def services_in(tree: Tree, mistakes: list[str]) -> Mapping[str, Tree]:
    """What is written of each service, by name."""
    services = tree.get("services", {})
    if isinstance(services, Given):
        mistakes.append(
            f"services: {shown(services.value)} must be a mapping of service names to settings ({services.origin})"
        )
        return {}
    written: dict[str, Tree] = {}
    for name, own in services.items():
        where = dotted(("services", name))
        if (wrong := name_mistake(name)) is not None:
            mistakes.append(f"{where}: {wrong}")
        elif isinstance(own, Given):
            mistakes.append(f"{where}: {shown(own.value)} must be a section with settings ({own.origin})")
        else:
            written[name] = own
    return written


def name_mistake(name: str) -> str | None:
    """Why a service cannot be called so."""
    if _NAME.fullmatch(name):
        return None
    return f"{shown(name)} is no service name; use lower-case letters, digits and inner dashes"
