"""Services as people declare them on what is scaled, as values: the labels and annotations that are ours, and what
cannot be seen.

    labels:      sla-planner.io/service: NAME, sla-planner.io/role: prefill | decode | aggregated
    annotations: sla-planner.io/SETTING
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.table import KINDS
from planner.connectors.kubernetes.objects.targets import ObjectRef

PREFIX = "sla-planner.io/"
SERVICE = PREFIX + "service"
ROLE = PREFIX + "role"

Place: TypeAlias = tuple[str, str, str]
"""Group, kind and namespace."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One object that says which service it belongs to, and nothing of it that changes when it is scaled."""

    ref: ObjectRef
    service: str
    role: str | None
    """As labelled; None where it is not."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Ours, without the prefix."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """All of them, in order."""

    objects: tuple[Labelled, ...] = ()
    blind: frozenset[Place] = frozenset()
    """Where nobody can tell now what there is."""


def labelled(ref: ObjectRef, said: Object) -> Labelled:
    """What an object says of its service."""
    labels = read(said, path(".metadata.labels")) or {}
    annotations = read(said, path(".metadata.annotations")) or {}
    ours = {key.removeprefix(PREFIX): str(text) for key, text in annotations.items() if key.startswith(PREFIX)}
    return Labelled(ref, str(labels.get(SERVICE, "")), labels.get(ROLE), dict(sorted(ours.items())))


def place_of(ref: ObjectRef) -> Place:
    """Where the object is."""
    return ref.group, ref.kind, ref.namespace


def spelt(ref: ObjectRef) -> str:
    """As a target is written."""
    known = [row.group for row in KINDS if row.kind == ref.kind]
    kind = ref.kind if set(known) == {ref.group} else f"{ref.kind}.{ref.group}"
    return f"{kind}/{ref.name}"
