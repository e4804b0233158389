"""The published form of step time: throughput that saturates in the batch and in its tokens.

    Thr(B,S) = P_max (1 - exp(-k_B B)) (1 - exp(-k_S S))
    T(B,S)   = tau_0 + (w_0 + w_1 S) / Thr + tau_B B + tau_S S            [ms]

B requests and S tokens, each divided by the median of what it was fitted on. Only the ratios w_0 / P_max and
w_1 / P_max enter: one of the eight parameters is redundant, so P_max of a fit says nothing by itself. The form knows no
context, and on decode alone, where S = B, its parameters cannot be told apart.

It falls where it should not: in B throughout, and in S at first when w_0 > 0. As published (`published_ms`) it is left
so; as used by the scheduler (`predict_ms`) the falls are levelled to what follows them, which makes it monotone:
W(S) = (w_0 + w_1 S) / (1 - exp(-k_S S)) is convex, and below its least W stands at that least; in B, which has a least
as well, B counts as no smaller than the B of that least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from planner.engine.latency.types import FitError, Seen, largest_within
from planner.engine.step import Floats, Step, Steps

_NEWTON_STEPS = 50
_ROUNDING = 1e-9
"""Least k_B b and k_S s: a step without requests or tokens would divide 0 by 0."""


def published_form(
    b: Floats,
    s: Floats,
    p_max: float,
    k_b: float,
    k_s: float,
    w_0: float,
    w_1: float,
    tau_0: float,
    tau_b: float,
    tau_s: float,
) -> Floats:
    """T(B,S), ms, of batches and tokens above zero that are divided by their medians already."""
    throughput = p_max * -np.expm1(-k_b * b) * -np.expm1(-k_s * s)
    time_ms: Floats = tau_0 + (w_0 + w_1 * s) / throughput + tau_b * b + tau_s * s
    return time_ms


@dataclass(frozen=True, slots=True)
class Saturation:
    """The published form with its eight parameters, and the two medians that they are relative to."""

    UNITS: ClassVar[Mapping[str, str]] = {
        "P_max": "tokens/ms",
        "k_B": "1/batch_median",
        "k_S": "1/tokens_median",
        "w_0": "tokens",
        "w_1": "tokens/tokens_median",
        "tau_0": "ms",
        "tau_B": "ms/batch_median",
        "tau_S": "ms/tokens_median",
        "batch_median": "requests",
        "tokens_median": "tokens",
    }

    p_max: float
    k_b: float
    k_s: float
    w_0: float
    w_1: float
    tau_0: float
    tau_b: float
    tau_s: float
    batch_median: float
    tokens_median: float
    seen: Seen
    _tokens_of_least: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("p_max", "k_b", "k_s", "batch_median", "tokens_median"):
            if not getattr(self, name) > 0:
                raise FitError(f"{name}: {getattr(self, name)} must be above zero; fit the model again")
        object.__setattr__(self, "_tokens_of_least", _tokens_of_least(self.k_s, self.w_0, self.w_1))

    @property
    def name(self) -> str:
        """As in files and settings."""
        return "saturation"

    @property
    def falls_to_tokens(self) -> float:
        """Up to how many tokens the form falls as tokens grow."""
        return self._tokens_of_least * self.tokens_median

    def published_ms(self, requests: Floats, tokens: Floats) -> Floats:
        """The form as published; requests and tokens must be above zero."""
        return published_form(
            requests / self.batch_median,
            tokens / self.tokens_median,
            *(self.p_max, self.k_b, self.k_s, self.w_0, self.w_1, self.tau_0, self.tau_b, self.tau_s),
        )

    def predict_ms(self, step: Step) -> float:
        """The time of one step, levelled."""
        return float(self._levelled_ms(np.float64(step.requests), np.float64(step.tokens)))

    def predict_all_ms(self, steps: Steps) -> Floats:
        """The time of each step, levelled."""
        return self._levelled_ms(steps.requests, steps.tokens)

    def largest_chunk(self, step: Step, start_tokens: int, most_tokens: int, limit_ms: float) -> int:
        """By bisection over the levelled form; where the chunk starts makes no difference to it."""
        return largest_within(
            lambda chunk: self.predict_ms(step.plus_chunk(start_tokens, chunk)), most_tokens, limit_ms
        )

    def parameters(self) -> Mapping[str, Any]:
        """Its numbers, named as published."""
        return {
            "P_max": self.p_max,
            "k_B": self.k_b,
            "k_S": self.k_s,
            "w_0": self.w_0,
            "w_1": self.w_1,
            "tau_0": self.tau_0,
            "tau_B": self.tau_b,
            "tau_S": self.tau_s,
            "batch_median": self.batch_median,
            "tokens_median": self.tokens_median,
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], seen: Seen) -> Self:
        """The model with those numbers, as `parameters` gives them.

        Raises FitError when a divisor is zero.
        """
        p_max, k_b, k_s, w_0, w_1, tau_0, tau_b, tau_s, batch, tokens = (parameters[name] for name in cls.UNITS)
        return cls(p_max, k_b, k_s, w_0, w_1, tau_0, tau_b, tau_s, batch, tokens, seen)

    def _levelled_ms(self, requests: Floats | np.float64, tokens: Floats | np.float64) -> Floats:
        b, s = requests / self.batch_median, tokens / self.tokens_median
        floor = self._tokens_of_least
        if math.isinf(floor):
            work = np.full_like(s, self.w_0 / self.p_max)
        else:
            held = np.maximum(s, max(floor, _ROUNDING / self.k_s))
            work = (self.w_0 + self.w_1 * held) / (self.p_max * -np.expm1(-self.k_s * held))
        if self.tau_b > 0:
            # Where work / (1 - exp(-k b)) + tau b is least: a quadratic in exp(-k b), whose roots are reciprocal.
            least = np.arccosh(1 + work * self.k_b / (2 * self.tau_b))
            b = np.maximum(b, np.maximum(least, _ROUNDING) / self.k_b)
            work = work / -np.expm1(-self.k_b * b)
        time_ms: Floats = self.tau_0 + work + self.tau_b * b + self.tau_s * s
        return time_ms


def _tokens_of_least(k_s: float, w_0: float, w_1: float) -> float:
    """Where (w_0 + w_1 s) / (1 - exp(-k_S s)) is least: exp(x) - 1 - x = k_S w_0 / w_1, with x = k_S s."""
    if w_1 == 0:
        return math.inf if w_0 > 0 else 0.0
    wanted = k_s * w_0 / w_1
    if wanted == 0:
        return 0.0
    # From above the root, where Newton's method cannot overshoot: exp(x) - 1 - x is convex and at least x*x / 2.
    x = min(math.sqrt(2 * wanted), math.log1p(2 * wanted) + 1)
    for _ in range(_NEWTON_STEPS):
        over = math.expm1(x) - x - wanted
        if over <= 0 or (nearer := x - over / math.expm1(x)) >= x:
            break
        x = nearer
    return x / k_s
