"""One thing that was found out, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    GOOD = "good"
    REMARK = "remark"
    """Worth knowing; the planner does its work."""
    PROBLEM = "problem"
    """With this the planner would hold, or would count wrongly."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says, in a sentence with numbers."""

    service: str | None
    """None: it concerns the Prometheus or the cluster, and so all its services."""
    check: str
    """Short and stable, to look for in JSON."""
    level: Level
    text: str
    remedy: str | None = None


def parted(line: str) -> tuple[str, str | None]:
    """A sentence that others wrote, as `what is wrong; what to do`, in its two parts."""
    text, separator, remedy = line.rpartition("; ")
    return (text, remedy) if separator else (line, None)
