"""Where a model may be believed: near what it was fitted on, and nowhere else.

A step is covered when its phase was seen often enough and none of its numbers lies far beyond what that phase had. So a
model that never saw a prefill decides no chunk, and one that saw 16 requests at most is not asked about 64.

Requests and tokens must not lie far below either: they set the level of the time. Less context than was seen only takes
less.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.engine.latency.types import Phase, Range, Seen, phase_of
from planner.engine.step import Step

FEWEST = 20
"""Steps of a phase; fewer are no evidence."""
SLACK = 0.25
"""How far beyond the range a number may lie, as a share of it."""
_BOUNDED_BELOW = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a step is not covered."""

    phase: Phase
    feature: str
    """A field of `Step`; `steps` when the phase was seen too seldom."""
    value: float
    """Of that feature; the number of steps seen for `steps`."""
    seen: Range | None
    """None for `steps`."""

    def __str__(self) -> str:
        if self.seen is None:
            return f"{self.phase}: {self.value:g} steps seen, {FEWEST} needed"
        return f"{self.phase}: {self.feature} {self.value:g}, seen {self.seen.least:g} to {self.seen.most:g}"


def knows(seen: Seen, phase: Phase) -> bool:
    """Whether a phase was seen often enough to decide anything about it."""
    return seen.steps.get(phase, 0) >= FEWEST


def gap(seen: Seen, step: Step, slack: float = SLACK) -> Gap | None:
    """The first reason not to believe a prediction of this step; None when there is none."""
    phase = phase_of(step)
    if not knows(seen, phase):
        return Gap(phase, "steps", seen.steps.get(phase, 0), None)
    for feature, span in seen.features[phase].items():
        value = getattr(step, feature)
        below = feature in _BOUNDED_BELOW and value < span.least * (1 - slack)
        if below or value > span.most * (1 + slack):
            return Gap(phase, feature, value, span)
    return None
