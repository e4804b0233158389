"""Paths into objects as the API server sends them: read one, write one, match one against managedFields.

A path is written `.spec.components[name=*].replicas`: keys, and items of a list found by one of their keys. A `*`
stands for the component that is asked for, and is put in by `at`. JSON null counts as absent, as the API server takes
it. Keys that hold a dot cannot be written, but components may: a path is taken apart before its component is put in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Object = Mapping[str, Any]
"""A JSON object of the Kubernetes API."""


@dataclass(frozen=True, slots=True)
class Item:
    """The one item of a list whose `key` is `value`."""

    key: str
    value: str


Step = str | Item
Path = tuple[Step, ...]

_STEP = re.compile(r"\.(\w+|\*)|\[(\w+)=(\*|\w+)\]")


@cache
def path(text: str) -> Path:
    """Take a path apart. Raises ValueError when `text` is none."""
    found = list(_STEP.finditer(text))
    if not found or "".join(each[0] for each in found) != text:
        raise ValueError(f"{text!r} is no path; write it like .spec.roles[name=decode].replicas")
    return tuple(Item(each[2], each[3]) if each[2] else each[1] for each in found)


def at(steps: Path, component: str) -> Path:
    """The path for one component: its name in place of each `*`."""

    def named(step: Step) -> Step:
        if isinstance(step, Item):
            return Item(step.key, component) if step.value == "*" else step
        return component if step == "*" else step

    return tuple(named(step) for step in steps)


def text(steps: Path) -> str:
    """As people write it."""
    return "".join(f"[{step.key}={step.value}]" if isinstance(step, Item) else f".{step}" for step in steps)


def read(value: Any, steps: Path) -> Any:
    """What stands at the path; None where there is nothing, or where two items of a list go by one name."""
    for step in steps:
        if isinstance(step, Item):
            items = value if isinstance(value, list) else []
            alike = [item for item in items if isinstance(item, Mapping) and item.get(step.key) == step.value]
            value = alike[0] if len(alike) == 1 else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def write(value: dict[str, Any], steps: Path, new: Any) -> None:
    """Put `new` at the path, in place. Objects on the way are made where there are none; items of lists must exist."""
    *way, last = steps
    inner: Any = value
    for step in way:
        inner = read(inner, (step,)) if isinstance(step, Item) else inner.setdefault(step, {})
    inner[last] = new


def before_lists(steps: Path) -> Path:
    """The path as far as a merge patch can name it: a list is replaced whole (RFC 7386)."""
    first_item = next((place for place, step in enumerate(steps) if isinstance(step, Item)), len(steps))
    return steps[:first_item]


def owns(fields: Any, steps: Path) -> bool:
    """Whether a managedFields entry's `fieldsV1` holds the path, itself or within a list or object owned whole.

    The format (structured-merge-diff, FieldsV1): `f:<key>`, `k:<keys of the item as JSON>`, and `{}` for a leaf; an
    atomic list is a leaf.
    """
    for step in steps:
        if not isinstance(fields, Mapping):
            return False
        if isinstance(step, Item):
            fields = next((inner for key, inner in fields.items() if _is_item(key, step)), None)
        else:
            fields = fields.get(f"f:{step}")
        if fields is None:
            return False
        if fields == {}:
            return True
    return True


def _is_item(key: str, step: Item) -> bool:
    if not key.startswith("k:"):
        return False
    keys: Any = json.loads(key[2:])
    return isinstance(keys, Mapping) and keys.get(step.key) == step.value
