"""Label selectors in text, as `kubectl get -l` takes them, matched here: pods are watched once for all targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Matches = Callable[[Labels], bool]

_SET = re.compile(r"(?P<key>\S+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)")
_PARTS = re.compile(r",(?![^(]*\))")


def selects(selector: str) -> Matches:
    """Whether labels match. Raises ValueError for a selector that is none; an empty one matches nothing.

    To the API server an empty selector means everything, which here would make every pod of a namespace a replica.
    """
    parts = [part.strip() for part in _PARTS.split(selector) if part.strip()]
    matches = [_requirement(part) for part in parts]
    return lambda labels: bool(matches) and all(each(labels) for each in matches)


def _requirement(part: str) -> Matches:
    if found := _SET.fullmatch(part):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    for operator, negated in (("!=", True), ("==", False), ("=", False)):
        key, separator, value = part.partition(operator)
        if separator:
            key, value = key.strip(), value.strip()
            return lambda labels: (labels.get(key) == value) is not negated
    if " " in part:
        raise ValueError(f"{part!r} is no requirement of a label selector")
    if part.startswith("!"):
        return lambda labels: part[1:] not in labels
    return lambda labels: part in labels
