"""The seam between whoever plans a step and whoever knows how long it will take.

A model is immutable; learning makes another. All of them are monotone: a step with more of anything is never predicted
to be shorter, so that the largest step within a target is found by looking from below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from planner.engine.step import Floats, Step, Steps
from planner.errors import UserError

Phase = Literal["decode", "mixed"]
"""decode: no prefill in the step; mixed: some, or nothing else."""
PHASES: tuple[Phase, ...] = ("decode", "mixed")
FEATURES = tuple(each.name for each in fields(Step))


class FitError(UserError):
    """Steps that cannot support a model; the message says what they lack, and what to record."""


def phase_of(step: Step) -> Phase:
    """Which of the two a step is in."""
    return "mixed" if step.prefills > 0 else "decode"


def phase_masks(steps: Steps) -> Mapping[Phase, NDArray[np.bool_]]:
    """Which of the steps are in each phase."""
    return {"decode": ~steps.mixed, "mixed": steps.mixed}


@dataclass(frozen=True, slots=True)
class Range:
    """From the least to the most that was seen of one number, both included."""

    least: float
    most: float

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Of some values, at least one."""
        return cls(float(values.min()), float(values.max()))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the steps were like that a model was fitted on."""

    steps: Mapping[Phase, int]
    """How many of each phase."""
    features: Mapping[Phase, Mapping[str, Range]]
    """By phase, of each field of `Step`; empty for a phase that was not seen."""

    @classmethod
    def of(cls, steps: Steps) -> Self:
        """What these steps were like."""
        parts = {phase: steps.where(mask) for phase, mask in phase_masks(steps).items()}
        return cls(
            steps={phase: len(part) for phase, part in parts.items()},
            features={
                phase: {name: Range.of(getattr(part, name)) for name in FEATURES} if len(part) else {}
                for phase, part in parts.items()
            },
        )


class LatencyModel(Protocol):
    """How long a step takes."""

    @property
    def name(self) -> str:
        """Short and stable: stands in files, reports and settings."""
        ...

    @property
    def seen(self) -> Seen:
        """What it was fitted on."""
        ...

    def predict_ms(self, step: Step) -> float:
        """The time of one step."""
        ...

    def predict_all_ms(self, steps: Steps) -> Floats:
        """The time of each step."""
        ...

    def largest_chunk(self, step: Step, start_tokens: int, most_tokens: int, limit_ms: float) -> int:
        """How many tokens of one more prefill, which goes on from `start_tokens`, `step` can take within `limit_ms`.

        At most `most_tokens`; 0 when not even one.
        """
        ...

    def parameters(self) -> Mapping[str, Any]:
        """Its numbers, for its file: JSON values, each name with its unit."""
        ...


def largest_within(predict_ms: Callable[[int], float], most_tokens: int, limit_ms: float) -> int:
    """The most tokens, from 1 to `most_tokens`, whose time is within the limit; 0 when none.

    By bisection: the time must not fall as tokens grow.
    """
    if most_tokens < 1 or predict_ms(1) > limit_ms:
        return 0
    fits, beyond = 1, most_tokens + 1
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if predict_ms(middle) <= limit_ms:
            fits = middle
        else:
            beyond = middle
    return fits
