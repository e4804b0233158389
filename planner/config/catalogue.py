"""Every setting by its path, and the names under which a source may give it.

A path is the tuple of YAML keys from the top level. The names in the environment follow from it; only the flags are
listed, since few settings deserve one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from planner.config.discover import Discover
from planner.config.model import Budget, Service
from planner.config.simulation import Simulation

KeyPath = tuple[str, ...]

ENV_PREFIX = "PLANNER_"
ENV_FILE = "PLANNER_CONFIG"
"""Names the configuration file when no flag does."""

FLAGS: dict[str, KeyPath] = {
    "--profile": ("profile",),
    "--isl": ("sla", "isl"),
    "--osl": ("sla", "osl"),
    "--ttft": ("sla", "ttft"),
    "--itl": ("sla", "itl"),
    "--objective": ("sla", "objective"),
    "--gpus": ("budget", "gpus"),
    "--mode": ("mode",),
    "--interval": ("interval_s",),
    "--startup": ("startup_s",),
    "--forecaster": ("forecast", "model"),
}
"""Settings worth a flag of their own; `--set PATH=VALUE` reaches all."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value a user may give."""

    path: KeyPath
    field: FieldInfo

    @property
    def env(self) -> str:
        """Its environment variable."""
        return env_name(self.path)

    @property
    def flag(self) -> str | None:
        """Its own flag, if it has one."""
        return next((flag for flag, path in FLAGS.items() if path == self.path), None)


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section a field holds, None for a single value."""
    held = field.annotation
    return held if isinstance(held, type) and issubclass(held, BaseModel) else None


def _settings(model: type[BaseModel], at: KeyPath) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            yield Setting((*at, name), field)
        else:
            yield from _settings(section, (*at, name))


SERVICE_SETTINGS = tuple(_settings(Service, ()))
"""What a service has; each may stand at the top level and again under `services.<name>`."""

SIMULATION_SETTINGS = tuple(_settings(Simulation, ("simulation",)))
"""What the simulated fleet has; at the top level alone, since it is one fleet for all services."""

DISCOVER_SETTINGS = tuple(_settings(Discover, ("discover",)))
"""Where services are found; at the top level alone."""

SETTINGS = (*_settings(Budget, ("budget",)), *DISCOVER_SETTINGS, *SERVICE_SETTINGS, *SIMULATION_SETTINGS)
"""What may stand at the top level, `services` apart."""


def _sections(settings: Iterable[Setting]) -> frozenset[KeyPath]:
    return frozenset(setting.path[:depth] for setting in settings for depth in range(1, len(setting.path)))


_SERVICE_SECTIONS = _sections(SERVICE_SETTINGS)
_SECTIONS = _sections(SETTINGS)


def is_section(path: KeyPath) -> bool:
    """Whether settings stand below this path, so that nothing written there means nothing given."""
    if path[0] == "services":
        return len(path) <= 2 or path[2:] in _SERVICE_SECTIONS
    return path in _SECTIONS


def kind(field: FieldInfo) -> str:
    """What a value must be, to follow "must be": "a whole number of at least 1, or null". A list's title says it."""
    if field.title:
        return field.title
    held = field.annotation
    types = get_args(held) if get_origin(held) in (Union, UnionType) else (held,)
    (single,) = (FieldInfo.from_annotation(one) for one in types if one is not NoneType)
    if get_origin(single.annotation) is Literal:
        *others, last = get_args(single.annotation)
        words = f"{', '.join(others)} or {last}"
    else:
        bounds = " and ".join(filter(None, map(_bound, [*field.metadata, *single.metadata])))
        words = f"{_KINDS[single.annotation]} {bounds}".rstrip()
    return f"{words}, or null" if NoneType in types else words


_KINDS: dict[object, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _bound(constraint: object) -> str:
    match constraint:
        case Gt(gt=bound):
            return f"above {bound}"
        case Ge(ge=bound):
            return f"of at least {bound}"
        case Lt(lt=bound):
            return f"below {bound}"
        case Le(le=bound):
            return f"at most {bound}"
        case MinLen():
            return "that is not empty"
    return ""


def env_name(path: KeyPath) -> str:
    """The environment variable of a path: upper case, levels joined by two underscores."""
    return ENV_PREFIX + "__".join(re.sub(r"\W", "_", key) for key in path).upper()


def env_names(services: Iterable[str]) -> dict[str, KeyPath]:
    """All variables that may be set, given the services the file declares."""
    paths = [setting.path for setting in SETTINGS]
    paths += [("services", name, *setting.path) for name in services for setting in SERVICE_SETTINGS]
    return {env_name(path): path for path in paths}
