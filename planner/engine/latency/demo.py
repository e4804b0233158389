"""Steps that never ran, to try the tools without an engine: a known model, ordinary load, and noise."""

from __future__ import annotations

import numpy as np

from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.logs import Run
from planner.engine.latency.types import Seen
from planner.engine.step import Steps

TRUTH = LinearPhysical(
    step_ms=6.0, token_ms=0.03, request_ms=0.02, kv_token_ms=1e-4, pair_ms=5e-6, seen=Seen(steps={}, features={})
)
NOISE = 0.03
"""Standard deviation of ln(T / predicted)."""
_MIXED_SHARE = 0.4


def demo_run(steps: int = 4000, seed: int = 0) -> Run:
    """A run of so many steps, four in ten with a chunk; the same for the same seed."""
    random = np.random.default_rng(seed)
    requests = random.integers(1, 65, steps).astype(np.float64)
    kv_tokens = np.round(requests * random.uniform(100, 4000, steps))
    chunk = np.where(random.random(steps) < _MIXED_SHARE, np.round(2 ** random.uniform(4, 11, steps)), 0.0)
    start = np.round(random.uniform(0, 2000, steps))
    prefills = np.minimum(chunk, 1.0)
    pairs = chunk * start + chunk * (chunk + 1) / 2
    shape = Steps(requests + prefills, requests + chunk, prefills, chunk, kv_tokens, pairs, np.ones(steps))
    took_ms = TRUTH.predict_all_ms(shape) * np.exp(random.normal(0.0, NOISE, steps))
    return Run(
        name="demo",
        model=None,
        log="demo",
        end_s=np.cumsum(took_ms + 0.3) / 1000,
        after_idle=np.zeros(steps, dtype=bool),
        steps=Steps(shape.requests, shape.tokens, prefills, chunk, kv_tokens, pairs, took_ms),
    )
