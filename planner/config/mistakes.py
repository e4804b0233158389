"""What is wrong with a configuration, one line for each mistake: where, which value, what to do, and who gave it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Sequence

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from planner.config.catalogue import SETTINGS, KeyPath, env_name, kind, section_of
from planner.config.model import Service
from planner.config.tree import Given, Tree, find, written_at
from planner.errors import UserError

_LONGEST_SHOWN = 60


class ConfigError(UserError):
    """A configuration that cannot be used. The message is the mistake, or a headline with one line for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        """Each line once: what several services inherit is one mistake."""
        super().__init__(
            self.mistakes[0]
            if len(self.mistakes) == 1
            else "\n  ".join([f"{len(self.mistakes)} mistakes in the configuration:", *self.mistakes])
        )


def shown(value: object) -> str:
    """A value as a user would write it, on one line, cut when long."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, default=str, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def dotted(path: KeyPath) -> str:
    """A path as users write it, on one line."""
    return ".".join(key if key.isprintable() else shown(key) for key in path)


def closest(word: str, known: Collection[str]) -> str | None:
    """The known word that an unknown one resembles most, None when it resembles none."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def mistake(tree: Tree | Given, root: KeyPath, at: KeyPath, rule: str, value: object) -> str:
    """One line about the setting at path `at` of a tree that stands at path `root`, with its effective value."""
    given = written_at(find(tree, at))
    if given is None:
        return f"{dotted((*root, *at))}: {shown(value)} {rule} (default)"
    return f"{dotted(given.path)}: {shown(value)} {rule} ({given.origin})"


def from_pydantic(
    error: ValidationError, model: type[BaseModel], tree: Tree | Given, root: KeyPath, but: tuple[str, ...] = ()
) -> list[str]:
    """A line for each of pydantic's errors but those of the types `but`, under the path where the value was written."""
    every = error.errors(include_url=False)
    return [_line(details, model, tree, root) for details in every if details["type"] not in but]


def _line(details: ErrorDetails, model: type[BaseModel], tree: Tree | Given, root: KeyPath) -> str:
    # Whole numbers are positions in a list, which is one setting.
    at = tuple(key for key in details["loc"] if isinstance(key, str))
    context = details.get("ctx", {})
    found = find(tree, at)
    given = written_at(found)
    where, origin = (dotted(given.path), f" ({given.origin})") if given else (dotted((*root, *at)), "")
    match details["type"]:
        case "incoherent":
            return mistake(tree, root, (*at, context["field"]), context["rule"], context["value"])
        case "extra_forbidden":
            return f"{where}: unknown setting; {_meant(root, at, model)}{origin}"
        case "missing":
            return f"{where}: not set; {_ways_to_set((*root, *at))}"
        case "value_error":
            return f"{where}: {context['error']}{origin}"
        case "model_type":
            return f"{where}: {shown(details['input'])} must be a section with settings of its own{origin}"
        case reason:
            rule = kind(_field(model, at))
            if reason == "finite_number":
                rule = rule.replace("a number", "a finite number")
            value = found.value if isinstance(found, Given) else details["input"]
            return f"{where}: {shown(value)} must be {rule}{origin}"


def _field(model: type[BaseModel], at: KeyPath) -> FieldInfo:
    field = model.model_fields[at[0]]
    section = section_of(field)
    return field if section is None else _field(section, at[1:])


def _meant(root: KeyPath, at: KeyPath, model: type[BaseModel]) -> str:
    """The setting an unknown key was probably meant to be: one of its section, else one of its name elsewhere."""
    section = model
    for key in at[:-1]:
        section = section_of(section.model_fields[key]) or section
    siblings = list(section.model_fields)
    if section is Service and not root:
        siblings += ["budget", "discover", "simulation", "services"]
    elsewhere = [dotted(setting.path) for setting in SETTINGS if setting.path[-1] == at[-1]]
    meant = " or ".join(elsewhere) or closest(at[-1], siblings)
    return f"did you mean {meant}?" if meant else f"known here: {', '.join(siblings)}"


def _ways_to_set(path: KeyPath) -> str:
    flag = next((f" or {setting.flag}" for setting in SETTINGS if setting.path == path and setting.flag), "")
    return f"write it in the configuration file or give {env_name(path)}{flag}"
