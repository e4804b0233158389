"""Request traces: what arrives, and when.

A trace is read from a file of recorded requests, played as they came, or from a table of rates, from which requests
are drawn (see `loads`); `readers` names the formats. It is re-iterable, streamed (a file is never held in memory) and
the same on every iteration. Times are seconds and start at 0: the first row's time, or the start of the slice asked
for, is taken away.

Limits: one service per trace, no prompt contents, hence no prefix cache hits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from planner.sim.loads import Request, drawn, superposed
from planner.sim.readers import Recorded, recognised
from planner.trace_file import TraceError, TraceFile, open_text

__all__ = ["DEMO", "Survey", "Trace", "TraceError", "load_trace"]

DEMO = "demo"
"""The load table shipped in the package, by this name instead of a path."""

Skipped = Counter[str]
"""How many rows a reading left out, by reason."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a trace is like as a whole."""

    last_arrival_s: float
    """Copies made to scale it up may come a little later."""
    notes: tuple[str, ...]
    """What it leaves out, and why, one line each."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival, read anew on each iteration.

    Iterating raises TraceError at the first row that makes no sense.
    """

    name: str
    requests: Callable[[], Iterator[Request]]
    once: Callable[[Skipped], Iterator[Request]]
    """The same, but what was recorded is not multiplied; counts what is left out."""

    def __iter__(self) -> Iterator[Request]:
        return self.requests()

    def survey(self) -> Survey:
        """Reads it once, so that a mistake in its last row costs no simulation."""
        skipped: Skipped = Counter()
        last_s = 0.0
        for request in self.once(skipped):
            last_s = request.arrival_s
        return Survey(last_s, tuple(f"{self.name}: {count} {reason}" for reason, count in skipped.items()))


def load_trace(
    path: str | Path, *, scale: float = 1.0, seed: int | str = 0, start_s: float = 0.0, end_s: float = math.inf
) -> Trace:
    """The trace in the file `path`, or the built-in `demo`.

    `scale` multiplies the request rate: a table's rates, or, for recorded requests, by playing jittered copies
    (above 1) or a random share (below 1: the trace is thinned). `start_s` to `end_s` cuts a slice, counted from the
    first row. The same seed draws the same requests.
    Raises TraceError when the file cannot be read, its format is not known, or an argument cannot be.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise TraceError(f"scale: {scale!r} must be a positive, finite number; write 0.5 for half the load")
    if not 0 <= start_s < end_s:
        raise TraceError(f"slice: {start_s!r} to {end_s!r} s is empty; the end must come after a start of 0 or more")
    file = TraceFile(str(path), partial(open_text, _packaged_demo() if str(path) == DEMO else Path(path)))
    form = recognised(file)

    def once(skipped: Skipped) -> Iterator[Request]:
        if not isinstance(form, Recorded):
            return _sliced(drawn(form.levels(file), scale, seed), start_s, end_s)
        # Sliced first, so that only the slice's failures are counted.
        return _answered(_sliced(form.requests(file), start_s, end_s), skipped)

    def scaled() -> Iterator[Request]:
        requests = once(Counter())
        return superposed(requests, scale, seed) if isinstance(form, Recorded) and scale != 1 else requests

    return Trace(file.name, scaled, once)


def _packaged_demo() -> Path:
    return Path(str(files("planner.sim") / "demo_load.csv"))


def _sliced(requests: Iterator[Request], start_s: float, end_s: float) -> Iterator[Request]:
    for request in requests:
        if request.arrival_s >= end_s:
            return
        if request.arrival_s >= start_s:
            yield Request(request.arrival_s - start_s, request.isl, request.osl)


def _answered(requests: Iterator[Request], skipped: Skipped) -> Iterator[Request]:
    for request in requests:
        if request.osl == 0:
            skipped["failed requests (0 response tokens) left out"] += 1
        else:
            yield request
