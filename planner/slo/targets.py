"""The service-level agreement an operator writes, and nothing else.

Users speak milliseconds (`ttft_ms`, `itl_ms`); the core computes in seconds (`ttft_s`, `itl_s`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.errors import UserError

MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What must hold, for which traffic, and for what share of the requests.

    Raises UserError, naming field, value and remedy, when a target cannot mean anything.
    """

    isl_tokens: float
    """Mean input length the operator expects; used until traffic has shown its own."""
    osl_tokens: float
    """Mean output length the operator expects; used until traffic has shown its own."""
    ttft_ms: float
    """Time to first token, arrival to first token, in ms."""
    itl_ms: float
    """Inter-token latency after the first token, in ms."""
    objective: float = 0.95
    """Share of requests that must meet both targets, in (0, 1)."""

    def __post_init__(self) -> None:
        for name in ("isl_tokens", "osl_tokens", "ttft_ms", "itl_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name}: {value!r} must be a positive, finite number; write what the agreement says")
        if not 0 < self.objective < 1:
            raise UserError(
                f"objective: {self.objective!r} must lie between 0 and 1, both excluded; "
                "write 0.95 for 95 % of requests"
            )

    @property
    def ttft_s(self) -> float:
        """Time to first token, in seconds."""
        return self.ttft_ms / MS_PER_S

    @property
    def itl_s(self) -> float:
        """Inter-token latency, in seconds."""
        return self.itl_ms / MS_PER_S

    @property
    def context_tokens(self) -> float:
        """Mean context of a decoding request, half its output already written: isl + osl/2."""
        return self.isl_tokens + self.osl_tokens / 2
