"""Request traces: what arrives, and when.

A trace is read from one of two kinds of CSV (or CSV.GZ), told apart by the header:

- requests, `t_seconds,isl,osl` (or `t` for the time): one row per request, played as recorded;
- a load table, `t,request_rate,isl,osl`: a rate that holds until the next row; requests are drawn (see `loads`).

Other columns are ignored. Times are seconds and start at 0: the first row's time, or the start of the slice asked for,
is taken away. A trace is re-iterable, streamed (a file is never held in memory) and the same on every iteration.

Limits: one service per trace, no prompt contents, hence no prefix cache hits.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO, NamedTuple

from planner.errors import UserError
from planner.sim.loads import Level, Request, drawn, superposed

DEMO = "demo"
"""The load table shipped in the package, by this name instead of a path."""

_REQUEST_HEADER = "t_seconds,isl,osl"
_LOAD_HEADER = "t,request_rate,isl,osl"


class TraceError(UserError):
    """A trace that cannot be played; the message names file, line, field, value and remedy."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival, read anew on each iteration.

    Iterating raises TraceError at the first row that makes no sense.
    """

    name: str
    source: Callable[[], Iterator[Request]]

    def __iter__(self) -> Iterator[Request]:
        return self.source()


def load_trace(
    path: str | Path, *, scale: float = 1.0, seed: int = 0, start_s: float = 0.0, end_s: float = math.inf
) -> Trace:
    """The trace in the file `path`, or the built-in `demo`.

    `scale` multiplies the request rate: a load table's rates, or, for recorded requests, by playing jittered copies
    (above 1) or a random share (below 1). `start_s` to `end_s` cuts a slice, counted from the first row.
    The same seed draws the same requests.
    Raises TraceError when the file cannot be read, its header is neither kind, or an argument cannot be.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise TraceError(f"scale: {scale!r} must be a positive, finite number; write 0.5 for half the load")
    if not 0 <= start_s < end_s:
        raise TraceError(f"slice: {start_s!r} to {end_s!r} s is empty; the end must come after a start of 0 or more")
    file = _File(str(path), _packaged_demo() if str(path) == DEMO else Path(path))
    header = file.header()
    if {"t", "request_rate", "isl", "osl"} <= set(header):
        return Trace(file.name, lambda: _sliced(drawn(_levels(file), scale, seed), start_s, end_s))
    time_column = "t_seconds" if "t_seconds" in header else "t"
    if {time_column, "isl", "osl"} <= set(header):
        recorded = Trace(file.name, lambda: _sliced(_requests(file, time_column), start_s, end_s))
        return recorded if scale == 1 else Trace(file.name, lambda: superposed(recorded, scale, seed))
    raise TraceError(
        f"{file.name} line 1: header {','.join(header)!r} lacks columns; "
        f"give {_REQUEST_HEADER} (requests) or {_LOAD_HEADER} (a load table)"
    )


def _packaged_demo() -> Path:
    return Path(str(files("planner.sim") / "demo_load.csv"))


def _sliced(requests: Iterator[Request], start_s: float, end_s: float) -> Iterator[Request]:
    for request in requests:
        if request.arrival_s >= end_s:
            return
        if request.arrival_s >= start_s:
            yield request._replace(arrival_s=request.arrival_s - start_s)


def _requests(file: _File, time_column: str) -> Iterator[Request]:
    for row, t_s in _timed(file, time_column):
        yield Request(t_s, row.length("isl"), row.length("osl"))


def _levels(file: _File) -> Iterator[Level]:
    """The table as levels with a start and an end; the last one lasts as long as the one before it."""
    before: tuple[float, float, int, int] | None = None
    last_span_s = 0.0
    for row, t_s in _timed(file, "t"):
        if before is not None:
            last_span_s = t_s - before[0]
            if last_span_s == 0:
                raise row.error("t", "repeats the time of the row before", "give each row its own time")
            yield Level(before[0], t_s, *before[1:])
        rate_per_s = row.number("request_rate")
        # A silent row has no requests, so no lengths either.
        isl, osl = (row.length("isl"), row.length("osl")) if rate_per_s > 0 else (0, 0)
        before = (t_s, rate_per_s, isl, osl)
    assert before is not None  # _File.rows has refused a file without rows
    if last_span_s == 0:
        raise TraceError(f"{file.name}: a load table of one row has no duration; add a row that ends it")
    yield Level(before[0], before[0] + last_span_s, *before[1:])


def _timed(file: _File, column: str) -> Iterator[tuple[_Row, float]]:
    first_s: float | None = None
    latest_s = 0.0
    for row in file.rows():
        t_s = row.number(column)
        if first_s is None:
            first_s = t_s
        elif t_s < latest_s:
            raise row.error(column, f"comes before {latest_s:g} in the row above", "sort the file by time")
        latest_s = t_s
        yield row, t_s - first_s


class _Row(NamedTuple):
    file: str
    line: int
    cells: dict[str, str | None]

    def error(self, field: str, fault: str, remedy: str) -> TraceError:
        return TraceError(f"{self.file} line {self.line}: {field} {self.cells.get(field)!r} {fault}; {remedy}")

    def number(self, field: str) -> float:
        try:
            value = float(self.cells[field] or "")
        except ValueError:
            raise self.error(field, "is not a number", "write a decimal number") from None
        if not math.isfinite(value):
            raise self.error(field, "is not finite", "remove the row or write its true value")
        if value < 0:
            raise self.error(field, "is negative", "give 0 or more")
        return value

    def length(self, field: str) -> int:
        value = self.number(field)
        if value < 1:
            raise self.error(field, "is shorter than one token", "remove the row or give its true length")
        return round(value)


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    path: Path

    def header(self) -> list[str]:
        with self._opened() as stream:
            names = [name.strip() for name in next(csv.reader(stream), [])]
        if not names:
            raise TraceError(f"{self.name}: is empty; give a header and at least one row")
        return names

    def rows(self) -> Iterator[_Row]:
        names = self.header()
        with self._opened() as stream:
            reader = csv.reader(stream)
            next(reader)
            empty = True
            for cells in reader:
                if not cells:
                    continue
                empty = False
                # A short row leaves None, so that the error names the column it lacks.
                padded = [*cells, *[None] * (len(names) - len(cells))]
                yield _Row(self.name, reader.line_num, dict(zip(names, padded, strict=False)))
            if empty:
                raise TraceError(f"{self.name}: holds a header and no rows; give at least one request")

    @contextmanager
    def _opened(self) -> Iterator[IO[str]]:
        try:
            with _open_text(self.path) as stream:
                yield stream
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise self._unreadable("is not gzip", "compress it anew or drop .gz from its name") from None
            raise TraceError(
                f"{self.name}: cannot be read ({error.strerror or error}); give a readable file, or {DEMO!r}"
            ) from None
        except (EOFError, zlib.error):
            raise self._unreadable("is truncated or damaged gzip", "copy or compress it anew") from None
        except UnicodeDecodeError:
            raise self._unreadable("is not text", "give a CSV file in UTF-8, or CSV.GZ") from None
        except csv.Error as error:
            raise self._unreadable(f"is not CSV ({error})", "give a CSV file in UTF-8, or CSV.GZ") from None

    def _unreadable(self, fault: str, remedy: str) -> TraceError:
        return TraceError(f"{self.name}: {fault}; {remedy}")


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
