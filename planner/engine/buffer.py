"""The steps kept to refit from: bounded, and stratified so that the many do not push out the few.

An engine does decode-only steps for minutes on end; a plain window would then hold nothing else, and a model fitted on
it would have forgotten what a chunk costs. So steps are kept by stratum (phase, floor(log2 tokens)): when the buffer is
full, the oldest step of the fullest stratum makes room. All strata that keep coming thus end equally full.

A stratum that no longer comes keeps its last steps, however old. Memory: 64 bytes a step and a few more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import astuple

import numpy as np

from planner.engine.latency.types import Phase, phase_of
from planner.engine.step import Step, Steps

Stratum = tuple[Phase, int]


class SampleBuffer:
    """At most `size` steps with the time each took."""

    def __init__(self, size: int) -> None:
        self._rows = np.empty((size, 8))
        """A step's numbers, its time in ms, and its place in the order of arrival."""
        self._strata: dict[Stratum, deque[int]] = {}
        self.added = 0
        """Ever, those that made room included."""

    def __len__(self) -> int:
        return min(self.added, len(self._rows))

    def add(self, step: Step, took_ms: float) -> None:
        """Keep a step. One without tokens, or without a time above zero, is no sample and is left out."""
        if step.tokens < 1 or not 0 < took_ms < float("inf"):
            return
        stratum = self._strata.setdefault((phase_of(step), step.tokens.bit_length() - 1), deque())
        if self.added < len(self._rows):
            row = self.added
        else:
            # Of strata equally full the step's own gives way, which keeps the others as they are.
            row = max(self._strata.values(), key=lambda each: (len(each), each is stratum)).popleft()
        self._rows[row] = (*astuple(step), took_ms, self.added)
        stratum.append(row)
        self.added += 1

    def strata(self) -> dict[Stratum, int]:
        """How many steps of each are kept."""
        return {stratum: len(rows) for stratum, rows in self._strata.items() if rows}

    def steps(self) -> Steps:
        """All of them, oldest first, as columns of their own."""
        rows = self._rows[: len(self)]
        *columns, _ = rows[np.argsort(rows[:, -1])].T.copy()
        return Steps(*columns)
