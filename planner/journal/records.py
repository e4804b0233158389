"""The records of a journal: values to lines and back. One JSON object a line; times are seconds on the loop's clock.

A file is a `start`, then `tick`s with a `checkpoint` (the state) before some, and the events `outcome`, `control` and
`trouble` where they happened. docs/journal-schema.md names every field.

Samples may be NaN or infinite, since engines publish such numbers; JSON has none, so they are written as the texts
"NaN", "Infinity" and "-Infinity", and read back as numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from planner.connectors.types import Status
from planner.controls import Hold
from planner.errors import UserError
from planner.scaling.decision import TickResult
from planner.scaling.state import PlannerState
from planner.scaling.types import Role, ServiceSamples

SCHEMA = "sla-planner/journal"
SCHEMA_VERSION = 2
CHECKPOINT_TICKS = 100
"""At most so many ticks lie between two states, so that re-running one tick replays few."""

Samples = Mapping[str, ServiceSamples]
Held = Mapping[str, Mapping[Role, int]]
"""Service to the replicas its pools were held at."""


class JournalError(UserError):
    """A journal that cannot be read or made; the message names the file, the line and the remedy."""


class JournalGoneError(JournalError):
    """A journal file that is not there, or no longer: rotation removes the oldest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order."""

    n: int
    """The tick that ordered it."""
    service: str
    status: Status
    detail: str
    at_s: float
    kind: Literal["outcome"] = "outcome"


@dataclass(frozen=True, slots=True)
class Control:
    """What somebody ordered of the planner."""

    at_s: float
    by: str
    why: str
    what: str
    """In words, such as "pause chat"."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The same as data, of any form; JSON values only."""
    kind: Literal["control"] = "control"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong with the planner itself: a tick that failed, a configuration that was not taken."""

    at_s: float
    text: str
    kind: Literal["trouble"] = "trouble"


Event = Outcome | Control | Trouble


@dataclass(frozen=True, slots=True)
class Basis:
    """What the decisions of a file rest on: the effective configuration and the profiles it names, JSON values."""

    config: Mapping[str, Any]
    profiles: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of both as canonical JSON: keys sorted, no blanks, ASCII."""
        both = {"config": self.config, "profiles": self.profiles}
        text = json.dumps(both, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def start_line(basis: Basis, state: PlannerState, lost: int = 0) -> bytes:
    """What every file begins with; `lost`: records that could not be written just before it."""
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "digest": basis.digest, "lost": lost}
    return _line("start", {**head, "config": basis.config, "profiles": basis.profiles, "state": state})


def checkpoint_line(state: PlannerState) -> bytes:
    """The state before the tick that follows."""
    return _line("checkpoint", {"state": state})


def tick_line(n: int, samples: Samples, result: TickResult, holds: Mapping[str, Hold]) -> bytes:
    """One tick: its number, what came in, the holds in force if any, what went out."""
    held = {service: hold.replicas for service, hold in holds.items()}
    values = {"n": n, "now_s": result.at_s, "samples": samples, "result": result}
    return _line("tick", {**values, "holds": held} if held else values)


def event_line(event: Event) -> bytes:
    """An event."""
    return _line(event.kind, asdict(event))


def _line(kind: str, values: Mapping[str, Any]) -> bytes:
    return to_json({"kind": kind, **values}, inf_nan_mode="strings") + b"\n"


def encode_result(result: TickResult) -> Any:
    """A result as it would be read from a record."""
    return from_json(to_json(result, inf_nan_mode="strings"))


def decode_line(line: bytes) -> dict[str, Any]:
    """A record's values. Raises ValueError when the line is not a whole JSON object."""
    record = from_json(line, allow_inf_nan=False)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - to the caller, as wrong as any other line
    return record


def decode_samples(record: Mapping[str, Any]) -> Samples:
    """A tick's samples. Raises KeyError or ValidationError when they are not as the schema says."""
    return _samples().validate_python(record["samples"])


def decode_holds(record: Mapping[str, Any]) -> Held:
    """A tick's holds, empty without any. Raises ValidationError when they are not as the schema says."""
    return _held().validate_python(record.get("holds", {}))


def decode_state(record: Mapping[str, Any]) -> PlannerState:
    """The state of a start or checkpoint. Raises KeyError or ValidationError when it is not as the schema says."""
    return _state().validate_python(record["state"])


def decode_event(record: Mapping[str, Any]) -> Event:
    """An event. Raises ValidationError when it is none, or not as the schema says."""
    return _event().validate_python(record)


# Building an adapter costs milliseconds, so each is built once, when first used.


@cache
def _samples() -> TypeAdapter[Samples]:
    return TypeAdapter(Samples)


@cache
def _held() -> TypeAdapter[Held]:
    return TypeAdapter(Held)


@cache
def _state() -> TypeAdapter[PlannerState]:
    return TypeAdapter(PlannerState)


@cache
def _event() -> TypeAdapter[Event]:
    return TypeAdapter(Event)
