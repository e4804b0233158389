"""Decision records that can be re-run.

A journal is a JSON-lines file of one run:

- `start`: schema version, the effective configuration, the profiles it names, and the state at the beginning;
- `tick`: the time, the samples that came in, and the result that went out;
- `checkpoint`: the state after a tick, every `CHECKPOINT_TICKS` of them, so that re-running one tick replays few.

Since a tick is a pure function, `start` and the samples determine every result: `replay` computes a tick anew, and
`Replayed.same` tells whether what is on record is what the code decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self, TextIO

from pydantic import TypeAdapter, ValidationError

from planner.errors import UserError
from planner.scaling.decision import TickResult
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import PlannerState, tick
from planner.scaling.types import ServiceSamples

SCHEMA = "sla-planner/journal"
SCHEMA_VERSION = 1
CHECKPOINT_TICKS = 100

Samples = Mapping[str, ServiceSamples]


class JournalError(UserError):
    """A journal that cannot be read; the message names the file, the line and the remedy."""


class JournalWriter:
    """Appends one run's records to a text stream, a line each."""

    def __init__(self, stream: TextIO, config: Mapping[str, Any], profiles: Mapping[str, Any]) -> None:
        self._stream = stream
        self._head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "config": config, "profiles": profiles}
        self._ticks = 0

    def record(self, before: PlannerState, samples: Samples, result: TickResult) -> None:
        """One tick: the state it began with, what came in, what went out."""
        if self._ticks == 0:
            self._line("start", {**self._head, "state": encode_state(before)})
        elif self._ticks % CHECKPOINT_TICKS == 0:
            self._line("checkpoint", {"state": encode_state(before)})
        values = {"n": self._ticks, "now_s": result.at_s, "samples": _samples().dump_python(samples, mode="json")}
        self._line("tick", {**values, "result": encode_result(result)})
        self._ticks += 1

    def _line(self, kind: str, values: Mapping[str, Any]) -> None:
        json.dump({"kind": kind, **values}, self._stream, separators=(",", ":"), allow_nan=False)
        self._stream.write("\n")


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick on record, with the state to re-run it from."""

    n: int
    now_s: float
    samples: Samples
    recorded: Any
    """The result as written, decoded JSON."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A tick computed anew."""

    result: TickResult
    same: bool
    """The record says exactly this."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal that was read whole."""

    config: Mapping[str, Any]
    profiles: Mapping[str, Any]
    ticks: tuple[Tick, ...]
    states: Mapping[int, PlannerState]
    """States on record, by the number of the tick they precede; 0 is always there."""
    torn: str | None
    """What was wrong with the last line, when a kill left it half-written; it is left out."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse a journal file.

        Raises JournalError for a file that cannot be opened, is not a journal, or is damaged before its last line.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise JournalError(f"{path}: cannot be read ({error.strerror}); give the journal's path") from error
        except UnicodeDecodeError as error:
            raise JournalError(f"{path}: is not a journal (not UTF-8 text)") from error
        lines = text.splitlines()
        records: list[dict[str, Any]] = []
        torn = None
        for number, line in enumerate(lines, start=1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number < len(lines):
                    raise JournalError(f"{path}:{number}: is damaged ({error.msg}); restore the file") from error
                torn = f"line {number} is torn and was left out"
        return cls._of(path, records, torn)

    @classmethod
    def _of(cls, path: Path, records: list[dict[str, Any]], torn: str | None) -> Self:
        if not records or not isinstance(records[0], dict) or records[0].get("schema") != SCHEMA:
            raise JournalError(f"{path}: is not a journal; write one with: planner simulate --journal FILE, or replay")
        start = records[0]
        if start.get("schema_version") != SCHEMA_VERSION:
            raise JournalError(
                f"{path}: schema_version {start.get('schema_version')!r} is not {SCHEMA_VERSION}; "
                "read it with the planner that wrote it"
            )
        ticks: list[Tick] = []
        states: dict[int, PlannerState] = {}
        try:
            for record in records:
                if "state" in record:
                    states[len(ticks)] = _state().validate_python(record["state"])
                if record["kind"] == "tick":
                    samples = _samples().validate_python(record["samples"])
                    ticks.append(Tick(record["n"], record["now_s"], samples, record["result"]))
            return cls(start["config"], start["profiles"], tuple(ticks), states, torn)
        except (KeyError, TypeError, ValidationError) as error:
            what = str(error).splitlines()[0]
            raise JournalError(f"{path}: a record is not as the schema says ({what}); restore the file") from error

    def replay(self, n: int, settings: PlannerSettings) -> Replayed:
        """Compute tick `n` anew from the nearest state before it.

        Raises JournalError when there is no such tick.
        """
        if not 0 <= n < len(self.ticks):
            raise JournalError(f"decision {n}: the journal holds 0 to {len(self.ticks) - 1}")
        first = max(at for at in self.states if at <= n)
        state = self.states[first]
        for past in self.ticks[first:n]:
            state, _ = tick(state, past.samples, settings, past.now_s)
        asked = self.ticks[n]
        _, result = tick(state, asked.samples, settings, asked.now_s)
        return Replayed(result, same=encode_result(result) == asked.recorded)

    def __iter__(self) -> Iterator[Tick]:
        return iter(self.ticks)


def encode_result(result: TickResult) -> Any:
    """A tick's result as JSON-able values."""
    return json.loads(_result().dump_json(result))


def encode_state(state: PlannerState) -> Any:
    """A state as JSON-able values."""
    return _state().dump_python(state, mode="json")


# Building an adapter costs milliseconds, so each is built once, when first used.


@cache
def _samples() -> TypeAdapter[Samples]:
    return TypeAdapter(Mapping[str, ServiceSamples])


@cache
def _state() -> TypeAdapter[PlannerState]:
    return TypeAdapter(PlannerState)


@cache
def _result() -> TypeAdapter[TickResult]:
    return TypeAdapter(TickResult)
