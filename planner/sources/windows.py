"""A recording in the planner's own intervals: what its metrics would have said at each tick.

Rates are means over time, lengths and latencies over requests, gauges what they were last. A window of which a part is
unknown has no mean: half a window is no measurement of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from planner.scaling.types import Absent, Role, Sample, Sampled
from planner.sources.recorded import Recording, RecordingError, Span

_ROUNDING = 1e-6
"""Share of a window that sums of floating-point times may lack."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time between two ticks, s, and how many seconds of it each row covers."""

    start_s: float
    end_s: float
    parts: tuple[tuple[float, Span], ...]
    quantities: frozenset[str]
    """What the recording has a column for."""

    @property
    def length_s(self) -> float:
        """Between the two ticks."""
        return self.end_s - self.start_s

    def rate(self) -> Sampled:
        """Arrivals per second, the mean over time."""
        total = 0.0
        for seconds, span in self.parts:
            rate_per_s = span.values["rate_per_s"]
            if rate_per_s is None:
                return Absent("blank in the recording")
            total += seconds * rate_per_s
        return Absent("no row in the recording") if self._gap() else Sample(total / self.length_s, self.end_s)

    def mean(self, quantity: str) -> Sampled:
        """A length or a latency, the mean over requests."""
        if quantity not in self.quantities:
            return Absent(f"the recording has no column of {quantity}")
        rate = self.rate()
        if isinstance(rate, Absent):
            return Absent(f"its requests: {rate.cause}")
        if rate.value == 0:
            return Absent("no request in the window")
        total = requests = 0.0
        for seconds, span in self.parts:
            weight = seconds * (span.values["rate_per_s"] or 0.0)
            value = span.values[quantity]
            if weight > 0 and value is None:
                return Absent("blank in the recording")
            total += weight * (value or 0.0)
            requests += weight
        return Sample(total / requests, self.end_s)

    def isl_cv2(self) -> Sampled:
        """Of all the window's requests: rows of different means add to the variation within each."""
        mean, within = self.mean("isl_tokens"), self.mean("isl_cv2")
        if isinstance(within, Absent):
            return within
        if isinstance(mean, Absent) or mean.value == 0:
            return Absent("the mean input length is unknown")
        square = requests = 0.0
        for seconds, span in self.parts:
            weight = seconds * (span.values["rate_per_s"] or 0.0)
            square += weight * (1 + (span.values["isl_cv2"] or 0.0)) * (span.values["isl_tokens"] or 0.0) ** 2
            requests += weight
        return Sample(max(0.0, square / requests / mean.value**2 - 1), self.end_s)

    def gauge(self, role: Role, name: str) -> Sampled:
        """What stood there at the window's end."""
        quantity = f"{role}_{name}"
        if quantity not in self.quantities:
            return Absent(f"the recording has no column {quantity}")
        if not self.parts or self.parts[-1][1].end_s < self.end_s - self.length_s * _ROUNDING:
            return Absent("no row in the recording")
        value = self.parts[-1][1].values[quantity]
        return Absent("blank in the recording") if value is None else Sample(value, self.end_s)

    def _gap(self) -> bool:
        return sum(seconds for seconds, _ in self.parts) < self.length_s * (1 - _ROUNDING)


def windows(recording: Recording, interval_s: float, from_s: float, to_s: float) -> Iterator[Window]:
    """The whole windows of `interval_s` between `from_s` and `to_s`, on a grid from the recording's start.

    Raises RecordingError when there is none.
    """
    index = max(0, math.ceil(from_s / interval_s - _ROUNDING))
    end_s = min(to_s, recording.end_s)
    if (index + 1) * interval_s > end_s + interval_s * _ROUNDING:
        raise RecordingError(
            f"{recording.name}: {from_s:g} to {end_s:g} s holds no whole interval of {interval_s:g} s; widen the slice"
        )
    spans, first = recording.spans, 0
    while (index + 1) * interval_s <= end_s + interval_s * _ROUNDING:
        begin_s, until_s = index * interval_s, (index + 1) * interval_s
        while first < len(spans) and spans[first].end_s <= begin_s:
            first += 1
        yield Window(begin_s, until_s, _parts(spans, first, begin_s, until_s), recording.quantities)
        index += 1


def _parts(spans: tuple[Span, ...], first: int, begin_s: float, until_s: float) -> tuple[tuple[float, Span], ...]:
    parts = []
    # What overlaps by rounding alone is a neighbour, whose blank cell must not blank this window.
    least_s = (until_s - begin_s) * _ROUNDING
    for i in range(first, len(spans)):
        span = spans[i]
        if span.start_s >= until_s:
            break
        seconds = min(span.end_s, until_s) - max(span.start_s, begin_s)
        if seconds > least_s:
            parts.append((seconds, span))
    return tuple(parts)
