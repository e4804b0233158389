"""One step of an engine: what it computes, in the few numbers that its time depends on.

A step advances some requests, each by some tokens: a decode by one (more when it speculates), a prefill by a chunk of
its prompt. Every token takes part in the model's matrix products. Attention costs besides: a decode reads the whole
context before it, and a chunk of n tokens that starts behind `start` others attends to n*start + n(n+1)/2 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def attention_pairs(start_tokens: int, chunk_tokens: int) -> int:
    """Pairs of tokens that a chunk attends to, itself causally: n*start + n(n+1)/2."""
    return chunk_tokens * start_tokens + chunk_tokens * (chunk_tokens + 1) // 2


@dataclass(frozen=True, slots=True)
class Step:
    """What one step computes."""

    requests: int = 0
    tokens: int = 0
    """Of all requests."""
    prefills: int = 0
    """Requests in prefill, of all."""
    prefill_tokens: int = 0
    """Tokens of those, of all."""
    kv_tokens: int = 0
    """Context lengths of the decodes after this step, summed."""
    pairs: int = 0
    """Pairs of tokens that the prefills attend to, summed."""

    def plus_decode(self, context_tokens: int, tokens: int = 1) -> Step:
        """With one more decode, whose context is so long after this step."""
        return Step(
            self.requests + 1,
            self.tokens + tokens,
            self.prefills,
            self.prefill_tokens,
            self.kv_tokens + context_tokens,
            self.pairs,
        )

    def plus_chunk(self, start_tokens: int, chunk_tokens: int) -> Step:
        """With one more prefill that goes on from `start_tokens`."""
        return Step(
            self.requests + 1,
            self.tokens + chunk_tokens,
            self.prefills + 1,
            self.prefill_tokens + chunk_tokens,
            self.kv_tokens,
            self.pairs + attention_pairs(start_tokens, chunk_tokens),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Many steps as columns of equal length, with the time each took."""

    requests: Floats
    tokens: Floats
    prefills: Floats
    prefill_tokens: Floats
    kv_tokens: Floats
    pairs: Floats
    took_ms: Floats

    def __len__(self) -> int:
        return len(self.took_ms)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Self:
        """Those of a mask, of indices or of a slice."""
        return type(self)(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def at(self, index: int) -> Step:
        """One of them, without its time."""
        return Step(*(int(getattr(self, each.name)[index]) for each in fields(Step)))

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """Whether a step has prefills; one without is decode only."""
        return self.prefills > 0
