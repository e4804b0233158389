"""What a model's own errors say: how much to allow for, and what is out of the ordinary.

Errors are relative, T / predicted, by phase, since decode-only steps scatter more than those with a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.engine.latency.types import Phase, phase_masks
from planner.engine.step import Floats, Steps

MARGIN_QUANTILE = 0.95
"""One step in twenty may take longer than predicted times margin."""
FEWEST = 100
"""Steps of a phase for its own figures: the 95th percentile then rests on five."""
DEFAULT_MARGIN = 1.25
DEFAULT_SPREAD = 0.2
_SPREAD_QUANTILE = 0.9


@dataclass(frozen=True, slots=True)
class Residuals:
    """Of one phase."""

    steps: int
    """That the figures rest on; with fewer than FEWEST they are the defaults."""
    margin: float
    """Factor on a prediction, at least 1, that MARGIN_QUANTILE of the steps stayed within. One-sided."""
    spread: float
    """The size of error that nine in ten stay within, as a natural logarithm."""


def residuals(predicted_ms: Floats, steps: Steps) -> Mapping[Phase, Residuals]:
    """Of both phases, from steps that the model was not fitted on where there are any."""
    return {phase: _of(steps.took_ms[mask] / predicted_ms[mask]) for phase, mask in phase_masks(steps).items()}


def share_within(predicted_ms: Floats, steps: Steps, margins: Mapping[Phase, float]) -> Mapping[Phase, float]:
    """Which share of each phase's steps took at most predicted times margin; of the phases that there are."""
    return {
        phase: float(np.mean(steps.took_ms[mask] / predicted_ms[mask] <= margins[phase]))
        for phase, mask in phase_masks(steps).items()
        if mask.any()
    }


def _of(ratios: Floats) -> Residuals:
    if len(ratios) < FEWEST:
        return Residuals(len(ratios), DEFAULT_MARGIN, DEFAULT_SPREAD)
    # A ratio that occurred, not one between two: the promise is then kept by the data itself.
    margin = float(np.quantile(ratios, MARGIN_QUANTILE, method="higher"))
    spread = float(np.quantile(np.abs(np.log(ratios)), _SPREAD_QUANTILE))
    return Residuals(len(ratios), max(1.0, margin), spread)
