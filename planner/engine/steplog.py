"""Step logs: what an engine did, one line a step, and how the files are read back.

The engine writes JSON lines, one object a step, with the fields of `LoggedStep.line`. A CSV file with a heading is read
as well, under the same names or the short ones of `SHORT`. Either may be compressed (`.gz`).

Times of steps are ms; the end of a step is seconds on a clock that never goes back. A run is one life of one engine:
its steps are in order, and their clock starts somewhere. A line that a crash tore, the last of a file, is left out and
told; any other that cannot be read is an error that names file, line, field and value.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from planner.engine.step import Step
from planner.errors import UserError

SCHEMA = 1
ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
SHORT: Mapping[str, str] = {
    "t": "end_s",
    "T_ms": "took_ms",
    "B": "requests",
    "S": "tokens",
    "n_pre": "prefills",
    "s_pre": "prefill_tokens",
    "kvd": "kv_tokens",
    "attn_p": "pairs",
}
"""Short column names of a CSV file."""
_COUNTS = tuple(each.name for each in fields(Step))
NEEDED = ("end_s", "took_ms", *_COUNTS)
_OPTIONAL = ("schema", "run", "model", "step", "after_idle", "running", "waiting")
_LONG = {long: short for short, long in SHORT.items()}
_OTHER_UNITS = {"T": "a time without a unit", "T_s": "seconds", "took_s": "seconds", "T_us": "µs", "took_us": "µs"}


class StepLogError(UserError):
    """A step log that cannot be used; the message names the file, the line, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One line of a log."""

    run: str
    """Names one life of one engine; no two have the same."""
    model: str | None
    """That is served; None when the log does not say."""
    number: int
    """Of the step in its run."""
    end_s: float
    took_ms: float
    step: Step
    after_idle: bool
    """Whether the engine had nothing to do right before."""

    def line(self) -> str:
        """As JSON, without the line's end."""
        record = {
            "schema": SCHEMA,
            "run": self.run,
            "model": self.model,
            "step": self.number,
            "end_s": self.end_s,
            "took_ms": self.took_ms,
            **asdict(self.step),
            "after_idle": self.after_idle,
        }
        return json.dumps(record, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LogFile:
    """What one file holds."""

    steps: tuple[LoggedStep, ...]
    lines: tuple[int, ...]
    """Of each step, for messages."""
    torn_line: int | None
    """The last line, where it could not be read."""
    ignored: tuple[str, ...]
    """Columns that mean nothing here."""


def read_log(path: Path) -> LogFile:
    """The steps of one file, in its order.

    Raises StepLogError for a file that cannot be read, lacks a column, or holds a value that no step can have.
    """
    rows: list[tuple[int, Mapping[str, Any]]] = []
    torn: int | None = None
    try:
        with _opened(path) as stream:
            for number, row in _csv_rows(stream) if ".csv" in path.suffixes else _json_rows(stream, path):
                if row is None:
                    torn = number
                else:
                    rows.append((number, row))
    except OSError as error:
        raise StepLogError(f"{path.name}: cannot be read ({error.strerror or error}); check the path") from error
    except (EOFError, UnicodeDecodeError, csv.Error) as error:
        raise StepLogError(f"{path.name}: cannot be read ({error}); is it damaged? copy it again") from error
    if not rows:
        return LogFile((), (), torn, ())
    names = {_long(name) for name in rows[0][1]}
    _require_columns(names, path)
    steps = []
    idle = False
    for position, (number, row) in enumerate(rows, start=1):
        named = {_long(name): value for name, value in row.items()}
        step, idle = _step(named, position, idle, f"{path.name}:{number}", path)
        steps.append(step)
    ignored = tuple(sorted(names - {*NEEDED, *_OPTIONAL}))
    return LogFile(tuple(steps), tuple(number for number, _ in rows), torn, ignored)


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _csv_rows(stream: IO[str]) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """Line number and row; None for a row that ends before the heading does, if it is the last."""
    reader = csv.DictReader(stream, restval=None)
    short: tuple[int, Mapping[str, Any]] | None = None
    for row in reader:
        if short is not None:
            yield short
        # A column beyond the heading has the key None; what lacks has the value None.
        cells = {name: value for name, value in row.items() if name is not None}
        short = (reader.line_num, cells) if None in cells.values() else None
        if short is None:
            yield reader.line_num, cells
    if short is not None:
        yield short[0], None


def _json_rows(stream: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """Line number and record; None for one that is no JSON, if it is the last."""
    torn: tuple[int, str] | None = None
    for number, line in enumerate(stream, start=1):
        if torn is not None:
            raise StepLogError(f"{path.name}:{torn[0]}: {torn[1]!r} is not a JSON object; remove the line")
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield number, record
        else:
            torn = number, line[:40].rstrip()
    if torn is not None:
        yield torn[0], None


def _long(name: str) -> str:
    return SHORT.get(name, name)


def _require_columns(names: set[str], path: Path) -> None:
    missing = [name for name in NEEDED if name not in names]
    if not missing:
        return
    if "took_ms" in missing and (other := sorted(names & set(_OTHER_UNITS))):
        raise StepLogError(
            f"{path.name}: column {other[0]} holds {_OTHER_UNITS[other[0]]}; step times are needed in ms, as T_ms"
        )
    told = [f"{_LONG[name]} ({name})" if name in _LONG else name for name in missing]
    raise StepLogError(f"{path.name}: no column {', '.join(told)}; record steps with all of them")


def _step(row: Mapping[str, Any], position: int, idle: bool, where: str, path: Path) -> tuple[LoggedStep, bool]:
    """A row as a step, and whether the engine was idle after it.

    `position` numbers the rows, for logs that do not; `idle` says whether the engine was idle after the row before.
    """
    if "schema" in row and row["schema"] != SCHEMA:
        raise StepLogError(f"{where}: schema {row['schema']!r} is not known; this planner reads {SCHEMA}")
    numbers = {name: _number(row, name, where) for name in NEEDED}
    counts = {name: _whole(numbers[name], name, where) for name in _COUNTS}
    step = Step(**counts)
    for part, whole in (("prefills", "requests"), ("prefill_tokens", "tokens")):
        if counts[part] > counts[whole]:
            raise StepLogError(f"{where}: {part} {counts[part]} exceeds {whole} {counts[whole]}; record it again")
    logged = LoggedStep(
        run=str(row.get("run") or path.name.split(".")[0]),
        model=str(row["model"]) if row.get("model") else None,
        number=_whole(_number(row, "step", where), "step", where) if "step" in row else position,
        end_s=numbers["end_s"],
        took_ms=numbers["took_ms"],
        step=step,
        after_idle=str(row["after_idle"]).lower() in ("true", "1") if "after_idle" in row else idle,
    )
    queued = [_number(row, name, where) for name in ("running", "waiting") if name in row]
    return logged, len(queued) == 2 and not any(queued)


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    """A finite number that is not below zero."""
    value = row.get(name)
    if value is None:
        raise StepLogError(f"{where}: {name} is missing; remove the line")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise StepLogError(f"{where}: {name} {value!r} must be a finite number from 0; remove the line")
    return number


def _whole(number: float, name: str, where: str) -> int:
    if not number.is_integer():
        raise StepLogError(f"{where}: {name} {number!r} must be a whole number; remove the line")
    return int(number)
