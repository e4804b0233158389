"""The share of requests that keep their targets, and how sure one may be of it.

Counts, not rates, so that attainments of processes, pods and time slots add up exactly. `missed` holds requests still
in flight that are past their target already (see `lifecycle.verdict`); `open` holds those of which nothing is known
yet. Open requests are carried for the reader and enter neither the share nor its bounds.

`open` is a stock and the other two are flows: over a window, add up the verdicts of requests that have ended, and add
those of the requests in flight once, when reading.

Limit: the bounds take requests for independent. Those of one overloaded minute wait in the same queue and miss
together, so with few such episodes in the counts the true uncertainty is larger than stated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

from planner.errors import UserError
from planner.slo.lifecycle import Verdict

Standing = Literal["met", "violated", "undecided"]
"""How an objective stands: surely kept, surely broken, or within what chance explains."""


class AttainmentError(UserError):
    """Counts, a confidence or an objective that cannot be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval that holds the true share with the stated confidence."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Attainment:
    """Requests counted by verdict. Raises AttainmentError on a negative count."""

    met: int = 0
    missed: int = 0
    open: int = 0

    def __post_init__(self) -> None:
        for name in ("met", "missed", "open"):
            if getattr(self, name) < 0:
                raise AttainmentError(f"{name}: {getattr(self, name)!r} must not be negative")

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Attainment:
        """Count verdicts."""
        counts = Counter(verdicts)
        return cls(met=counts["met"], missed=counts["missed"], open=counts["open"])

    def __add__(self, other: Attainment) -> Attainment:
        return Attainment(self.met + other.met, self.missed + other.missed, self.open + other.open)

    @property
    def judged(self) -> int:
        """Requests with a verdict."""
        return self.met + self.missed

    @property
    def share(self) -> float | None:
        """Met over judged; None when nothing is judged, which is not zero."""
        return self.met / self.judged if self.judged else None

    def bounds(self, confidence: float = 0.95) -> Bounds:
        """Wilson's score interval, two-sided; 0 to 1 when nothing is judged.

        It stays within 0 and 1 and covers well for few requests and for shares near 1, where the interval
        share +- z sqrt(share (1 - share) / n) fails. Sources: Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212;
        recommended in Brown, Cai, DasGupta, Statistical Science 16 (2001) 101-133.
        """
        n = self.judged
        z = _two_sided_z(confidence)
        if n == 0:
            return Bounds(0.0, 1.0)
        centre = (self.met + z * z / 2) / (n + z * z)
        half_width = z * math.sqrt(self.met * self.missed / n + z * z / 4) / (n + z * z)
        return Bounds(
            lower=max(0.0, centre - half_width) if self.met else 0.0,
            upper=min(1.0, centre + half_width) if self.missed else 1.0,
        )

    def standing(self, objective: float, confidence: float = 0.95) -> Standing:
        """How the objective stands: `met` when even the lower bound reaches it, `violated` when not even the upper.

        The confidence is two-sided, so at 0.95 each of the two answers is wrong in at most about 2.5 % of cases.
        """
        if not 0 < objective < 1:
            raise AttainmentError(f"objective: {objective!r} must lie between 0 and 1, both excluded; write 0.95")
        bounds = self.bounds(confidence)
        if bounds.lower >= objective:
            return "met"
        return "violated" if bounds.upper < objective else "undecided"


@lru_cache(maxsize=16)
def _two_sided_z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise AttainmentError(f"confidence: {confidence!r} must lie between 0 and 1, both excluded; write 0.95")
    return NormalDist().inv_cdf((1 + confidence) / 2)
