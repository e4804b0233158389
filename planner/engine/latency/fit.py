"""All models fitted on some steps and held against others.

The default and the roof are fitted by numpy; the published form by scipy, imported when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from planner.engine.latency.linear import fit_linear
from planner.engine.latency.quality import Quality, quality, quality_by_phase
from planner.engine.latency.residuals import residuals, share_within
from planner.engine.latency.roofline import UNVERIFIED, Roofline, fit_roofline
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.saturation_fit import fit_saturation, physical_doubts
from planner.engine.latency.types import FitError, LatencyModel, Phase
from planner.engine.step import Floats, Steps

DEFAULT = "linear-physical"
AS_PUBLISHED = "saturation-published"
"""The saturation form where it falls, as published; `saturation` is the same fit as used, levelled."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One model on the steps it was fitted on, and on others."""

    model: LatencyModel
    fit_ms: float
    train: Quality
    test: Quality
    test_by_phase: Mapping[Phase, Quality]
    margins: Mapping[Phase, float]
    """From the steps it was fitted on."""
    within_margin: Mapping[Phase, float]
    """Share of the test steps within those margins; the aim is residuals.MARGIN_QUANTILE."""


def fit_one(name: str, steps: Steps, graph_sizes: tuple[int, ...] = ()) -> LatencyModel:
    """The model of that name (a key of `document.MODELS`), fitted on these steps.

    Raises FitError when the steps cannot support it.
    """
    if name == "saturation":
        if not steps.mixed.any():
            raise FitError("saturation: decode alone (S = B) cannot tell its parameters apart; record prefills as well")
        return fit_saturation(steps)
    return fit_roofline(steps, graph_sizes) if name == "roofline" else fit_linear(steps)


def notes_on(model: LatencyModel) -> tuple[str, ...]:
    """What whoever uses a model of this kind, or this fit, should know."""
    if isinstance(model, Saturation):
        return physical_doubts(model)
    return (UNVERIFIED,) if isinstance(model, Roofline) else ()


def compare(
    names: tuple[str, ...], train: Steps, test: Steps, graph_sizes: tuple[int, ...] = ()
) -> tuple[Mapping[str, Compared], Mapping[str, str]]:
    """Each model fitted on `train` and held against `test`, neither empty; and why some could not be fitted.

    The saturation model comes twice, see AS_PUBLISHED.
    """
    compared: dict[str, Compared] = {}
    failed: dict[str, str] = {}
    for name in names:
        begun = time.perf_counter()
        try:
            model = fit_one(name, train, graph_sizes)
        except FitError as error:
            failed[name] = str(error)
            continue
        fit_ms = (time.perf_counter() - begun) * 1e3
        compared[name] = _compared(
            model, fit_ms, (model.predict_all_ms(train), train), (model.predict_all_ms(test), test)
        )
        if isinstance(model, Saturation):
            compared[AS_PUBLISHED] = _compared(
                model,
                fit_ms,
                (model.published_ms(train.requests, train.tokens), train),
                (model.published_ms(test.requests, test.tokens), test),
            )
    return compared, failed


def _compared(model: LatencyModel, fit_ms: float, train: tuple[Floats, Steps], test: tuple[Floats, Steps]) -> Compared:
    margins = {phase: each.margin for phase, each in residuals(*train).items()}
    return Compared(
        model=model,
        fit_ms=fit_ms,
        train=quality(train[0], train[1].took_ms),
        test=quality(test[0], test[1].took_ms),
        test_by_phase=quality_by_phase(*test),
        margins=margins,
        within_margin=share_within(*test, margins),
    )
