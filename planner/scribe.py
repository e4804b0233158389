"""Writes the journal, and never stops anything: a record that cannot be written is noted on the desk until one can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from planner.controls import Hold
from planner.desk import Desk
from planner.journal import Event, JournalFiles, JournalLostError
from planner.scaling.decision import TickResult
from planner.scaling.state import PlannerState
from planner.scaling.types import ServiceSamples

log = logging.getLogger("planner.journal")


class Scribe:
    """The journal's only writer. Without a journal it writes nothing; ticks may come from a thread."""

    def __init__(self, journal: JournalFiles | None, desk: Desk) -> None:
        self._journal = journal
        self._desk = desk
        self._writing = Lock()

    def tick(
        self,
        n: int,
        before: PlannerState,
        samples: Mapping[str, ServiceSamples],
        result: TickResult,
        after: PlannerState,
        holds: Mapping[str, Hold],
    ) -> None:
        """Record a tick."""
        self._write(lambda journal: journal.tick(n, before, samples, result, after=after, holds=holds))

    def event(self, event: Event) -> None:
        """Record something that happened."""
        self._write(lambda journal: journal.event(event))

    def begin(self, config: Mapping[str, Any], profiles: Mapping[str, Any], state: PlannerState) -> None:
        """Go on under a new configuration."""
        self._write(lambda journal: journal.begin(config, profiles, state))

    def close(self) -> None:
        """Let go of the file."""
        self._write(lambda journal: journal.close())

    def _write(self, record: Callable[[JournalFiles], None]) -> None:
        if self._journal is None:
            return
        try:
            with self._writing:
                record(self._journal)
        except JournalLostError as error:
            log.error("%s", error)
            self._desk.note("journal", str(error))
        else:
            self._desk.clear("journal")
