"""How long a prompt takes on an idle replica.

Between measured lengths: a shape-preserving curve through the points, so neither the floor of short prompts nor the
quadratic attention of long ones is lost. Outside, never silently (`covers`):
- shorter than measured: the time of the shortest prompt, because what remains there is the fixed cost of a step;
- longer: the throughput of the longest prompt, so time grows in proportion to length. Holding the time instead would
  promise that an 85,000-token prompt is as quick as a 16,000-token one. Attention makes the truth slower still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from planner.scaling.profile.curves import Array, described, frozen, grid_over, repaired, resampled
from planner.scaling.profile.points import MS_PER_S, PrefillPoints


@dataclass(frozen=True, slots=True, eq=False)
class PrefillProfile:
    """Prefill on one replica of `gpus` GPUs. TTFT is non-decreasing in the prompt's length."""

    gpus: int
    points: PrefillPoints
    """As filed, before repair."""
    warnings: tuple[str, ...]
    _isl: Array
    _ttft_s: Array
    _share: Array
    """Filed throughput over the throughput that the repaired time implies; 1 where the two agree."""

    @classmethod
    def fit(cls, points: PrefillPoints, gpus: int) -> Self:
        """Repair and interpolate the points.

        Raises ProfileError when a TTFT falls too far with a longer prompt to be noise.
        """
        isl = np.array(points.isl_tokens)
        ttft_ms, moved = repaired(np.array(points.ttft_ms), "prefill: TTFT", lambda i: f"isl {isl[i]:g}")
        warnings = (f"prefill: TTFT falls as prompts grow; levelled at {described(moved)}",) if moved else ()
        share = np.array(points.tokens_per_s_per_gpu) * gpus * ttft_ms / MS_PER_S / isl
        grid = grid_over(isl[0], isl[-1], isl)
        return cls(
            gpus=gpus,
            points=points,
            warnings=warnings,
            _isl=frozen(grid),
            _ttft_s=frozen(resampled(isl, ttft_ms / MS_PER_S, grid)),
            _share=frozen(np.interp(grid, isl, share)),
        )

    @property
    def isl_range(self) -> tuple[float, float]:
        """Shortest and longest prompt measured, tokens."""
        return self.points.isl_tokens[0], self.points.isl_tokens[-1]

    def covers(self, isl_tokens: float) -> bool:
        """Whether the length lies within what was measured."""
        lowest, highest = self.isl_range
        return lowest <= isl_tokens <= highest

    def ttft_s(self, isl_tokens: float) -> float:
        """Seconds from the start of prefill to the first token, for a positive prompt length.

        Raises ValueError for a length that is not positive and finite.
        """
        _require_length(isl_tokens)
        beyond = max(1.0, isl_tokens / self.isl_range[1])
        return float(np.interp(isl_tokens, self._isl, self._ttft_s)) * beyond

    def ttft_s_many(self, isl_tokens: Array) -> Array:
        """`ttft_s` of many lengths at once; lengths must be positive and finite."""
        beyond = np.maximum(1.0, isl_tokens / self.isl_range[1])
        return np.asarray(np.interp(isl_tokens, self._isl, self._ttft_s) * beyond, dtype=np.float64)

    def tokens_per_s_per_gpu(self, isl_tokens: float) -> float:
        """Prompt tokens per second and GPU, prompts of this length back to back.

        isl / (TTFT * gpus), times the filed share where a file claims more (several attention ranks) or less.
        Raises ValueError for a length that is not positive and finite.
        """
        share = float(np.interp(isl_tokens, self._isl, self._share))
        return share * isl_tokens / (self.ttft_s(isl_tokens) * self.gpus)


def _require_length(isl_tokens: float) -> None:
    if not (math.isfinite(isl_tokens) and isl_tokens > 0):
        raise ValueError(f"isl_tokens: {isl_tokens!r} must be a positive, finite number of tokens")
