"""The journal of one run in one text stream: for simulations and replays, which end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from planner.journal.records import CHECKPOINT_TICKS, Basis, Samples, checkpoint_line, start_line, tick_line
from planner.scaling.decision import TickResult
from planner.scaling.state import PlannerState


class JournalWriter:
    """Appends one run's ticks, numbered from 0, to a text stream."""

    def __init__(self, stream: TextIO, config: Mapping[str, Any], profiles: Mapping[str, Any]) -> None:
        self._stream = stream
        self._basis = Basis(config, profiles)
        self._ticks = 0

    def record(self, before: PlannerState, samples: Samples, result: TickResult) -> None:
        """One tick: the state it began with, what came in, what went out."""
        if self._ticks == 0:
            self._write(start_line(self._basis, before))
        elif self._ticks % CHECKPOINT_TICKS == 0:
            self._write(checkpoint_line(before))
        self._write(tick_line(self._ticks, samples, result, {}))
        self._ticks += 1

    def _write(self, line: bytes) -> None:
        self._stream.write(line.decode())
