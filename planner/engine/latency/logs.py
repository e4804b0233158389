"""Folders of step logs as runs, checked against what only the whole can show.

A run is in one file, its clock never goes back, no step is in it twice, and its step times fit between the ends of its
steps. Where they do not by a factor of a thousand, a unit is wrong; nothing is converted by guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.engine.step import Floats, Step, Steps
from planner.engine.steplog import ENDINGS, LogFile, LoggedStep, StepLogError, read_log

_MS_PER_S = 1000.0
_MIXED_SHARE = 0.01
"""More rows than this with a time a thousandth of the rest's are a second unit, not chance."""
_THOUSANDTH = (0.0002, 0.005)
_MUCH_SHORTER = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One life of one engine, its steps in order."""

    name: str
    model: str | None
    """That was served; None when the log does not say."""
    log: str
    """Name of its file."""
    end_s: Floats
    after_idle: NDArray[np.bool_]
    steps: Steps

    def __len__(self) -> int:
        return len(self.steps)

    def gap_ms(self) -> Floats:
        """From the end of the step before to the end of each; infinite for the first."""
        gaps: Floats = np.diff(self.end_s, prepend=-np.inf) * _MS_PER_S
        return gaps


@dataclass(frozen=True, slots=True)
class Logs:
    """All runs of a folder."""

    runs: tuple[Run, ...]
    notes: tuple[str, ...]
    """What was left out in reading, one line each."""
    ignored: tuple[str, ...]
    """Columns that mean nothing here, of any file."""


def read_runs(path: Path) -> Logs:
    """The runs in a file, or in all logs of a folder.

    Raises StepLogError when there is none, and for whatever `read_log` or a look at the whole finds wrong.
    """
    paths = _paths(path)
    runs: dict[str, Run] = {}
    notes: list[str] = []
    ignored: set[str] = set()
    for each in paths:
        log = read_log(each)
        ignored.update(log.ignored)
        if log.torn_line is not None:
            notes.append(f"{each.name}:{log.torn_line}: the last line is torn; left out")
        for run in _runs(log, each.name):
            if run.name in runs:
                raise StepLogError(
                    f"{run.log}: run {run.name} is in {runs[run.name].log} too; remove one, or name the runs apart"
                )
            runs[run.name] = run
    if not runs:
        raise StepLogError(f"{path}: holds no step; record some with VLLM_SLA_PERF_LOG=true")
    return Logs(tuple(runs.values()), tuple(notes), tuple(sorted(ignored)))


def run_of(logged: Sequence[LoggedStep], log: str) -> Run:
    """Steps of one run as columns."""
    columns = {each.name: _column([getattr(one.step, each.name) for one in logged]) for each in fields(Step)}
    return Run(
        name=logged[0].run,
        model=logged[0].model,
        log=log,
        end_s=_column([one.end_s for one in logged]),
        after_idle=np.array([one.after_idle for one in logged]),
        steps=Steps(**columns, took_ms=_column([one.took_ms for one in logged])),
    )


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        if not path.name.endswith(ENDINGS):
            raise StepLogError(f"{path}: is no step log by its name; logs end in {', '.join(ENDINGS)}")
        return [path]
    if not path.is_dir():
        raise StepLogError(f"{path}: does not exist; give a step log or a folder of them")
    return sorted(each for each in path.iterdir() if each.name.endswith(ENDINGS))


def _runs(log: LogFile, name: str) -> list[Run]:
    parted: dict[str, tuple[list[LoggedStep], list[int]]] = {}
    for step, line in zip(log.steps, log.lines, strict=True):
        steps, lines = parted.setdefault(step.run, ([], []))
        steps.append(step)
        lines.append(line)
    runs = []
    for steps, lines in parted.values():
        _check_order(steps, lines, name)
        run = run_of(steps, name)
        _check_units(run)
        runs.append(run)
    return runs


def _check_order(steps: Sequence[LoggedStep], lines: Sequence[int], log: str) -> None:
    first_line: dict[int, int] = {}
    for i, (step, line) in enumerate(zip(steps, lines, strict=True)):
        where = f"{log}:{line}"
        if step.number in first_line:
            raise StepLogError(
                f"{where}: step {step.number} of run {step.run} is in line {first_line[step.number]} too; "
                "remove one, or name the runs apart"
            )
        first_line[step.number] = line
        if i and step.end_s < steps[i - 1].end_s:
            raise StepLogError(
                f"{where}: end_s {step.end_s!r} lies before the {steps[i - 1].end_s!r} of the line above; "
                "record with a monotonic clock, and name the runs apart"
            )


def _check_units(run: Run) -> None:
    """Raises StepLogError when step times and clock, or step times among themselves, differ by a thousand."""
    steps_between = ~run.after_idle[1:]
    if not steps_between.any():
        return
    gap_ms, took_ms = run.gap_ms()[1:][steps_between], run.steps.took_ms[1:][steps_between]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = took_ms / gap_ms
    known = np.isfinite(share)
    if not known.any():
        return
    share, took_ms = share[known], took_ms[known]
    middle = float(np.median(share))
    if _is_thousandth(middle):
        raise StepLogError(
            f"{run.log}: T_ms of run {run.name} is {middle:.2g} of the time between steps; "
            "write step times in ms, and their ends (t) in s"
        )
    if _is_thousandth(1 / middle if middle > 0 else 0.0):
        raise StepLogError(
            f"{run.log}: T_ms of run {run.name} is {middle:.2g} times the time between steps; "
            "write step times in ms (not µs), and their ends (t) in s"
        )
    # Short against the clock and against its neighbours: against the clock alone it may follow an untold pause.
    thousandth = (share > _THOUSANDTH[0]) & (share < _THOUSANDTH[1])
    strays = float(np.mean(thousandth & (took_ms < float(np.median(took_ms)) * _MUCH_SHORTER)))
    if strays > _MIXED_SHARE:
        raise StepLogError(
            f"{run.log}: T_ms of run {run.name} mixes units: {strays:.0%} of the steps seem to be in s; "
            "write all step times in ms"
        )


def _is_thousandth(share: float) -> bool:
    return _THOUSANDTH[0] < share < _THOUSANDTH[1]


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)
