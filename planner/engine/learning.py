"""Whether a model is to be fitted anew: a pure decision over what it got wrong lately.

A refit is due when the model's error is above the mode's threshold *and* recent steps differ from it by more than its
own residuals did when it was fitted. The threshold alone would refit for ever a model whose error is scatter that no
fit removes. After each refit the next must wait: 30 s, then 60 s, and so on up to an hour; 30 s again once the error
was within the threshold after a wait. So a model that nothing mends is refitted once an hour. Times are seconds of the
caller's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from planner.engine.settings import SLASchedulerConfig

FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3600.0


class Why(StrEnum):
    """What decided about a refit."""

    FROZEN = "frozen"
    FEW_SAMPLES = "few-samples"
    NO_MODEL = "no-model"
    NO_PREDICTIONS = "no-predictions"
    WITHIN_THRESHOLD = "within-threshold"
    SCATTER = "scatter"
    WAITING = "waiting"
    DRIFTED = "drifted"


TEXT: Mapping[Why, str] = {
    Why.FROZEN: "mode frozen: the model stays as it is",
    Why.FEW_SAMPLES: "{samples} new samples, {min_samples} needed",
    Why.NO_MODEL: "no model yet, and {samples} samples",
    Why.NO_PREDICTIONS: "the model has predicted nothing lately",
    Why.WITHIN_THRESHOLD: "the error of {mape:.1%} is within {threshold:.1%}",
    Why.SCATTER: "the error of {mape:.1%} is above {threshold:.1%}, but no larger than the model's own residuals",
    Why.WAITING: "{left_s:.0f} s to wait since the last refit",
    Why.DRIFTED: "the error of {mape:.1%} is above {threshold:.1%} and beyond the model's own residuals",
}


@dataclass(frozen=True, slots=True)
class Learning:
    """What is remembered of refits."""

    tried_s: float | None = None
    """When last; None before the first."""
    wait_s: float = 0.0
    """From then to the next."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known now."""

    samples: int
    """New since the last refit was tried."""
    has_model: bool
    mape: float | None
    """Of the model's recent predictions, as a fraction; None when there are none."""
    drifted: bool
    """Whether recent steps differ from the model by more than its own residuals."""


@dataclass(frozen=True, slots=True)
class Refit:
    """The decision."""

    due: bool
    why: Why
    values: Mapping[str, float]

    def __str__(self) -> str:
        return TEXT[self.why].format(**self.values)


def refit(state: Learning, now_s: float, evidence: Evidence, config: SLASchedulerConfig) -> tuple[Learning, Refit]:
    """Whether to fit now. A refit that is due counts as tried from now on, whatever becomes of it."""
    threshold = config.refit_above_mape
    if threshold is None:
        return state, Refit(False, Why.FROZEN, {})
    left_s = 0.0 if state.tried_s is None else state.tried_s + state.wait_s - now_s
    mape = evidence.mape
    if mape is not None and mape <= threshold and left_s <= 0:
        # The last refit has held for as long as the next had to wait.
        state = replace(state, wait_s=0.0)
    why = _why(evidence, threshold, left_s, config.min_samples)
    values = {"samples": evidence.samples, "min_samples": config.min_samples, "threshold": threshold, "left_s": left_s}
    if mape is not None:
        values["mape"] = mape
    due = why in (Why.NO_MODEL, Why.DRIFTED)
    if due:
        state = Learning(now_s, min(LONGEST_WAIT_S, max(FIRST_WAIT_S, 2 * state.wait_s)))
    return state, Refit(due, why, values)


def _why(evidence: Evidence, threshold: float, left_s: float, min_samples: int) -> Why:
    if left_s > 0:
        return Why.WAITING
    if evidence.samples < min_samples:
        return Why.FEW_SAMPLES
    if not evidence.has_model:
        return Why.NO_MODEL
    if evidence.mape is None:
        return Why.NO_PREDICTIONS
    if evidence.mape <= threshold:
        return Why.WITHIN_THRESHOLD
    return Why.DRIFTED if evidence.drifted else Why.SCATTER
