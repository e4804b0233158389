"""What the planner asked of the API server, as the API server wrote it down.

A watch counts when it begins, all else when it was answered. Times are seconds since the epoch by the API server's
clock, which is this machine's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    verb: str
    """As RBAC has it: get, list, watch, patch, update, create."""
    resource: str
    """With its subresource; a path for what is no resource."""
    name: str
    """Of the object; empty for a collection."""
    received_s: float
    answered_s: float
    status: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'' if self.status < 400 else f' ({self.status})'}"


def calls(log: Path) -> Iterator[Call]:
    """All of the log, in order of their answers."""
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["stage"] != ("ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"):
            continue
        where = event.get("objectRef", {})
        resource = "/".join(where[part] for part in ("resource", "subresource") if part in where)
        yield Call(
            event["verb"],
            resource or event["requestURI"],
            where.get("name", ""),
            _seconds(event["requestReceivedTimestamp"]),
            _seconds(event["stageTimestamp"]),
            event["responseStatus"]["code"],
        )


def counted(made: Iterable[Call]) -> dict[str, int]:
    """Calls by verb and resource, the most frequent first."""
    return dict(Counter(map(str, made)).most_common())


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
