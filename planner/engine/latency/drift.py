"""Whether steps still take what a model says, and by which factor they differ.

Machines drift: other work on the same cores, clocks, heat. Neighbouring errors resemble one another (their correlation
was 0.6 on the machines measured), so a running mean of recent ones predicts the next. It is kept as a natural
logarithm, per phase, each step entering with a small share.

Pure: a state and a step make the next state. A drifted model wants a new fit; until then its factor mends the level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from planner.engine.latency.residuals import Residuals
from planner.engine.latency.types import PHASES, LatencyModel, Phase
from planner.engine.step import Floats, Steps

SHARE = 0.05
"""Of the newest step: the mean is over the last twenty or so. Less follows too late, more follows noise."""
_BOUND = math.log(2)
"""One held-up step, or the factor itself, never says more than double or half."""
FEWEST = 50
"""Steps of a phase before its mean is called drift."""


@dataclass(frozen=True, slots=True)
class PhaseDrift:
    """Of one phase."""

    steps: int = 0
    mean: float = 0.0
    """Of ln(T / predicted), recent steps weighing most; begins at 0, as the model says."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Of both phases; begins with no drift."""

    decode: PhaseDrift = PhaseDrift()
    mixed: PhaseDrift = PhaseDrift()

    def after(self, phase: Phase, took_ms: float, predicted_ms: float) -> Drift:
        """With one more step, whose prediction is the model's own, without any factor; both are above zero."""
        error = max(-_BOUND, min(_BOUND, math.log(took_ms / predicted_ms)))
        before = self._of(phase)
        now = PhaseDrift(before.steps + 1, before.mean + SHARE * (error - before.mean))
        return replace(self, decode=now) if phase == "decode" else replace(self, mixed=now)

    def factor(self, phase: Phase) -> float:
        """What to multiply a prediction with; from a half to 2."""
        return math.exp(self._of(phase).mean)

    def drifted(self, own: Mapping[Phase, Residuals]) -> tuple[Phase, ...]:
        """The phases whose recent mean lies beyond what single steps scattered when the model was fitted."""
        return tuple(
            phase
            for phase in PHASES
            if self._of(phase).steps >= FEWEST and abs(self._of(phase).mean) > own[phase].spread
        )

    def _of(self, phase: Phase) -> PhaseDrift:
        return self.decode if phase == "decode" else self.mixed


def tracked_ms(model: LatencyModel, steps: Steps) -> Floats:
    """What would have been predicted for each of these consecutive steps, with the factor known before it."""
    drift = Drift()
    predicted_ms = model.predict_all_ms(steps)
    tracked = np.empty_like(predicted_ms)
    for i, (own_ms, took_ms, mixed) in enumerate(zip(predicted_ms, steps.took_ms, steps.mixed, strict=True)):
        phase: Phase = "mixed" if mixed else "decode"
        tracked[i] = own_ms * drift.factor(phase)
        drift = drift.after(phase, float(took_ms), float(own_ms))
    return tracked
