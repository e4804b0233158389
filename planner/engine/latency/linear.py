"""Step time as a sum of what the step computes, every coefficient physical and none below zero.

    T = tau + c_token S + c_request B + c_kv KV + c_pair A            [ms]

S tokens, B requests, KV the decodes' context lengths summed, A the pairs of tokens that prefills attend to. Compute
grows with S and A, reading the cache with KV; what remains per step and per request is the engine's own. So it holds
beyond what it was fitted on, where a form in S and B alone lacks the context.

Fitted by least squares of T_predicted / T - 1. So an error of a tenth counts the same in a step of 5 ms and in one of
500, and a step that was held up counts as an error of 1 at most: none need be left out for its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from planner.engine.latency.types import FitError, Seen
from planner.engine.nnls import condition, nnls
from planner.engine.step import Floats, Step, Steps


@dataclass(frozen=True, slots=True)
class LinearPhysical:
    """The default model."""

    UNITS: ClassVar[Mapping[str, str]] = {
        "step_ms": "ms",
        "ms_per_token": "ms/token",
        "ms_per_request": "ms/request",
        "ms_per_kv_token": "ms/token",
        "ms_per_pair": "ms/pair",
    }

    step_ms: float
    token_ms: float
    request_ms: float
    kv_token_ms: float
    pair_ms: float
    seen: Seen

    @property
    def name(self) -> str:
        """As in files and settings."""
        return "linear-physical"

    def predict_ms(self, step: Step) -> float:
        """The time of one step."""
        return (
            self.step_ms
            + self.token_ms * step.tokens
            + self.request_ms * step.requests
            + self.kv_token_ms * step.kv_tokens
            + self.pair_ms * step.pairs
        )

    def predict_all_ms(self, steps: Steps) -> Floats:
        """The time of each step."""
        return (
            self.step_ms
            + self.token_ms * steps.tokens
            + self.request_ms * steps.requests
            + self.kv_token_ms * steps.kv_tokens
            + self.pair_ms * steps.pairs
        )

    def largest_chunk(self, step: Step, start_tokens: int, most_tokens: int, limit_ms: float) -> int:
        """The root of a quadratic in the chunk's length n, whose pairs are n*start + n(n+1)/2."""
        left_ms = limit_ms - self.predict_ms(step) - self.request_ms
        if left_ms < 0 or most_tokens < 1:
            return 0
        square = self.pair_ms / 2
        linear = self.token_ms + self.pair_ms * (start_tokens + 0.5)
        if linear <= 0:
            return most_tokens
        # The form that does not cancel when the square is small.
        root = 2 * left_ms / (linear + math.sqrt(linear * linear + 4 * square * left_ms))
        chunk = most_tokens if root >= most_tokens else math.floor(root)
        # Rounding may leave the last token beyond the limit.
        while chunk > 0 and self.predict_ms(step.plus_chunk(start_tokens, chunk)) > limit_ms:
            chunk -= 1
        return chunk

    def parameters(self) -> Mapping[str, Any]:
        """Its numbers, each with its unit."""
        return {
            "step_ms": self.step_ms,
            "ms_per_token": self.token_ms,
            "ms_per_request": self.request_ms,
            "ms_per_kv_token": self.kv_token_ms,
            "ms_per_pair": self.pair_ms,
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], seen: Seen) -> Self:
        """The model with those numbers, as `parameters` gives them."""
        step_ms, token_ms, request_ms, kv_token_ms, pair_ms = (parameters[name] for name in cls.UNITS)
        return cls(step_ms, token_ms, request_ms, kv_token_ms, pair_ms, seen)


def fit_linear(steps: Steps) -> LinearPhysical:
    """The model that errs least on these steps, each error relative to the step's time.

    Raises FitError when there is no step.
    """
    if not len(steps):
        raise FitError("steps: there are none; record some")
    step_ms, token_ms, request_ms, kv_token_ms, pair_ms = nnls(_weighted(steps), np.ones(len(steps))).tolist()
    return LinearPhysical(step_ms, token_ms, request_ms, kv_token_ms, pair_ms, Seen.of(steps))


def condition_of(steps: Steps) -> float:
    """How well these steps tell the coefficients apart: 1 is best, some tens are good, thousands are not.

    Decode alone, where S = B, has one beyond all use, infinite but for rounding.
    """
    return condition(_weighted(steps)) if len(steps) else math.inf


def _weighted(steps: Steps) -> Floats:
    columns = (np.ones(len(steps)), steps.tokens, steps.requests, steps.kv_tokens, steps.pairs)
    return np.column_stack(columns) / steps.took_ms[:, np.newaxis]
