"""A model with what is known about it: how far it errs, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.engine.latency.quality import Quality
from planner.engine.latency.residuals import Residuals
from planner.engine.latency.types import LatencyModel, Phase


@dataclass(frozen=True, slots=True)
class Log:
    """A file of steps that a model was fitted on."""

    name: str
    """Without its folder."""
    steps: int
    """That were used."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from."""

    fitted_at: str
    """ISO 8601, UTC."""
    planner_version: str
    hardware: str | None
    """In the words of whoever fitted it; None when nobody said."""
    logs: tuple[Log, ...]
    """Empty for a model that an engine fitted on its own steps."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a model file holds."""

    model: LatencyModel
    residuals: Mapping[Phase, Residuals]
    held_out: Mapping[Phase, Quality]
    """On steps that it was not fitted on; a phase without any is absent."""
    provenance: Provenance
    notes: tuple[str, ...] = ()
    """What whoever uses the model should know, one line each."""

    @property
    def margins(self) -> Mapping[Phase, float]:
        """Factor on a prediction by phase, at least 1."""
        return {phase: each.margin for phase, each in self.residuals.items()}
