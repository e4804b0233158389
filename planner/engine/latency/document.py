"""Fitted models as documents: the JSON value that docs/step-latency.md describes, checked key by key.

Reading is strict: a key that is missing, unknown or of another type, a unit other than ours, and a number that is not
finite or below zero are errors that name it. Writing and reading gives an equal value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from planner.engine.latency.checks import (
    ModelError,
    a_count,
    a_finite,
    a_list,
    a_number,
    a_range,
    a_text,
    an_object,
    required,
    shown,
    sizes,
)
from planner.engine.latency.fitted import Fitted, Log, Provenance
from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.quality import Quality
from planner.engine.latency.residuals import Residuals
from planner.engine.latency.roofline import Roofline
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.types import FEATURES, PHASES, FitError, LatencyModel, Phase, Range, Seen

SCHEMA = "sla-planner/step-latency"
SCHEMA_VERSION = 1
MODELS: Mapping[str, type[LinearPhysical] | type[Roofline] | type[Saturation]] = {
    "linear-physical": LinearPhysical,
    "roofline": Roofline,
    "saturation": Saturation,
}
_KEYS = (
    *("schema", "schema_version", "model", "units", "parameters"),
    *("seen", "residuals", "held_out", "provenance", "notes"),
)


_Part = TypeVar("_Part")


def document_from_fitted(fitted: Fitted) -> dict[str, Any]:
    """The document of a model; `fitted_from_document` gives an equal one."""
    model, seen, provenance = fitted.model, fitted.model.seen, fitted.provenance
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "model": model.name,
        "units": dict(MODELS[model.name].UNITS),
        "parameters": dict(model.parameters()),
        "seen": {
            phase: {
                "steps": seen.steps.get(phase, 0),
                "features": {name: [span.least, span.most] for name, span in seen.features.get(phase, {}).items()},
            }
            for phase in PHASES
        },
        "residuals": {
            phase: {"steps": each.steps, "margin": each.margin, "spread": each.spread}
            for phase, each in fitted.residuals.items()
        },
        "held_out": {phase: quality_document(each) for phase, each in fitted.held_out.items()},
        "provenance": {
            "fitted_at": provenance.fitted_at,
            "planner_version": provenance.planner_version,
            "hardware": provenance.hardware,
            "logs": [{"name": log.name, "steps": log.steps} for log in provenance.logs],
        },
        "notes": list(fitted.notes),
    }


def quality_document(quality: Quality) -> dict[str, Any]:
    """The figures of one comparison, as JSON values."""
    return {
        "steps": quality.steps,
        "r2": quality.r2,
        "rmse_ms": quality.rmse_ms,
        "mae_ms": quality.mae_ms,
        "mape": quality.mape,
    }


def fitted_from_document(document: object) -> Fitted:
    """The model that a document describes.

    Raises ModelError naming the first field that cannot be used, its value and the remedy.
    """
    top = an_object(document, "document", _KEYS)
    required(top["schema"], SCHEMA, "schema")
    required(top["schema_version"], SCHEMA_VERSION, "schema_version")
    name = top["model"]
    if not isinstance(name, str) or name not in MODELS:
        raise ModelError(f"model: {shown(name)} is not known; it must be one of {', '.join(MODELS)}")
    units = MODELS[name].UNITS
    given = an_object(top["units"], "units", tuple(units))
    for parameter, unit in units.items():
        required(given[parameter], unit, f"units.{parameter}")
    return Fitted(
        model=_model(name, top["parameters"], _seen(top["seen"])),
        residuals=_each_phase(top["residuals"], "residuals", _residuals, PHASES),
        held_out=_each_phase(top["held_out"], "held_out", _quality, ()),
        provenance=_provenance(top["provenance"]),
        notes=tuple(a_text(note, f"notes[{i}]") for i, note in enumerate(a_list(top["notes"], "notes"))),
    )


def _model(name: str, value: object, seen: Seen) -> LatencyModel:
    units = MODELS[name].UNITS
    given = an_object(value, "parameters", tuple(units))
    read = {
        parameter: sizes(given[parameter], f"parameters.{parameter}")
        if unit.endswith("[]")
        else a_number(given[parameter], f"parameters.{parameter}")
        for parameter, unit in units.items()
    }
    if not any(read.values()):
        raise ModelError("parameters: all are zero; fit the model again")
    try:
        return MODELS[name].from_parameters(read, seen)
    except FitError as error:
        raise ModelError(f"parameters.{error}") from error


def _seen(value: object) -> Seen:
    steps: dict[Phase, int] = {}
    features: dict[Phase, dict[str, Range]] = {}
    given = an_object(value, "seen", PHASES)
    for phase in PHASES:
        where = f"seen.{phase}"
        part = an_object(given[phase], where, ("steps", "features"))
        steps[phase] = a_count(part["steps"], f"{where}.steps")
        names = FEATURES if steps[phase] else ()
        spans = an_object(part["features"], f"{where}.features", names)
        features[phase] = {name: a_range(spans[name], f"{where}.features.{name}") for name in names}
    return Seen(steps, features)


def _each_phase(
    value: object, where: str, read: Callable[[object, str], _Part], keys: tuple[Phase, ...]
) -> dict[Phase, _Part]:
    given = an_object(value, where, keys, optional=PHASES)
    return {cast(Phase, phase): read(part, f"{where}.{phase}") for phase, part in given.items()}


def _residuals(value: object, where: str) -> Residuals:
    part = an_object(value, where, ("steps", "margin", "spread"))
    margin = a_number(part["margin"], f"{where}.margin")
    if margin < 1:
        raise ModelError(f"{where}.margin: {margin:g} must be at least 1; fit the model again")
    return Residuals(a_count(part["steps"], f"{where}.steps"), margin, a_number(part["spread"], f"{where}.spread"))


def _quality(value: object, where: str) -> Quality:
    part = an_object(value, where, ("steps", "r2", "rmse_ms", "mae_ms", "mape"))
    r2 = part["r2"]
    return Quality(
        steps=a_count(part["steps"], f"{where}.steps"),
        r2=None if r2 is None else a_finite(r2, f"{where}.r2"),
        rmse_ms=a_number(part["rmse_ms"], f"{where}.rmse_ms"),
        mae_ms=a_number(part["mae_ms"], f"{where}.mae_ms"),
        mape=a_number(part["mape"], f"{where}.mape"),
    )


def _provenance(value: object) -> Provenance:
    part = an_object(value, "provenance", ("fitted_at", "planner_version", "hardware", "logs"))
    read = []
    for i, log in enumerate(a_list(part["logs"], "provenance.logs")):
        where = f"provenance.logs[{i}]"
        each = an_object(log, where, ("name", "steps"))
        read.append(Log(a_text(each["name"], f"{where}.name"), a_count(each["steps"], f"{where}.steps")))
    hardware = part["hardware"]
    return Provenance(
        fitted_at=a_text(part["fitted_at"], "provenance.fitted_at"),
        planner_version=a_text(part["planner_version"], "provenance.planner_version"),
        hardware=None if hardware is None else a_text(hardware, "provenance.hardware"),
        logs=tuple(read),
    )
