"""The three places a value may come from, each read into a tree: a YAML file, the environment, flags.

A file may use all of YAML's safe types; the environment and flags give one setting each, written as a YAML scalar or
list. Only this module opens files, and nobody in this package reads `os.environ`: callers hand the environment in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from planner.config.catalogue import ENV_FILE, ENV_PREFIX, FLAGS, KeyPath, env_names
from planner.config.mistakes import ConfigError, closest, dotted, shown
from planner.config.tree import Given, Tree, find, grow, plant
from planner.errors import UserError

_SERVICE_LINK = re.compile(
    r"PLANNER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""Kubernetes sets these in every pod beside a Service named planner or planner-*; they are not meant for us."""

_FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
"""1e3 is a number in YAML 1.2, which PyYAML, being 1.1, takes for text."""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once and must be text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {shown(key)} is not text; put it in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{dotted((key,))} is given twice; keep one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _whole_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, object]:
    """PyYAML's own constructor fills a mapping late, which would let one contain itself."""
    return loader.construct_mapping(node, deep=True)


def _whole_list(loader: _Loader, node: yaml.SequenceNode) -> list[object]:
    """As for mappings."""
    return loader.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _whole_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _whole_list)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read_file(file: Path) -> Tree:
    """The tree of a YAML file, empty for an empty one. A relative profile path is taken from the file's folder.

    Raises ConfigError when the file cannot be read, is not YAML, or is not a mapping at its top level.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{file}: cannot read the configuration file: {error.strerror}; check the path"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8"]) from error
    try:
        document = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"{file}{_where(error)}"]) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError([f"{file}: the top level is {shown(document)}; it must be a mapping, such as sla: {{...}}"])
    return _with_anchored_profiles(grow(document, f"file {file}"), file.parent)


def read_env(env: Mapping[str, str], services: Collection[str]) -> tuple[Tree, list[str]]:
    """The tree of all PLANNER_ variables, and a line for each mistake in them."""
    tree: Tree = {}
    mistakes: list[str] = []
    known = env_names(services)
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or name == ENV_FILE or _SERVICE_LINK.fullmatch(name):
            continue
        if name not in known:
            mistakes.append(f"{name}: no setting has this environment variable; {_meant(name, [*known, ENV_FILE])}")
            continue
        try:
            tree = plant(tree, Given(value_of(env[name]), known[name], f"env {name}"))
        except UserError as error:
            mistakes.append(f"{name}: {error}")
    return tree, mistakes


def read_flags(flags: Mapping[str, object], services: Collection[str]) -> tuple[Tree, list[str]]:
    """The tree of all flags, keyed by a flag of its own (`--ttft`) or by a path (`sla.ttft`), and their mistakes.

    Text is parsed as YAML; any other value is taken as it is.
    """
    tree: Tree = {}
    mistakes: list[str] = []
    by_path: dict[KeyPath, str] = {}
    for key, value in flags.items():
        path = FLAGS.get(key) or tuple(key.split("."))
        name = key if key in FLAGS else f"--set {key}"
        if path in by_path:
            mistakes.append(f"{dotted(path)}: given by both {by_path[path]} and {name}; keep one")
            continue
        by_path[path] = name
        if path[0] == "services" and (len(path) < 3 or path[1] not in services):
            declared = ", ".join(sorted(services)) or "it declares none"
            mistakes.append(f"{name}: services are declared in the configuration file alone ({declared})")
            continue
        try:
            tree = plant(tree, Given(value_of(value) if isinstance(value, str) else value, path, f"flag {name}"))
        except UserError as error:
            mistakes.append(f"{name}: {error}")
    return tree, mistakes


def _meant(name: str, known: Collection[str]) -> str:
    """A remedy for an unknown variable. The prefix, which all share, says nothing about which was meant."""
    by_rest = {variable.removeprefix(ENV_PREFIX): variable for variable in known}
    close = closest(name.removeprefix(ENV_PREFIX).upper(), by_rest)
    return f"did you mean {by_rest[close]}?" if close else "unset it"


def _parse(text: str) -> object:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
    except (ValueError, LookupError, AttributeError) as error:
        # What PyYAML's constructors let through: 2024-99-99, or !!bool with something else behind it.
        raise yaml.YAMLError("a value is not what its form or tag says") from error
    finally:
        loader.dispose()


def value_of(text: str) -> object:
    """One setting, written as a YAML scalar or list; empty text is null. Raises UserError for anything else."""
    try:
        value = _parse(text)
    except yaml.YAMLError as error:
        raise UserError(f"{shown(text)} is no YAML scalar or list; put text in quotes, a list in brackets") from error
    if isinstance(value, dict | set):
        raise UserError(f"{shown(text)} is not a single value; give each setting of a section by itself")
    return value


def _where(error: yaml.YAMLError) -> str:
    """Line, column and problem on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        problem = ", ".join(filter(None, (error.context, error.problem)))
        hint = "; indent with spaces" if r"'\t'" in problem else ""
        return f", line {mark.line + 1}, column {mark.column + 1}: {problem}{hint}"
    return f": not YAML: {' '.join(str(error).split())}"


def _with_anchored_profiles(tree: Tree, folder: Path) -> Tree:
    """Profile paths of a file start at its folder, so that it means the same wherever planner is started."""
    services = tree.get("services")
    names = list(services) if isinstance(services, dict) else []
    for path in (("profile",), *(("services", name, "profile") for name in names)):
        given = find(tree, path)
        if isinstance(given, Given) and isinstance(given.value, str) and is_path(given.value):
            tree = plant(tree, replace(given, value=str(folder / given.value)))
    return tree


def is_path(profile: str) -> bool:
    """Whether this names a file, and not a profile that comes with the planner."""
    return "/" in profile or profile.endswith(".json")
