"""Rows of a trace file, one at a time, each knowing where it stands.

CSV with a header, or JSON lines; UTF-8, gzipped where the name ends in .gz. Nothing is held but the row in hand, so a
file may be larger than memory. A cell is text in CSV and any JSON value in JSON lines; `Row` judges both alike.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from planner.errors import UserError


class TraceError(UserError):
    """A trace that cannot be played; the message names file, line, field, value and remedy."""


class Row(NamedTuple):
    """One row, by column."""

    file: str
    line: int
    cells: Mapping[str, object]

    def error(self, field: str, fault: str, remedy: str) -> TraceError:
        """What to raise for the value of `field`."""
        return TraceError(f"{self.file} line {self.line}: {field} {self.cells.get(field)!r} {fault}; {remedy}")

    def number(self, field: str) -> float:
        """A finite number of 0 or more, or TraceError."""
        cell = self.cells.get(field)
        try:
            # Python's own true is 1; a trace's true is a mistake.
            value = float(cell) if isinstance(cell, (str, int, float)) and cell is not True else math.nan
        except (ValueError, OverflowError):
            value = math.nan
        if 0 <= value < math.inf:
            return value
        raise self._no_number(field, cell, value)

    def _no_number(self, field: str, cell: object, value: float) -> TraceError:
        if math.isnan(value) and str(cell).strip().lower().lstrip("+-") != "nan":
            return self.error(field, "is not a number", "write a decimal number")
        if not math.isfinite(value):
            return self.error(field, "is not finite", "remove the row or write its true value")
        return self.error(field, "is negative", "give 0 or more")

    def length(self, field: str) -> int:
        """A length of one token or more, or TraceError."""
        value = self.number(field)
        if value < 1:
            raise self.error(field, "is shorter than one token", "remove the row or give its true length")
        return round(value)


def timed(
    rows: Iterable[Row], column: str, seconds: Callable[[Row, str], float] = Row.number
) -> Iterator[tuple[Row, float]]:
    """Each row with its time after the first row's, s. Raises TraceError where time runs backwards."""
    first_s: float | None = None
    latest_s = 0.0
    latest: object = None
    for row in rows:
        t_s = seconds(row, column)
        if first_s is None:
            first_s = t_s
        elif t_s < latest_s:
            raise row.error(column, f"comes before {latest} in the row above", "sort the file by time")
        latest_s, latest = t_s, row.cells.get(column)
        yield row, t_s - first_s


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace file by its name in messages, and how to open it anew."""

    name: str
    open_text: Callable[[], IO[str]]

    def is_json_lines(self) -> bool:
        """Whether the first line is a JSON object."""
        with self._opened() as stream:
            return stream.readline().lstrip().startswith("{")

    def header(self) -> list[str]:
        """A CSV file's column names."""
        with self._opened() as stream:
            names = [name.strip() for name in next(csv.reader(stream), [])]
        if not names:
            raise TraceError(f"{self.name}: is empty; give a header and at least one row")
        return names

    def csv_rows(self) -> Iterator[Row]:
        """The rows below the header; TraceError when there are none."""
        names = self.header()
        with self._opened() as stream:
            reader = csv.reader(stream)
            next(reader)
            empty = True
            for cells in reader:
                if not cells:
                    continue
                empty = False
                # A short row lacks columns, and the error names the first that is asked for.
                yield Row(self.name, reader.line_num, dict(zip(names, cells, strict=False)))
            if empty:
                raise TraceError(f"{self.name}: holds a header and no rows; give at least one request")

    def json_rows(self) -> Iterator[Row]:
        """A row for each line that is not blank."""
        with self._opened() as stream:
            for number, line in enumerate(stream, start=1):
                if line.isspace():
                    continue
                try:
                    cells = json.loads(line)
                except (ValueError, RecursionError):
                    cells = None
                if not isinstance(cells, dict):
                    raise TraceError(
                        f"{self.name} line {number}: {line.strip()[:40]!r} is not a JSON object; give one in each line"
                    )
                yield Row(self.name, number, cells)

    @contextmanager
    def _opened(self) -> Iterator[IO[str]]:
        try:
            with self.open_text() as stream:
                yield stream
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise self._unreadable("is not gzip", "compress it anew or drop .gz from its name") from None
            raise self._unreadable(
                f"cannot be read ({error.strerror or error})", "give a readable file, or 'demo'"
            ) from None
        except (EOFError, zlib.error):
            raise self._unreadable("is truncated or damaged gzip", "copy or compress it anew") from None
        except UnicodeDecodeError:
            raise self._unreadable("is not text", "give a CSV file in UTF-8, or CSV.GZ") from None
        except csv.Error as error:
            raise self._unreadable(f"is not CSV ({error})", "give a CSV file in UTF-8, or CSV.GZ") from None

    def _unreadable(self, fault: str, remedy: str) -> TraceError:
        return TraceError(f"{self.name}: {fault}; {remedy}")


def open_text(path: Path) -> IO[str]:
    """The file as text, unzipped where its name says so."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
