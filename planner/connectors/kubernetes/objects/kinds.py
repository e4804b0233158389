"""What a kind of target means: where its replicas stand, how they are written, whose pods they are, and when not to.

A target is one object. It holds one replica count or several; each is a `Part`, named by its component: `""` is the
object as a whole, other names are those of its roles, services or worker groups. Counts are replicas as the object
counts them: groups of pods for some kinds.

- A count that is not there is absent, never 0. Only in an autoscaling/v1 Scale does a missing count mean 0: its
  encoding leaves zeros out, and the API server gives no Scale at all for an object without the field.
- What is not there is not written either: a merge patch would make a field that no controller reads.
- Every patch is a merge patch, carries the resourceVersion it was decided on (a stale one is answered with 409), and
  changes all its counts at once. A list is sent back whole, as it was read but for the counts.
- Nothing is written to an object that refuses, nor a count its own bounds forbid.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planner.connectors.kubernetes.objects.paths import Object, Path, at, before_lists, path, read, text, write
from planner.errors import UserError
from planner.scaling.types import Absent

WHOLE = ""
"""The component of a target that is scaled as a whole."""
ANY = "*"
"""In a kind's parts: every component that has no part of its own."""


class TargetError(UserError):
    """A target is not as its kind has it, or must not be written so. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Part:
    """One replica count of a kind. In paths and selectors `*` and `{component}` stand for the component."""

    replicas: Path
    pods: str
    """Label selector of its pods; `{.a.path}` is what the object says there, a selector or a plain text."""
    through: Literal["scale", "object"]
    """Written through the scale subresource, or in the object."""
    least: Path | None = None
    """Where the object holds a lower bound of its own."""
    most: Path | None = None
    """Where the object holds an upper bound of its own."""
    group_by: tuple[str, ...] = ()
    """Labels whose values pods of one replica share; empty where a replica is one pod."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of target, at those of its versions that look alike."""

    group: str
    versions: tuple[str, ...]
    """Newest first; empty for a kind that is known by its scale subresource alone."""
    kind: str
    plural: str
    parts: Mapping[str, Part]
    """By component; empty for a kind that is never written."""
    refuses: Callable[[Object, str], str | None] = lambda target, component: None
    """Why an object must not be written, with what to scale instead; None when it may."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch (application/merge-patch+json) of the object or of its scale subresource."""

    through: Literal["scale", "object"]
    body: Object


def name_of(target: Object) -> str:
    """Kind, namespace and name, as messages say them."""
    metadata = target.get("metadata") or {}
    return f"{target.get('kind', 'object')} {metadata.get('namespace', '')}/{metadata.get('name', '')}"


def part_of(kind: Kind, component: str) -> Part | None:
    """The part that the component is; None when the kind has no such component."""
    return kind.parts.get(component) or (kind.parts.get(ANY) if component else None)


def replicas_of(kind: Kind, target: Object, component: str = WHOLE) -> int | Absent:
    """The replicas that `target`, the object or its Scale, asks for."""
    part = part_of(kind, component)
    if part is None:
        return Absent(f"{name_of(target)}: {_nopart_of(kind, component)}")
    steps = _place(part, target, component)
    count = read(target, steps)
    if count is None and _is_scale(target) and isinstance(target.get("spec"), Mapping):
        return 0
    if type(count) is not int or count < 0:
        said = "is not there" if count is None else f"is {count!r}, no count of replicas"
        return Absent(f"{name_of(target)}: {text(steps)} {said}")
    return count


def bounds_of(kind: Kind, target: Object, component: str = WHOLE) -> tuple[int, int | None]:
    """The least and most replicas the object allows; 0 and None where it says nothing."""
    part = part_of(kind, component)
    if part is None:
        return 0, None
    least = _count(target, part.least, component)
    return 0 if least is None else least, _count(target, part.most, component)


def refusal(kind: Kind, target: Object, component: str = WHOLE) -> str | None:
    """Why the component must not be written, with what to scale instead; None when it may."""
    return kind.refuses(target, component)


def selector_of(kind: Kind, target: Object, component: str = WHOLE) -> str | Absent:
    """Label selector of the component's pods. `target` is the object or its Scale."""
    part = part_of(kind, component)
    if part is None:
        return Absent(f"{name_of(target)}: {_nopart_of(kind, component)}")
    template = "{.status.selector}" if _is_scale(target) else part.pods
    missing: list[str] = []

    def put_in(match: re.Match[str]) -> str:
        if match[1] == "component":
            return component
        said = _selector_text(read(target, path(match[1])))
        missing.extend([] if said else [match[1]])
        return said

    selector = re.sub(r"\{([^}]+)\}", put_in, template)
    if missing:
        return Absent(f"{name_of(target)}: {missing[0]} is not there, so its pods are unknown")
    return selector


def patch_of(kind: Kind, target: Object, changes: Mapping[str, int]) -> Patch:
    """The one patch that makes the components of `target`, the object or its Scale, as `changes` says.

    Raises TargetError when the object refuses, a count is not there to be changed or its bounds forbid the new one,
    or the resourceVersion is missing.
    """
    version = read(target, path(".metadata.resourceVersion"))
    if not isinstance(version, str) or not version:
        raise TargetError(f"target: {name_of(target)} has no .metadata.resourceVersion; read it from the API server")
    parts = {component: _writable(kind, target, component, count) for component, count in changes.items()}
    changed: dict[str, Any] = copy.deepcopy(dict(target))
    body: dict[str, Any] = {"metadata": {"resourceVersion": version}}
    for component, part in parts.items():
        write(changed, _place(part, target, component), changes[component])
    for component, part in parts.items():
        steps = before_lists(_place(part, target, component))
        write(body, steps, read(changed, steps))
    if {part.through for part in parts.values()} == {"scale"}:
        # The Scale of every kind has its count here, wherever the object keeps it.
        (count,) = changes.values()
        return Patch("scale", {"metadata": body["metadata"], "spec": {"replicas": count}})
    return Patch("object", body)


def _writable(kind: Kind, target: Object, component: str, count: int) -> Part:
    """The component's part. Raises TargetError when it must not become `count`."""
    name = name_of(target)
    if (why := kind.refuses(target, component)) is not None:
        raise TargetError(f"target: {name} is not scaled: {why}")
    part = part_of(kind, component)
    if part is None:
        raise TargetError(f"target: {name}: {_nopart_of(kind, component)}")
    if part.through == "object" and _is_scale(target):
        raise TargetError(f"target: {name} holds no {component!r}; read {kind.kind} itself, it is not scaled so")
    now = replicas_of(kind, target, component)
    if isinstance(now, Absent):
        raise TargetError(f"target: {now.cause}; correct the component, or write the count there once")
    least, most = bounds_of(kind, target, component)
    if type(count) is not int or count < 0:
        raise TargetError(f"target: {name}: {count!r} replicas cannot be; ask for 0 or more")
    if count < least and part.least is not None:
        bound = text(at(part.least, component))
        raise TargetError(f"target: {name}: {count} is below its {bound} {least}; set min_replicas to {least} or more")
    if most is not None and count > most and part.most is not None:
        bound = text(at(part.most, component))
        raise TargetError(f"target: {name}: {count} is above its {bound} {most}; set max_replicas to {most} or less")
    return part


def _nopart_of(kind: Kind, component: str) -> str:
    if not kind.parts:
        return f"{kind.kind} has no replicas to set"
    if component == WHOLE:
        return f"{kind.kind} is not scaled as a whole; name one of its components"
    known = " or ".join(repr(name) for name in kind.parts if name) or "none, it is scaled as a whole"
    return f"{kind.kind} has no component {component!r}; its components: {known}"


def _place(part: Part, target: Object, component: str) -> Path:
    return path(".spec.replicas") if _is_scale(target) else at(part.replicas, component)


def _is_scale(target: Object) -> bool:
    return target.get("kind") == "Scale" and str(target.get("apiVersion", "")).startswith("autoscaling/")


def _count(target: Object, steps: Path | None, component: str) -> int | None:
    said = None if steps is None else read(target, at(steps, component))
    return said if type(said) is int else None


def _selector_text(selector: Any) -> str:
    """A selector, as a text or as a LabelSelector, or a plain text; empty when it is none of them."""
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, Mapping):
        return ""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        values = f"({','.join(rule.get('values') or [])})"
        terms.append(
            {
                "In": f"{rule['key']} in {values}",
                "NotIn": f"{rule['key']} notin {values}",
                "Exists": f"{rule['key']}",
                "DoesNotExist": f"!{rule['key']}",
            }[rule["operator"]]
        )
    return ",".join(terms)
