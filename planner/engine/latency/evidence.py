"""What recorded steps can tell, and what they cannot, before anything is fitted.

Some lacks leave a model that is sound for less (decode only: no chunks); others leave none (one batch size: what a
token, a request and a step cost cannot be told apart).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.engine.latency.coverage import FEWEST as FEWEST_OF_PHASE
from planner.engine.latency.linear import condition_of
from planner.engine.latency.types import PHASES, Phase, Range, Seen, phase_masks
from planner.engine.step import Steps

FEWEST = 50
"""Steps for any model: ten for each coefficient of the default."""
_ILL_CONDITIONED = 1000.0
_FEW_LARGE = 20
_LARGE_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that the data do not hold."""

    level: Literal["problem", "remark"]
    """problem: no model can be fitted; remark: one can, for less."""
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the steps hold."""

    seen: Seen
    took_ms: Mapping[Phase, Range]
    """Of the phases that there are."""
    condition: float
    """Of the default model's columns: 1 is best, thousands leave its coefficients open."""
    lacks: tuple[Lack, ...]

    @property
    def supports_a_model(self) -> bool:
        """Whether no lack is a problem."""
        return all(lack.level != "problem" for lack in self.lacks)


def evidence(steps: Steps) -> Evidence:
    """What these steps, already screened, can tell."""
    seen = Seen.of(steps)
    took_ms = {phase: Range.of(steps.took_ms[mask]) for phase, mask in phase_masks(steps).items() if mask.any()}
    condition = condition_of(steps)
    return Evidence(seen, took_ms, condition, _lacks(steps, seen, condition))


def _lacks(steps: Steps, seen: Seen, condition: float) -> tuple[Lack, ...]:
    if len(steps) < FEWEST:
        return (Lack("problem", f"{len(steps)} steps, {FEWEST} needed", "record for longer"),)
    lacks = []
    if len(np.unique(steps.requests)) == 1 and len(np.unique(steps.tokens)) == 1:
        size = f"one batch size ({steps.requests[0]:g} requests, {steps.tokens[0]:g} tokens)"
        text = f"{size}: the cost of a step, of a request and of a token cannot be told apart"
        lacks.append(Lack("problem", text, "record under changing load"))
    elif len(np.unique(steps.requests)) == 1:
        text = f"one batch size ({steps.requests[0]:g} requests): others are outside of what was seen"
        lacks.append(Lack("remark", text, "record under changing load"))
    lacks.extend(_lack_of(phase, seen.steps[phase]) for phase in PHASES if seen.steps[phase] < FEWEST_OF_PHASE)
    if seen.steps["mixed"] >= FEWEST_OF_PHASE and condition > _ILL_CONDITIONED:
        text = f"sizes move together (condition {condition:.0f}): costs cannot be told apart well"
        lacks.append(Lack("remark", text, "record under changing load, with several token budgets"))
    return tuple(lacks)


def _lack_of(phase: Phase, count: int) -> Lack:
    if phase == "mixed":
        text = f"decode only ({count} steps with prefill): the data cannot support chunk decisions"
        return Lack("remark", text, "record while prompts arrive")
    text = f"prefill only ({count} decode-only steps): the data cannot support decisions on decode steps"
    return Lack("remark", text, "record while answers are written")
