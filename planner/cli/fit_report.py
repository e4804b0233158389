"""What `planner fit` says: as lines for people, as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from planner.engine.latency.coverage import SLACK
from planner.engine.latency.document import MODELS, quality_document
from planner.engine.latency.residuals import MARGIN_QUANTILE
from planner.engine.latency.types import FEATURES, PHASES
from planner.profiler.describe import table

if TYPE_CHECKING:
    from planner.cli.fit_study import Data, Study
    from planner.engine.latency.evidence import Evidence
    from planner.engine.latency.quality import Quality

SCHEMA = "sla-planner/fit/1"
_HEADINGS = ("MODEL", "STEPS", "R2", "RMSE ms", "MAE ms", "MAPE %", "fit ms")


def data_lines(data: Data, evidence: Evidence, verbose: bool) -> Iterator[str]:
    """What was read, left out and found, and what the data lack."""
    yield "data"
    for each in data.runs:
        dropped = ", ".join(f"{count} {reason}" for reason, count in each.dropped.items())
        yield (
            f"  {each.run.log}  run {each.run.name}: {len(each.run)} steps, {len(each.steps)} used"
            + (f"; left out: {dropped}" if dropped else "")
        )
    for note in data.logs.notes:
        yield f"  note      {note}"
    if verbose and data.logs.ignored:
        yield f"  ignored   columns {', '.join(data.logs.ignored)}"
    for phase in PHASES:
        if phase not in evidence.took_ms:
            yield f"  {phase:<9} none"
            continue
        took, features = evidence.took_ms[phase], evidence.seen.features[phase]
        shown = FEATURES if verbose else ("requests", "tokens")
        spans = ", ".join(f"{name} {features[name].least:g} to {features[name].most:g}" for name in shown)
        yield f"  {phase:<9} {evidence.seen.steps[phase]} steps of {took.least:.1f} to {took.most:.1f} ms: {spans}"
    yield f"  condition {evidence.condition:.1f} (1 is best, above 1000 costs cannot be told apart)"
    for lack in evidence.lacks:
        yield f"  {lack.level.upper() if lack.level == 'problem' else lack.level:<9} {lack.text}"
        yield f"            -> {lack.remedy}"


def study_lines(study: Study, verbose: bool) -> Iterator[str]:
    """The models compared, and the one chosen."""
    yield ""
    yield f"models, tested on {study.split}"
    rows = []
    for name, each in study.compared.items():
        rows.append((name, *_cells(each.test), f"{each.fit_ms:.1f}"))
        rows.extend((f"  {phase}", *_cells(part)) for phase, part in each.test_by_phase.items())
    rows = [(*row, *[""] * (len(_HEADINGS) - len(row))) for row in rows]
    yield from ("  " + line for line in table(_HEADINGS, rows).splitlines())
    for name, why in study.failed.items():
        yield f"  {name}: not fitted: {why}"
    fitted = study.fitted
    yield ""
    yield f"chosen: {fitted.model.name}"
    units = MODELS[fitted.model.name].UNITS
    for name, value in fitted.model.parameters().items():
        shown = f"{value:.6g} {units[name]}" if isinstance(value, float) else f"{value} {units[name]}"
        yield f"  {name:<16} {shown}"
    yield f"  MAPE {study.tracked.mape:.1%} when a factor of drift follows the steps, R2 {_r2(study.tracked)}"
    for phase, own in fitted.residuals.items():
        within = study.compared[fitted.model.name].within_margin.get(phase)
        held = "" if within is None else f"; fitted without the test steps it held {within:.1%} of them"
        yield f"  {phase}: margin {own.margin:.3f} for {MARGIN_QUANTILE:.0%} of {own.steps} steps{held}"
    yield from (f"  note: {note}" for note in fitted.notes)
    if verbose:
        yield f"  believed up to {SLACK:.0%} beyond the sizes seen"


def as_json(data: Data, evidence: Evidence, study: Study | None, written: Mapping[str, Any]) -> dict[str, Any]:
    """One object; without a study the comparison is absent."""
    document: dict[str, Any] = {"schema": SCHEMA, "data": _data(data, evidence)}
    if study is not None:
        document |= {
            "split": study.split,
            "models": {
                name: {
                    "fit_ms": each.fit_ms,
                    "parameters": dict(each.model.parameters()),
                    "train": quality_document(each.train),
                    "test": {
                        **quality_document(each.test),
                        "phases": {phase: quality_document(part) for phase, part in each.test_by_phase.items()},
                    },
                    "margins": dict(each.margins),
                    "within_margin": dict(each.within_margin),
                }
                for name, each in study.compared.items()
            },
            "failed": dict(study.failed),
            "chosen": study.fitted.model.name,
            "tracked": quality_document(study.tracked),
        }
    return document | dict(written)


def _data(data: Data, evidence: Evidence) -> dict[str, Any]:
    return {
        "runs": [
            {
                "name": each.run.name,
                "log": each.run.log,
                "served_model": each.run.model,
                "steps": len(each.run),
                "used": len(each.steps),
                "left_out": dict(each.dropped),
            }
            for each in data.runs
        ],
        "notes": list(data.logs.notes),
        "ignored_columns": list(data.logs.ignored),
        "phases": {
            phase: {
                "steps": evidence.seen.steps[phase],
                "took_ms": [evidence.took_ms[phase].least, evidence.took_ms[phase].most],
                "features": {name: [span.least, span.most] for name, span in evidence.seen.features[phase].items()},
            }
            for phase in PHASES
            if phase in evidence.took_ms
        },
        "condition": evidence.condition if math.isfinite(evidence.condition) else None,
        "lacks": [{"level": lack.level, "text": lack.text, "remedy": lack.remedy} for lack in evidence.lacks],
        "supports_a_model": evidence.supports_a_model,
    }


def _cells(quality: Quality) -> tuple[str, ...]:
    return (
        str(quality.steps),
        _r2(quality),
        f"{quality.rmse_ms:.2f}",
        f"{quality.mae_ms:.2f}",
        f"{quality.mape * 100:.1f}",
    )


def _r2(quality: Quality) -> str:
    return "-" if quality.r2 is None else f"{quality.r2:.4f}"
