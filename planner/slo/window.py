"""The last N seconds of anything that can be merged: counts, attainments, sketches, maxima.

Time is cut into slots of span / slots seconds, counted from the caller's time zero. Values of one slot are merged as
they arrive, the slots are merged on reading, so memory is bounded by the number of slots whatever the traffic.

Invariant: a reading holds every value of the last `span_s` seconds, and none as old as `span_s` and one slot more.
Which of the two an age in between falls to depends on where the slot edges lie; more slots make this sharper.

The clock must be monotonic: a value from far ahead pushes everything else out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Generic, TypeVar

from planner.errors import UserError

V = TypeVar("V")


class WindowError(UserError):
    """A window without extent, or a time it cannot hold."""


@dataclass(frozen=True, slots=True)
class RollingWindow(Generic[V]):
    """A value: `add` gives a new window. `merge` must be associative, commutative, and leave its arguments unchanged.

    Attainment of the last half minute: `RollingWindow(30.0, 6, Attainment.__add__)`; the worst delay in it:
    `RollingWindow(30.0, 6, max)`. A mutable value, as a sketch, must not be changed once it was added, nor when read.

    Raises WindowError when span or slots are not positive.
    """

    span_s: float
    slots: int
    merge: Callable[[V, V], V]
    kept: tuple[tuple[int, V], ...] = ()
    """(slot number, merged values), ascending; at most slots + 1 of them, as the newest slot is not yet full."""

    def __post_init__(self) -> None:
        if not 0 < self.span_s < math.inf:
            raise WindowError(f"span_s: {self.span_s!r} must be a positive, finite number of seconds")
        if self.slots < 1:
            raise WindowError(f"slots: {self.slots!r} must be at least 1")

    def add(self, at_s: float, value: V) -> RollingWindow[V]:
        """The window with `value`, true at `at_s`, added. Values may come late, as long as their slot is kept.

        Raises WindowError when it is not: dropping the value, or not, is the caller's decision.
        """
        number = self._slot_number(at_s)
        newest = max(number, self.kept[-1][0]) if self.kept else number
        if number < newest - self.slots:
            raise WindowError(
                f"at_s: {at_s!r} lies before the {self.span_s!r} s kept, whose newest slot begins at "
                f"{newest * self.span_s / self.slots!r}; drop the value, or keep a longer span"
            )
        merged = {kept: held for kept, held in self.kept if kept >= newest - self.slots}
        merged[number] = self.merge(merged[number], value) if number in merged else value
        return replace(self, kept=tuple((slot, merged[slot]) for slot in sorted(merged)))

    def total(self, now_s: float) -> V | None:
        """All values of the last `span_s` seconds merged; None when there are none, which is not zero.

        A value ahead of `now_s` counts: at a slot's edge, the clock that stamped it may be slightly ahead.
        """
        oldest = self._slot_number(now_s) - self.slots
        values = [value for number, value in self.kept if number >= oldest]
        return reduce(self.merge, values) if values else None

    def _slot_number(self, at_s: float) -> int:
        if not math.isfinite(at_s):
            raise WindowError(f"at_s: {at_s!r} must be a finite time")
        return math.floor(at_s * self.slots / self.span_s)
