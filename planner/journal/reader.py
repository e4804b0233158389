"""One journal file: indexed when read, its ticks computed anew on demand.

Reading goes line by line and keeps of each tick only where it lies, so a file may be larger than memory. What a kill
left half-written at the end is read past; damage anywhere else is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydantic import ValidationError

from planner.controls import Hold, held
from planner.journal.difference import first_difference
from planner.journal.records import (
    SCHEMA,
    SCHEMA_VERSION,
    Basis,
    Event,
    Held,
    JournalError,
    JournalGoneError,
    decode_event,
    decode_holds,
    decode_line,
    decode_samples,
    decode_state,
    encode_result,
)
from planner.scaling.decision import TickResult
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import PlannerState
from planner.scaling.tick import tick

LONGEST_LINE_BYTES = 64 * 2**20
"""A line beyond this is no record, and is not read into memory to find out."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick on record."""

    n: int
    now_s: float
    orders: str
    """What it changed, "chat decode 3 -> 4"; empty when it left everything as it was."""
    offset: int
    """Where its line begins in the file, bytes."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A tick computed anew."""

    n: int
    now_s: float
    result: TickResult
    holds: Held
    """What was held at that tick; empty when nothing was."""
    difference: str | None
    """Where the record first says something else, and what; None when it says exactly this."""

    @property
    def same(self) -> bool:
        """The record says exactly this."""
        return self.difference is None


@dataclass(frozen=True)
class Journal:
    """One journal file that was read."""

    path: Path
    config: Mapping[str, Any]
    profiles: Mapping[str, Any]
    digest: str
    """Of configuration and profiles: files with the same one share their settings."""
    lost: int
    """Records that could not be written just before this file."""
    ticks: tuple[Tick, ...]
    states: tuple[int, ...]
    """Where states lie in the file, bytes; the start's, 0, is always there."""
    events: tuple[Event, ...]
    end: int
    """Where the whole records end, bytes."""
    torn: str | None
    """What was wrong with the last line, when a kill left it half-written; it is left out."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Index a journal file.

        Raises JournalError for a file that cannot be opened, is not a journal, or is damaged before its last line.
        """
        ticks: list[Tick] = []
        states: list[int] = []
        events: list[Event] = []
        with _opened(path) as stream:
            lines = _Lines(path, stream)
            records = iter(lines)
            basis, lost = _start(path, next(records, (0, None))[1], lines.torn)
            states.append(0)
            for offset, record in records:
                with _as_the_schema_says(path):
                    if record["kind"] == "tick":
                        ticks.append(Tick(record["n"], record["now_s"], _orders(record["result"]), offset))
                    elif record["kind"] == "checkpoint":
                        states.append(offset)
                    else:
                        events.append(decode_event(record))
        return cls(
            path, basis.config, basis.profiles, basis.digest, lost,
            tuple(ticks), tuple(states), tuple(events), lines.end, lines.torn,
        )  # fmt: skip

    def replay(self, n: int, settings: PlannerSettings) -> Replayed:
        """Compute tick `n` anew from the nearest state before it.

        Raises JournalError when there is no such tick, JournalGoneError when the file is gone meanwhile.
        """
        asked = self.by_number.get(n)
        if asked is None:
            held_here = f"holds {self.ticks[0].n} to {self.ticks[-1].n}" if self.ticks else "holds none"
            raise JournalError(f"decision {n}: the journal {held_here}")
        state_at = max(offset for offset in self.states if offset < asked.offset)
        return next(one for one in self.rerun(settings, state_at, compared_from=n) if one.n == n)

    def rerun(self, settings: PlannerSettings, offset: int = 0, *, compared_from: int = 0) -> Iterator[Replayed]:
        """Compute every tick anew, in order, from the state that lies at `offset`; `settings` are those of `config`.

        Ticks before number `compared_from` are run and left out. Raises JournalGoneError when the file is gone
        meanwhile.
        """
        with _opened(self.path) as stream:
            stream.seek(offset)
            state: PlannerState | None = None
            for _, record in _Lines(self.path, stream, self.end):
                with _as_the_schema_says(self.path):
                    if record["kind"] in ("start", "checkpoint"):
                        state = decode_state(record)
                    if record["kind"] != "tick":
                        continue
                    assert state is not None, "begins at a state"
                    samples, holds, now_s = decode_samples(record), decode_holds(record), record["now_s"]
                state, result = tick(state, samples, _with_holds(settings, holds), now_s)
                if record["n"] >= compared_from:
                    difference = first_difference(record["result"], encode_result(result))
                    yield Replayed(record["n"], now_s, result, holds, difference)

    @cached_property
    def by_number(self) -> Mapping[int, Tick]:
        """The ticks by their numbers."""
        return {tick.n: tick for tick in self.ticks}

    def __iter__(self) -> Iterator[Tick]:
        return iter(self.ticks)


class _Lines:
    """The records of an open file up to `limit` bytes, each with where its line begins."""

    def __init__(self, path: Path, stream: BinaryIO, limit: int | None = None) -> None:
        self._path = path
        self._stream = stream
        self._limit = limit
        self.end = stream.tell()
        self.torn: str | None = None

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        while (self._limit is None or self.end < self._limit) and (line := self._stream.readline(LONGEST_LINE_BYTES)):
            number += 1
            try:
                record = decode_line(line)
            except ValueError as error:
                if self._stream.read(1):
                    raise JournalError(f"{self._path}:{number}: is damaged ({error}); restore the file") from error
                self.torn = f"line {number} is torn and was left out"
                return
            offset, self.end = self.end, self.end + len(line)
            yield offset, record


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        stream = path.open("rb")
    except OSError as error:
        kind = JournalGoneError if isinstance(error, FileNotFoundError) else JournalError
        raise kind(f"{path}: cannot be read ({error.strerror}); give the journal's path") from error
    with stream:
        yield stream


@contextmanager
def _as_the_schema_says(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        what = str(error).splitlines()[0]
        raise JournalError(f"{path}: a record is not as the schema says ({what}); restore the file") from error


def _start(path: Path, start: Mapping[str, Any] | None, torn: str | None) -> tuple[Basis, int]:
    if start is None and torn is not None:
        raise JournalError(f"{path}: is not a journal, or one that was cut off in its first line; take another file")
    if start is None or start.get("schema") != SCHEMA:
        raise JournalError(f"{path}: is not a journal; write one with: planner simulate --journal FILE, or replay")
    if start.get("schema_version") != SCHEMA_VERSION:
        raise JournalError(
            f"{path}: schema_version {start.get('schema_version')!r} is not {SCHEMA_VERSION}; "
            "read it with the planner that wrote it"
        )
    with _as_the_schema_says(path):
        basis, lost = Basis(start["config"], start["profiles"]), int(start["lost"])
        if basis.digest != start["digest"]:
            raise JournalError(f"{path}: config and profiles are not those of the digest; restore the file")
    return basis, lost


def _with_holds(settings: PlannerSettings, holds: Held) -> PlannerSettings:
    # Of a hold, only the replicas reach the tick.
    orders = {service: Hold(replicas, 0.0, "", "", 0.0) for service, replicas in holds.items()}
    return held(settings, orders)


def _orders(result: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {role} {pool['current']} -> {pool['replicas']}"
        for name, decided in result["decisions"].items()
        for role, pool in decided["pools"].items()
        if pool["replicas"] not in (None, pool["current"])
    )
