"""The formats a trace may come in, told apart by its header.

| format | columns | a row |
|---|---|---|
| requests | `t_seconds` or `t`, `isl`, `osl` | a request |
| Azure's LLM inference traces of 2023 and 2024 | `TIMESTAMP,ContextTokens,GeneratedTokens` | a request |
| BurstGPT | `Timestamp,Request tokens,Response tokens` | a request; a failed one has 0 response tokens |
| Mooncake, JSON lines | `timestamp` in ms, `input_length`, `output_length` | a request |
| load table | `t,request_rate,isl,osl` | a rate until the next row |
| minutes | `t,requests,mean_isl,mean_osl` | a minute; lengths may be blank where nothing arrived |

Other columns are ignored; times are seconds where nothing else is said, and are counted from the first row.
Public traces are read as their owners publish them: Azure/AzurePublicDataset, HPMLL/BurstGPT, kvcache-ai/Mooncake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from planner.sim.loads import Level, Request
from planner.trace_file import Row, TraceError, TraceFile, timed

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A format with a row for each request."""

    columns: frozenset[str]
    requests: Callable[[TraceFile], Iterator[Request]]
    """An `osl` of 0 marks a request that failed."""


@dataclass(frozen=True, slots=True)
class Table:
    """A format with a row for each level of the load."""

    columns: frozenset[str]
    levels: Callable[[TraceFile], Iterator[Level]]


def recognised(file: TraceFile) -> Recorded | Table:
    """The format of `file`. Raises TraceError when it is none of ours, or cannot be read."""
    if file.is_json_lines():
        return _MOONCAKE
    header = file.header()
    for candidate in _CSV_FORMATS:
        if candidate.columns <= set(header):
            return candidate
    raise TraceError(
        f"{file.name} line 1: header {','.join(header)!r} lacks columns; give t_seconds,isl,osl (requests), "
        "t,request_rate,isl,osl (a load table), t,requests,mean_isl,mean_osl (minutes), "
        "or a trace of Azure, BurstGPT or Mooncake as published"
    )


def _requests(time_column: str) -> Callable[[TraceFile], Iterator[Request]]:
    def read(file: TraceFile) -> Iterator[Request]:
        for row, t_s in timed(file.csv_rows(), time_column):
            yield Request(t_s, row.length("isl"), row.length("osl"))

    return read


def _azure(file: TraceFile) -> Iterator[Request]:
    for row, t_s in timed(file.csv_rows(), "TIMESTAMP", _instant_s):
        yield Request(t_s, row.length("ContextTokens"), row.length("GeneratedTokens"))


_NEAR = datetime(2023, 1, 1, tzinfo=UTC)
"""Near the traces, so that a float of seconds since then still tells microseconds apart."""


def _instant_s(row: Row, column: str) -> float:
    """Of ISO 8601; UTC, where 2023's stamps name no offset. Digits beyond the microsecond are cut."""
    try:
        instant = datetime.fromisoformat(str(row.cells.get(column)))
    except ValueError:
        raise row.error(column, "is not a time", "write it as 2023-11-16 18:15:46.680590") from None
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return (aware - _NEAR).total_seconds()


def _burstgpt(file: TraceFile) -> Iterator[Request]:
    for row, t_s in timed(file.csv_rows(), "Timestamp"):
        if row.number("Response tokens") == 0:
            yield Request(t_s, 0, 0)
        else:
            yield Request(t_s, row.length("Request tokens"), row.length("Response tokens"))


def _mooncake(file: TraceFile) -> Iterator[Request]:
    for row, t_s in timed(file.json_rows(), "timestamp", lambda row, column: row.number(column) / 1000):
        yield Request(t_s, row.length("input_length"), row.length("output_length"))


def _load_table(file: TraceFile) -> Iterator[Level]:
    """Levels with a start and an end; the last one lasts as long as the one before it."""
    before: tuple[float, float, int, int] | None = None
    last_span_s = 0.0
    for row, t_s in timed(file.csv_rows(), "t"):
        if before is not None:
            last_span_s = t_s - before[0]
            if last_span_s == 0:
                raise row.error("t", "repeats the time of the row before", "give each row its own time")
            yield Level(before[0], t_s, *before[1:])
        rate_per_s = row.number("request_rate")
        # A silent row has no requests, so no lengths either.
        isl, osl = (row.length("isl"), row.length("osl")) if rate_per_s > 0 else (0, 0)
        before = (t_s, rate_per_s, isl, osl)
    assert before is not None  # csv_rows has refused a file without rows
    if last_span_s == 0:
        raise TraceError(f"{file.name}: a load table of one row has no duration; add a row that ends it")
    yield Level(before[0], before[0] + last_span_s, *before[1:])


def _minutes(file: TraceFile) -> Iterator[Level]:
    for index, (row, t_s) in enumerate(timed(file.csv_rows(), "t")):
        # A minute left out is unknown, and unknown is not silent.
        if abs(t_s - index * _MINUTE_S) > 1e-3:
            raise row.error("t", "is not 60 s after the row above", "give every minute a row, silent ones 0 requests")
        requests = row.number("requests")
        isl, osl = (_mean(row, "mean_isl"), _mean(row, "mean_osl")) if requests > 0 else (0, 0)
        yield Level(t_s, t_s + _MINUTE_S, requests / _MINUTE_S, isl, osl)


def _mean(row: Row, field: str) -> int:
    if row.cells.get(field) == "":
        raise row.error(field, "is undefined in a minute with requests", "give the mean length, or 0 requests")
    return row.length(field)


_MOONCAKE = Recorded(frozenset({"timestamp", "input_length", "output_length"}), _mooncake)

_CSV_FORMATS: tuple[Recorded | Table, ...] = (
    # First, because a load table has the columns of requests too.
    Table(frozenset({"t", "request_rate", "isl", "osl"}), _load_table),
    Table(frozenset({"t", "requests", "mean_isl", "mean_osl"}), _minutes),
    Recorded(frozenset({"t_seconds", "isl", "osl"}), _requests("t_seconds")),
    Recorded(frozenset({"t", "isl", "osl"}), _requests("t")),
    Recorded(frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure),
    Recorded(frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burstgpt),
)
