"""How well predictions agree with what steps took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.engine.latency.types import Phase, phase_masks
from planner.engine.step import Floats, Steps


@dataclass(frozen=True, slots=True)
class Quality:
    """Over some steps, at least one."""

    steps: int
    r2: float | None
    """Share of the variance that is explained, below 0 when the mean would do better; None when all took the same."""
    rmse_ms: float
    mae_ms: float
    mape: float
    """Mean of |error| / time, as a share. R2 is made by the longest steps, this by the common ones."""


def quality(predicted_ms: Floats, took_ms: Floats) -> Quality:
    """Of one prediction for each time; there is at least one, and no time is zero."""
    error = predicted_ms - took_ms
    variance = float(np.mean((took_ms - took_ms.mean()) ** 2))
    mse = float(np.mean(error**2))
    return Quality(
        steps=len(took_ms),
        r2=1 - mse / variance if variance > 0 else None,
        rmse_ms=float(np.sqrt(mse)),
        mae_ms=float(np.mean(np.abs(error))),
        mape=float(np.mean(np.abs(error) / took_ms)),
    )


def quality_by_phase(predicted_ms: Floats, steps: Steps) -> Mapping[Phase, Quality]:
    """Of each phase that the steps have."""
    return {
        phase: quality(predicted_ms[mask], steps.took_ms[mask])
        for phase, mask in phase_masks(steps).items()
        if mask.any()
    }
