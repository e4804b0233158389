"""What `planner fit` does between reading logs and writing a model; the steps of a study, each a value.

The comparison is made on steps that no model was fitted on: the last part of each run, or other logs. The model that is
written is then fitted on all steps, and keeps the margins of the comparison; with other logs to test on it is the one
that was compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.engine.latency.evidence import Evidence
    from planner.engine.latency.fit import Compared
    from planner.engine.latency.fitted import Fitted
    from planner.engine.latency.logs import Logs, Run
    from planner.engine.latency.quality import Quality
    from planner.engine.latency.screen import Rule
    from planner.engine.step import Steps


@dataclass(frozen=True, slots=True)
class UsedRun:
    """A run, and what of it models are fitted on."""

    run: Run
    steps: Steps
    dropped: Mapping[str, int]
    """How many steps were left out, by reason."""


@dataclass(frozen=True, slots=True)
class Data:
    """Steps read and screened, at least one."""

    logs: Logs
    runs: tuple[UsedRun, ...]
    steps: Steps
    """Of all runs."""


@dataclass(frozen=True, slots=True)
class Study:
    """All models compared, and the one that was chosen."""

    split: str
    """What they were tested on, in words."""
    compared: Mapping[str, Compared]
    failed: Mapping[str, str]
    """Models that the steps cannot support, and why."""
    tracked: Quality
    """The chosen model on the test steps, its factor of drift following them."""
    fitted: Fitted
    test: Steps


def read_data(option: str, path: Path | None, served_model: str | None, rule: Rule) -> Data:
    """The logs at a path, or made-up ones for None, screened.

    Raises UserError, naming the option, when steps of several served models are mixed or none is left.
    """
    from planner.engine.latency.demo import demo_run
    from planner.engine.latency.logs import Logs, read_runs
    from planner.engine.latency.screen import joined, screened

    logs = Logs((demo_run(),), (), ()) if path is None else read_runs(path)
    source = "the demo" if path is None else str(path)
    models = sorted({run.model for run in logs.runs if run.model is not None})
    if served_model is not None and served_model not in models:
        known = ", ".join(models) or "none, for the logs do not say"
        raise UserError(f"--served-model: {served_model!r} is not in {source}; there are {known}")
    if served_model is None and len(models) > 1:
        raise UserError(
            f"{option}: {source} holds steps of {', '.join(models)}, and one fit cannot hold for all; "
            f"choose with --served-model {models[0]}"
        )
    runs = [run for run in logs.runs if served_model in (None, run.model)]
    used = tuple(UsedRun(run, *screened(run, rule)) for run in runs)
    steps = joined([each.steps for each in used])
    if not len(steps):
        raise UserError(f"{option}: {source} holds no step to use after screening; record for longer")
    return Data(logs, used, steps)


def examined(data: Data) -> Evidence:
    """What the data can tell."""
    from planner.engine.latency.evidence import evidence

    return evidence(data.steps)


def studied(
    chosen: str,
    data: Data,
    test: Data | None,
    held_out: float,
    graph_sizes: tuple[int, ...],
    hardware: str | None,
) -> Study:
    """Every model compared, and the chosen one ready to be written.

    `held_out` is the share of each run to test on where there is no `test`. Raises FitError when the data cannot
    support the chosen model.
    """
    from datetime import UTC, datetime

    import numpy as np

    from planner import __version__
    from planner.engine.latency.document import MODELS
    from planner.engine.latency.drift import tracked_ms
    from planner.engine.latency.fit import compare, fit_one, notes_on
    from planner.engine.latency.fitted import Fitted, Log, Provenance
    from planner.engine.latency.quality import quality, quality_by_phase
    from planner.engine.latency.residuals import residuals
    from planner.engine.latency.screen import joined
    from planner.engine.latency.types import FitError

    if test is None:
        cuts = [(each.steps, round(len(each.steps) * (1 - held_out))) for each in data.runs]
        train = joined([steps.where(slice(None, cut)) for steps, cut in cuts])
        tested = [steps.where(slice(cut, None)) for steps, cut in cuts]
        split = f"the last {held_out:.0%} of each run"
    else:
        train, tested = data.steps, [each.steps for each in test.runs]
        split = "other logs"
    compared, failed = compare(tuple(MODELS), train, joined(tested), graph_sizes)
    if chosen not in compared:
        raise FitError(failed[chosen])
    model = compared[chosen].model
    final = model if test is not None else fit_one(chosen, data.steps, graph_sizes)
    tracked = joined([steps for steps in tested if len(steps)])
    predicted_ms = model.predict_all_ms(tracked)
    followed_ms = np.concatenate([tracked_ms(model, steps) for steps in tested])
    return Study(
        split=split,
        compared=compared,
        failed=failed,
        tracked=quality(followed_ms, tracked.took_ms),
        fitted=Fitted(
            model=final,
            residuals=residuals(predicted_ms, tracked),
            held_out=quality_by_phase(predicted_ms, tracked),
            provenance=Provenance(
                fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
                planner_version=__version__,
                hardware=hardware,
                logs=tuple(Log(each.run.log, len(each.steps)) for each in data.runs),
            ),
            notes=notes_on(final),
        ),
        test=tracked,
    )


def drawn(study: Study, folder: Path) -> list[Path]:
    """Residuals and contours of every model that could be fitted, as files in the folder.

    Raises UserError when one cannot be written, ModuleNotFoundError without matplotlib.
    """
    from planner.engine.latency import plot
    from planner.engine.latency.document import MODELS

    paths = []
    for name in MODELS:
        if name not in study.compared:
            continue
        model = study.compared[name].model
        for kind, figure in (
            ("residuals", plot.residuals(model, study.test)),
            ("contour", plot.model_contour(model, study.test)),
        ):
            path = folder / f"{name}-{kind}.png"
            plot.save(figure, path)
            paths.append(path)
    return paths
