"""Which Events are still to be told: like notes are counted in one, memory is bounded, and so are calls.

The first note becomes an Event at once. Like ones that follow, each within `LIKE_WITHIN_S` of the one before, are
counted in it, and the count is sent once in `LIKE_WITHIN_S`: what lasts for hours costs twelve calls an hour, and its
Event stays. Times are seconds since the epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from planner.connectors.kubernetes.events.notes import Note
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.times import micro_time

LIKE_WITHIN_S = 300.0
REMEMBERED = 1000
"""A thousand targets with one trouble each; about a megabyte."""
API_VERSION = "events.k8s.io/v1"
CONTROLLER = "sla-planner.io/planner"
LONGEST_NOTE_BYTES = 1024
"""As the API server allows."""
LONGEST_TARGET = 200
"""Characters of the target's name in the Event's: names end at 253."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an Event is about; namespaced."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, target: Object) -> Target:
        """From its object."""
        where = (".apiVersion", ".kind", ".metadata.namespace", ".metadata.name", ".metadata.uid")
        return cls(*(str(read(target, path(each)) or "") for each in where))


@dataclass(frozen=True, slots=True)
class Series:
    """Like notes about one target, and what the API server knows of them."""

    name: str
    """The Event's."""
    target: Target
    note: Note
    """The first."""
    first_s: float
    last_s: float
    count: int = 1
    told: int = 0
    """How many of them were told; 0: there is no Event yet."""
    told_s: float = -math.inf

    def is_due(self, now_s: float) -> bool:
        """Whether there is something to tell, and it is time."""
        return self.told == 0 or (self.told < self.count and now_s - self.told_s >= LIKE_WITHIN_S)


class Book:
    """Every series that is remembered; the oldest first."""

    def __init__(self) -> None:
        self._series: dict[tuple[Target, str, str], Series] = {}

    def say(self, target: Target, note: Note, name: str, now_s: float) -> bool:
        """Count a note into its series, or begin one as the Event `name`. False when there is no room for it."""
        key = (target, note.reason, note.likeness)
        known = self._series.get(key)
        if known is not None and (known.told == 0 or now_s - known.last_s < LIKE_WITHIN_S):
            self._series[key] = replace(known, count=known.count + 1, last_s=now_s)
            return True
        if known is None and len(self._series) >= REMEMBERED and not self._forget_one():
            return False
        self._series.pop(key, None)
        self._series[key] = Series(name, target, note, now_s, now_s)
        return True

    def due(self, now_s: float) -> Series | None:
        """What to tell next."""
        return next((series for series in self._series.values() if series.is_due(now_s)), None)

    def told(self, series: Series, now_s: float) -> None:
        """The API server knows of `series`, as it was handed out by `due`."""
        self._update(series, told=series.count, told_s=now_s)

    def gone(self, series: Series, name: str) -> None:
        """Its Event is gone, as after an hour they are; it needs another."""
        self._update(series, told=0, name=name)

    def _update(self, series: Series, *, told: int, told_s: float = -math.inf, name: str | None = None) -> None:
        key = (series.target, series.note.reason, series.note.likeness)
        known = self._series.get(key)
        # Meanwhile it may have grown, been forgotten, or begun anew.
        if known is not None and known.name == series.name:
            self._series[key] = replace(known, told=told, told_s=told_s, name=name or known.name)

    def _forget_one(self) -> bool:
        """What was told once can be forgotten; what was not is why Events are kept at all."""
        oldest = next((key for key, series in self._series.items() if series.told), None)
        if oldest is None:
            return False
        del self._series[oldest]
        return True


class Allowance:
    """So many calls a minute, and no more than that in a burst."""

    def __init__(self, per_minute: float, now_s: float) -> None:
        self._per_minute = per_minute
        self._left = per_minute
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Use one up; False when there is none."""
        grown = self._left + (now_s - self._at_s) * self._per_minute / 60.0
        self._left, self._at_s = min(self._per_minute, grown), now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


# --- as the API server takes them ---------------------------------------------------------------------------------


def event_name(target: Target, unique: str) -> str:
    """A name for an Event: the target's, for people, and what makes it unique."""
    return f"{target.name[:LONGEST_TARGET].rstrip('-.')}.{unique}"


def event(series: Series, kind: str, action: str, instance: str) -> Object:
    """The Event of a series. `kind` is Normal or Warning, `instance` the process that tells it."""
    target = series.target
    body: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Event",
        "metadata": {"namespace": target.namespace, "name": series.name},
        "eventTime": micro_time(series.first_s),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "type": kind,
        "reason": str(series.note.reason),
        "action": action,
        "note": _cut(series.note.text),
        "regarding": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": target.namespace,
            "name": target.name,
            "uid": target.uid,
        },
    }
    return body if series.count == 1 else {**body, **recurrence(series)}


def recurrence(series: Series) -> Object:
    """The patch that brings an Event's count up to date."""
    return {"series": {"count": series.count, "lastObservedTime": micro_time(series.last_s)}}


def _cut(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= LONGEST_NOTE_BYTES:
        return raw.decode()
    return raw[: LONGEST_NOTE_BYTES - 3].decode(errors="ignore") + "..."
