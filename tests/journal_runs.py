"""Short runs of the real tick, for tests of the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

from builders import INTERVAL_S, pool_samples, service_samples
from hypothesis import strategies as st

from planner.config import LoadedConfig, build_settings, load_config
from planner.controls import Hold, held
from planner.journal import DEFAULT_KEEP, DEFAULT_MAX_BYTES, JournalFiles, JournalWriter
from planner.scaling.decision import TickResult
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import PlannerState, initial_state, tick
from planner.scaling.types import Role, ServiceSamples, Start

FLAGS = {
    "sla.isl": 3000, "sla.osl": 150, "sla.itl": 20, "budget.gpus": 32,
    "profile": "h200-llama-3.1-8b-fp8-tp1", "forecast.model": "moving-average",
}  # fmt: skip
START_S = 1_795_266_000.0
"""2026-11-21T13:00:00Z."""


@dataclass(frozen=True)
class Minute:
    """What comes in at one tick, and what is held."""

    rate_per_s: float = 10.0
    replicas: int = 2
    held: Mapping[Role, int] | None = None
    took_s: float | None = None
    """How long a decode replica took that has just become Ready; None where nobody tells."""
    failing: int = 0


@dataclass(frozen=True)
class Step:
    """One tick that was made."""

    n: int
    before: PlannerState
    samples: Mapping[str, ServiceSamples]
    holds: Mapping[str, Hold]
    result: TickResult
    after: PlannerState

    def write(self, files: JournalFiles) -> None:
        files.tick(self.n, self.before, self.samples, self.result, after=self.after, holds=self.holds)


@cache
def loaded(ttft: int = 200) -> LoadedConfig:
    return load_config(None, {}, {**FLAGS, "sla.ttft": ttft})


@cache
def settings() -> PlannerSettings:
    return build_settings(loaded())


def begun() -> PlannerState:
    return initial_state(settings(), START_S)


def steps(minutes: Sequence[Minute], state: PlannerState, first: int = 0) -> Iterator[Step]:
    """The ticks of these minutes, numbered from `first`, from `state` on."""
    for n, minute in enumerate(minutes, start=first):
        at_s = START_S + INTERVAL_S * n
        pools = {
            role: pool_samples(
                at_s, wanted=minute.replicas + minute.failing, ready=minute.replicas, starting=minute.failing,
                failing=minute.failing,
            )
            for role in (Role.PREFILL, Role.DECODE)
        }  # fmt: skip
        starts = {} if minute.took_s is None else {Role.DECODE: (Start(f"replica {n}", at_s, minute.took_s),)}
        samples = {"default": replace(service_samples(at_s, rate_per_s=minute.rate_per_s, pools=pools), starts=starts)}
        holds = {} if minute.held is None else {"default": Hold(minute.held, at_s + 1, "ann", "launch", at_s)}
        after, result = tick(state, samples, held(settings(), holds), at_s)
        yield Step(n, state, samples, holds, result, after)
        state = after


def varied(count: int) -> list[Minute]:
    """A load that makes the planner order, again and again."""
    return [Minute(10 + n % 13, 2 + n // 40) for n in range(count)]


def journal_files(
    folder: Path,
    state: PlannerState | None = None,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    keep: int = DEFAULT_KEEP,
) -> JournalFiles:
    return JournalFiles(
        folder,
        loaded().to_document(),
        loaded().profile_documents(),
        begun() if state is None else state,
        max_bytes=max_bytes,
        keep=keep,
    )


def write_stream(path: Path, count: int) -> list[Step]:
    """A journal in one stream, as of a simulation."""
    made = list(steps(varied(count), begun()))
    with path.open("w", encoding="utf-8") as stream:
        writer = JournalWriter(stream, loaded().to_document(), loaded().profile_documents())
        for step in made:
            writer.record(step.before, step.samples, step.result)
    return made


def rewrite(path: Path, line: int, change: Mapping[str, Any]) -> None:
    """Set fields of one line's record, each named by its path with dots."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    record = json.loads(lines[line])
    for where, value in change.items():
        *parents, last = where.split(".")
        inner = record
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    lines[line] = json.dumps(record) + "\n"
    path.write_text("".join(lines), encoding="utf-8")


def minutes() -> st.SearchStrategy[Minute]:
    """Loads from silence to a rush, numbers that are none, pools held or free."""
    counts = st.integers(1, 8)
    holds = st.none() | st.dictionaries(st.sampled_from([Role.PREFILL, Role.DECODE]), counts, min_size=1)
    took_s = st.none() | st.floats(0, 4000)
    return st.builds(Minute, st.floats(0, 200) | st.just(nan), st.integers(0, 8), holds, took_s, st.integers(0, 2))
