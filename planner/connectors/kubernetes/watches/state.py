"""What a list and the events of a watch add up to: values in, values out.

A value never changes once it is made, so that a reader may hold one while time goes on. Each event copies the map of
objects, not the objects: 0.05 ms for 10,000 of them.

An object is never replaced by an older state of itself: our own write is put in at once, and the watch tells later
what came before it. Resource versions of one kind are compared as whole numbers, which Kubernetes warrants since 1.35
(KEP-5504) and etcd has always had so; where they are none, the latest word counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.connectors.kubernetes.api.errors import ApiError, told
from planner.connectors.kubernetes.api.listing import Listing
from planner.connectors.kubernetes.objects.paths import Object, path, read

Key = tuple[str, str]
"""Namespace, empty where the kind has none, and name."""


class EventError(ApiError):
    """The watch cannot go on from where it is: only a new list tells what is there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The objects, and the moment up to which they are known."""

    objects: Mapping[Key, Object]
    resource_version: str


def listed(before: Seen, listing: Listing) -> Seen:
    """A new list. What was put in after the list's moment stays."""
    later = {key: each for key, each in before.objects.items() if _is_later(version_of(each), listing.resource_version)}
    objects = {key_of(each): each for each in listing.items}
    return Seen(objects | later, listing.resource_version)


def apply_event(seen: Seen, event: Object) -> Seen:
    """One event of the watch. Raises EventError for one that tells of a failure, or that is none."""
    happened, said = event.get("type"), event.get("object")
    if not isinstance(said, Mapping):
        raise EventError(None, "NotJson", f"watch: an event of type {happened!r} holds no object; list again")
    if happened == "ERROR":
        why = told("watch", said)
        raise EventError(why.status, why.reason, str(why), why.retry_after_s)
    moment = version_of(said)
    if happened == "BOOKMARK":
        return Seen(seen.objects, moment or seen.resource_version)
    if happened not in ("ADDED", "MODIFIED", "DELETED"):
        raise EventError(None, "NotJson", f"watch: there is no event of type {happened!r}; list again")
    key = key_of(said)
    if _is_later(version_of(seen.objects.get(key, {})), moment):
        return Seen(seen.objects, moment)
    objects = dict(seen.objects)
    if happened == "DELETED":
        objects.pop(key, None)
    else:
        objects[key] = said
    return Seen(objects, moment)


def put(seen: Seen, written: Object) -> Seen:
    """The answer to our own write. What the watch has already told is not undone: it may have told of more.

    Raises ValueError for another kind than is held there, such as the Scale that a write to `/scale` answers.
    """
    moment = version_of(written)
    if _is_later(seen.resource_version, moment) or seen.resource_version == moment:
        return seen
    key = key_of(written)
    held = seen.objects.get(key, {})
    if held and held.get("kind") != written.get("kind"):
        raise ValueError(f"{key}: a {written.get('kind')} is no {held.get('kind')}; put in the whole object")
    if _is_later(version_of(held), moment):
        return seen
    return Seen({**seen.objects, key: written}, seen.resource_version)


def key_of(said: Object) -> Key:
    """Raises EventError for an object without a name."""
    metadata = said.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(name, str):
        raise EventError(None, "NotJson", "watch: an object has no name; list again")
    return str(metadata.get("namespace") or ""), name


def version_of(said: Object) -> str:
    """The object's resourceVersion; empty when it has none."""
    return str(read(said, path(".metadata.resourceVersion")) or "")


def _is_later(one: str, other: str) -> bool:
    return one.isdecimal() and other.isdecimal() and int(one) > int(other)
