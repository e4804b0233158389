"""Step time under a memory roof, with the tokens padded as GPU graphs are. Unverified on a GPU.

    T = max(c_token pad(S), m_weights) + tau + c_request B + c_kv KV + c_pair A            [ms]

A step reads all weights once (m_weights), whatever it computes; up to the token count where computing takes as long
(the knee, m_weights / c_token) further tokens are free. A captured graph runs a fixed number of tokens, so a step is
padded to the next captured size; a step above the largest is not.

Symbols as in `linear`. For a given knee the form is linear in its coefficients, so the fit tries knees along a grid.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from planner.engine.latency.types import FitError, Seen, largest_within
from planner.engine.nnls import nnls
from planner.engine.step import Floats, Step, Steps

UNVERIFIED = "roofline is unverified on a GPU"
_KNEES_TOKENS = (0.0, *(round(8 * 2 ** (i / 2)) for i in range(17)))
"""0, then 8 to 2,048, two to each doubling."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """For GPUs; with no knee and no graphs it is `LinearPhysical`."""

    UNITS: ClassVar[Mapping[str, str]] = {
        "step_ms": "ms",
        "ms_per_token": "ms/token",
        "weights_ms": "ms",
        "ms_per_request": "ms/request",
        "ms_per_kv_token": "ms/token",
        "ms_per_pair": "ms/pair",
        "graph_sizes": "tokens[]",
    }

    step_ms: float
    token_ms: float
    weights_ms: float
    request_ms: float
    kv_token_ms: float
    pair_ms: float
    graph_sizes: tuple[int, ...]
    """Captured token counts, ascending, as vLLM's cudagraph_capture_sizes."""
    seen: Seen

    @property
    def name(self) -> str:
        """As in files and settings."""
        return "roofline"

    def predict_ms(self, step: Step) -> float:
        """The time of one step."""
        at = bisect_left(self.graph_sizes, step.tokens)
        padded = self.graph_sizes[at] if at < len(self.graph_sizes) else step.tokens
        return (
            max(self.token_ms * padded, self.weights_ms)
            + self.step_ms
            + self.request_ms * step.requests
            + self.kv_token_ms * step.kv_tokens
            + self.pair_ms * step.pairs
        )

    def predict_all_ms(self, steps: Steps) -> Floats:
        """The time of each step."""
        roof: Floats = np.maximum(self.token_ms * _padded(steps.tokens, self.graph_sizes), self.weights_ms)
        return (
            roof
            + self.step_ms
            + self.request_ms * steps.requests
            + self.kv_token_ms * steps.kv_tokens
            + self.pair_ms * steps.pairs
        )

    def largest_chunk(self, step: Step, start_tokens: int, most_tokens: int, limit_ms: float) -> int:
        """By bisection, for the padding has steps."""
        return largest_within(
            lambda chunk: self.predict_ms(step.plus_chunk(start_tokens, chunk)), most_tokens, limit_ms
        )

    def parameters(self) -> Mapping[str, Any]:
        """Its numbers, each with its unit."""
        return {
            "step_ms": self.step_ms,
            "ms_per_token": self.token_ms,
            "weights_ms": self.weights_ms,
            "ms_per_request": self.request_ms,
            "ms_per_kv_token": self.kv_token_ms,
            "ms_per_pair": self.pair_ms,
            "graph_sizes": list(self.graph_sizes),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], seen: Seen) -> Self:
        """The model with those numbers, as `parameters` gives them."""
        *numbers, sizes = (parameters[name] for name in cls.UNITS)
        step_ms, token_ms, weights_ms, request_ms, kv_token_ms, pair_ms = numbers
        return cls(step_ms, token_ms, weights_ms, request_ms, kv_token_ms, pair_ms, tuple(sizes), seen)


def fit_roofline(steps: Steps, graph_sizes: tuple[int, ...] = ()) -> Roofline:
    """The model that errs least on these steps, each error relative to the step's time.

    Raises FitError when there is no step.
    """
    if not len(steps):
        raise FitError("steps: there are none; record some")
    padded = _padded(steps.tokens, graph_sizes)
    best: tuple[float, float, Floats] | None = None
    for knee in _KNEES_TOKENS:
        held = np.maximum(padded, knee)
        columns = np.column_stack((np.ones(len(steps)), held, steps.requests, steps.kv_tokens, steps.pairs))
        columns /= steps.took_ms[:, np.newaxis]
        found = nnls(columns, np.ones(len(steps)))
        error = float(np.sum((columns @ found - 1) ** 2))
        if best is None or error < best[0]:
            best = (error, knee, found)
    assert best is not None
    _, knee, found = best
    step_ms, token_ms, request_ms, kv_token_ms, pair_ms = found.tolist()
    return Roofline(step_ms, token_ms, token_ms * knee, request_ms, kv_token_ms, pair_ms, graph_sizes, Seen.of(steps))


def _padded(tokens: Floats, graph_sizes: tuple[int, ...]) -> Floats:
    sizes = np.asarray(graph_sizes, dtype=np.float64)
    at = np.searchsorted(sizes, tokens)
    return np.where(at < len(sizes), np.append(sizes, 0.0)[at], tokens)
