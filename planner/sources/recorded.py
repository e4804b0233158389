"""Recorded series: a CSV (or CSV.GZ) of metrics, a row for each interval.

| columns | unit | meaning |
|---|---|---|
| `t` | s | start of the row's interval; counted from the first row |
| one of `rate`, `requests`, `request_rate` | 1/s, a count, 1/s | arrivals |
| `isl` or `mean_isl`, `osl` or `mean_osl` | tokens | mean lengths of those requests |
| `isl_cv2` | 1 | squared coefficient of variation of the input length |
| `ttft`, `queue`, `itl`, or each with `_ms` | s, ms | mean latencies |
| `<role>_` and `wanted`, `ready`, `starting`, `pending`, `draining`, `reporting` | replicas | one pool's counts |
| `<role>_` and `waiting`, `running` | requests | what one pool holds |

Other columns are ignored. A blank cell, or NaN, is a sample that is missing, never zero. Rows may be left out: an
interval is the median distance of two rows, and after a distance of more than 1.5 of them nothing is known until the
next row. Only a `request_rate` is a level that holds until the next row, however late that comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import IO

from planner.errors import UserError
from planner.scaling.types import Role
from planner.trace_file import Row, TraceFile, open_text, timed

GAUGES = ("wanted", "ready", "starting", "pending", "draining", "reporting", "waiting", "running")
"""What may be recorded of a pool, as the fields of `PoolSamples` are called."""

_MS = 1e-3
_COLUMNS: Mapping[str, Mapping[str, float]] = {
    "rate_per_s": {"rate": 1, "requests": 1, "request_rate": 1},
    "isl_tokens": {"isl": 1, "mean_isl": 1},
    "osl_tokens": {"osl": 1, "mean_osl": 1},
    "isl_cv2": {"isl_cv2": 1},
    "ttft_s": {"ttft": 1, "ttft_ms": _MS},
    "queue_s": {"queue": 1, "queue_ms": _MS},
    "itl_s": {"itl": 1, "itl_ms": _MS},
    **{f"{role}_{gauge}": {f"{role}_{gauge}": 1} for role in Role for gauge in GAUGES},
}
"""Quantity, as in `ServiceSamples`: the columns it may stand in, and their unit in its own."""

_GAP = 1.5
"""Rows this many intervals apart are not neighbours."""


class RecordingError(UserError):
    """A recording that cannot be replayed; the message names file, line, field, value and remedy."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a row says, from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    values: Mapping[str, float | None]
    """By quantity; None where the cell is blank."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of recorded series, read whole."""

    name: str
    quantities: frozenset[str]
    """What the file has a column for."""
    interval_s: float
    """Median distance of two rows."""
    spans: tuple[Span, ...]
    """In order of time, from 0, without overlap; between two of them may be a gap."""

    @property
    def end_s(self) -> float:
        """When the last row's interval ends."""
        return self.spans[-1].end_s

    def without_fleet(self) -> Recording:
        """The load alone, which no order changes: what a fleet was, held and took is left out."""
        load = self.quantities & {"rate_per_s", "isl_tokens", "osl_tokens", "isl_cv2"}
        spans = tuple(replace(span, values={name: span.values[name] for name in load}) for span in self.spans)
        return replace(self, quantities=load, spans=spans)


def read_recording(path: Path) -> Recording:
    """The recording in `path`.

    Raises UserError (RecordingError, or TraceError for a cell or a file) at the first thing that makes no sense.
    """
    file = TraceFile(str(path), partial(_open, path))
    columns = _columns(file)
    factors = {quantity: _COLUMNS[quantity][column] for quantity, column in columns.items()}
    starts_s: list[float] = []
    cells: list[dict[str, float | None]] = []
    for row, t_s in timed(file.csv_rows(), "t"):
        if starts_s and t_s == starts_s[-1]:
            raise row.error("t", "repeats the time of the row before", "give each row its own time")
        starts_s.append(t_s)
        cells.append({quantity: _value(row, column, factors[quantity]) for quantity, column in columns.items()})
    if len(starts_s) == 1:
        raise RecordingError(f"{file.name}: one row tells no interval; add a row")
    distances_s = [after - before for before, after in pairwise(starts_s)]
    interval_s = median(distances_s)
    until_s = interval_s * _GAP
    arrivals = columns["rate_per_s"]
    lasting_s = [
        distance_s if distance_s <= until_s or arrivals == "request_rate" else interval_s
        for distance_s in (*distances_s, interval_s)
    ]
    if arrivals == "requests":
        for values, span_s in zip(cells, lasting_s, strict=True):
            count = values["rate_per_s"]
            values["rate_per_s"] = None if count is None else count / span_s
    spans = (
        Span(start_s, start_s + span_s, values)
        for start_s, span_s, values in zip(starts_s, lasting_s, cells, strict=True)
    )
    return Recording(file.name, frozenset(columns), interval_s, tuple(spans))


def _columns(file: TraceFile) -> dict[str, str]:
    """Quantity to the column it stands in."""
    header = file.header()
    for name in header:
        if header.count(name) > 1:
            raise RecordingError(f"{file.name} line 1: column {name!r} stands there twice; keep one")
    columns: dict[str, str] = {}
    for quantity, accepted in _COLUMNS.items():
        found = [column for column in accepted if column in header]
        if len(found) > 1:
            raise RecordingError(f"{file.name} line 1: columns {' and '.join(found)} say the same; keep one")
        if found:
            columns[quantity] = found[0]
    if "t" not in header or "rate_per_s" not in columns:
        raise RecordingError(
            f"{file.name} line 1: header {','.join(header)!r} lacks columns; "
            "give t and one of rate, requests, request_rate"
        )
    for role in Role:
        wanted, ready = f"{role}_wanted", f"{role}_ready"
        if (wanted in columns) != (ready in columns):
            has, lacks = (wanted, ready) if wanted in columns else (ready, wanted)
            raise RecordingError(f"{file.name} line 1: has {has} but not {lacks}; give both, or neither")
    return columns


def _value(row: Row, column: str, factor: float) -> float | None:
    # A ratio of nothing to nothing is exported as NaN: a mean of no requests, for instance.
    if str(row.cells.get(column) or "").strip().lower() in ("", "nan"):
        return None
    return row.number(column) * factor


def _open(path: Path) -> IO[str]:
    try:
        return open_text(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror or error}); give a CSV or CSV.GZ file") from None
