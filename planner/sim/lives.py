"""How long replicas take to come, and what befalls them: starts that spread, drag or fail, crashes, killed drains.

Units: seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from planner.errors import UserError

FIRST_BACK_OFF_S = 10.0
LONGEST_BACK_OFF_S = 300.0
"""Before a failed start is tried again; doubling from the first, as the kubelet restarts containers."""


@dataclass(frozen=True, slots=True)
class Lives:
    """The lot of replicas.

    Raises UserError for a time below 0 or a share that is none.
    """

    startup_s: float
    """Mean time from placement to Ready, of a start that neither drags nor fails."""
    startup_cv: float = 0.0
    """Its coefficient of variation; gamma distributed. 0: always the same."""
    slow_start_share: float = 0.0
    slow_start_factor: float = 4.0
    """A slow start takes so many times as long."""
    failed_start_share: float = 0.0
    """Of the starts that fail at their end, and begin again after a back-off. The GPUs stay held."""
    crash_every_s: float = math.inf
    """Mean time between two crashes of a Ready replica, exponentially distributed. It starts again on its GPUs."""
    grace_s: float = math.inf
    """A draining replica is killed after this."""

    def __post_init__(self) -> None:
        for name, least, value in (
            ("startup_s", 0.0, self.startup_s),
            ("startup_cv", 0.0, self.startup_cv),
            ("slow_start_factor", 1.0, self.slow_start_factor),
            ("grace_s", 0.0, self.grace_s),
        ):
            if not value >= least:
                raise UserError(f"{name}: {value!r} must be {least:g} or more")
        if math.isinf(self.startup_s):
            raise UserError(f"startup_s: {self.startup_s!r} must be a finite number of seconds")
        if not self.crash_every_s > 0:
            raise UserError(f"crash_every_s: {self.crash_every_s!r} must be above 0; leave it out for no crashes")
        if not 0 <= self.slow_start_share <= 1:
            raise UserError(f"slow_start_share: {self.slow_start_share!r} must lie from 0 to 1")
        if not 0 <= self.failed_start_share < 1:
            raise UserError(
                f"failed_start_share: {self.failed_start_share!r} must lie from 0 to below 1; at 1 nothing ever starts"
            )

    def start_s(self, random: Random) -> float:
        """From placement to Ready, failed starts and the waits after them included."""
        total_s, back_off_s = self._one_start_s(random), FIRST_BACK_OFF_S
        while self.failed_start_share and random.random() < self.failed_start_share:
            total_s += back_off_s + self._one_start_s(random)
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)
        return total_s

    def crash_after_s(self, random: Random) -> float | None:
        """From Ready to the next crash; None: never."""
        return None if math.isinf(self.crash_every_s) else random.expovariate(1 / self.crash_every_s)

    def _one_start_s(self, random: Random) -> float:
        start_s = self.startup_s
        if self.startup_cv and start_s:
            shape = 1 / self.startup_cv**2
            start_s = random.gammavariate(shape, start_s / shape)
        if self.slow_start_share and random.random() < self.slow_start_share:
            start_s *= self.slow_start_factor
        return start_s
