"""What a connector tells of its hold on an orchestrator, for metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.scaling.types import Role


@dataclass(frozen=True, slots=True)
class Grip:
    """One moment of it; what counts, counts since the start."""

    leads: bool
    """Whether this process may write."""
    contended: Mapping[str, Mapping[Role, str]]
    """By service and pool, where somebody else set the replicas: what is done about it."""
    calls: Mapping[tuple[str, str], int]
    """Calls by verb and by what came back: a status, or what went wrong before there was one."""
    blind: int
    """Watches that do not work."""
    events_lost: int
    """Events that nobody will read."""
