"""How long the prompts of a traffic keep a replica busy.

Input lengths are taken as lognormal with the demand's mean and squared coefficient of variation: request traces are
right-skewed with a tail of that kind. The distribution is represented by equally likely lengths, the midpoints of its
quantiles, rescaled so that their mean is the demand's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from planner.scaling.profile import PrefillProfile
from planner.scaling.types import Demand

_POINTS = 64
_MIDPOINTS = ndtri((np.arange(_POINTS) + 0.5) / _POINTS)


@dataclass(frozen=True, slots=True)
class PromptService:
    """Service times of equally likely prompts, in seconds, with their mean and variability."""

    isl_tokens: npt.NDArray[np.float64]
    service_s: npt.NDArray[np.float64]
    mean_s: float
    cv2: float
    """Squared coefficient of variation of the service time."""

    @classmethod
    def of(cls, isl_tokens: npt.NDArray[np.float64], service_s: npt.NDArray[np.float64]) -> Self:
        """Prompts of these lengths and service times."""
        mean_s = float(service_s.mean())
        return cls(isl_tokens, service_s, mean_s, float(service_s.var()) / mean_s**2)

    def share_within(self, target_s: float) -> float:
        """Share of the prompts whose service alone fits the target."""
        return float((self.service_s <= target_s).mean())


def prompt_lengths(mean_tokens: float, cv2: float) -> npt.NDArray[np.float64]:
    """Equally likely input lengths of this mean and squared coefficient of variation, ascending."""
    if cv2 <= 0:
        return np.full(1, mean_tokens)
    lengths = np.exp(math.sqrt(math.log1p(cv2)) * _MIDPOINTS)
    return np.asarray(lengths * (mean_tokens / lengths.mean()), dtype=np.float64)


def prompt_service(demand: Demand, profile: PrefillProfile, factor: float) -> PromptService:
    """Prefill times of the demand's prompts: TTFT(isl) of the profile times the correction factor."""
    lengths = prompt_lengths(demand.isl_tokens, demand.isl_cv2)
    return PromptService.of(lengths, profile.ttft_s_many(lengths) * factor)


def beyond_profile(lengths: npt.NDArray[np.float64], profile: PrefillProfile) -> str | None:
    """What share of the prompts the profile never measured, in words; None when it covers all."""
    shortest, longest = profile.isl_range
    outside = float(((lengths < shortest) | (lengths > longest)).mean())
    if outside == 0:
        return None
    return f"{outside:.0%} of the prompts lie outside the profile's measured input lengths; timed as at its edge"
