"""The last decisions in memory, for whoever asks a running planner.

Bounded in all, and shared fairly: each service that ever decided may keep the same number of lines, so that a busy one
cannot push out another's past. Appending takes amortised constant time; nothing here may be used from two threads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice

from planner.board import Line
from planner.connectors.types import Applied

DEFAULT_LINES = 2000


@dataclass(slots=True)
class _Entry:
    number: int
    """Grows by one with every line of any service, so it orders them all and serves as the cursor."""
    line: Line


class Ring:
    """At most `lines` decisions of all services."""

    def __init__(self, lines: int = DEFAULT_LINES) -> None:
        """Raises ValueError when `lines` is less than 1."""
        if lines < 1:
            raise ValueError(f"lines: {lines} must be 1 or more")
        self._lines = lines
        self._count = 0
        self._services: dict[str, deque[_Entry]] = {}

    def append(self, line: Line) -> None:
        """Keep a decision; the oldest of its service goes when its share is used up."""
        service = line.decision.service
        if service not in self._services:
            self._services[service] = deque()
            self._trim(self._share)
        kept = self._services[service]
        kept.append(_Entry(self._count, line))
        self._count += 1
        if len(kept) > self._share:
            kept.popleft()

    def settle(self, tick: int, service: str, applied: Applied) -> None:
        """Say what became of a decision; one that is no longer here is left at that."""
        for entry in reversed(self._services.get(service, deque())):
            if entry.line.tick == tick:
                entry.line = replace(entry.line, applied=applied)
                return

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Up to `limit` lines, newest first, of one service or all, and the cursor of the next page.

        `before` is such a cursor, None for the newest lines; None comes back when nothing is left. A cursor stays good
        while lines are appended or go. Raises ValueError when `limit` is less than 1.
        """
        if limit < 1:
            raise ValueError(f"limit: {limit} must be 1 or more")
        chosen = self._services.values() if service is None else [self._services.get(service, deque())]
        entries = merge(*(reversed(kept) for kept in chosen), key=lambda entry: entry.number, reverse=True)
        asked = (
            entry
            for entry in entries
            if (before is None or entry.number < before) and (entry.line.decision.changes or not changes_only)
        )
        page = list(islice(asked, limit + 1))
        shown = page[:limit]
        return [entry.line for entry in shown], shown[-1].number if len(page) > limit else None

    @property
    def _share(self) -> int:
        return self._lines // len(self._services)

    def _trim(self, share: int) -> None:
        for kept in self._services.values():
            while len(kept) > share:
                kept.popleft()
