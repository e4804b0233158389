"""How a load's rate moves over time: ramps, steps, days, weeks, bursts, random swings.

A shape is a stream of stretches, back to back from 0 to `duration_s`, each with its rate in requests/s. Curves are cut
into cells that carry the curve's exact mean, so that a shape's integral is the curve's. Random shapes are the same for
the same seed. Every function raises LoadError at once, not when iterated, for a parameter that makes no load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random

from planner.errors import UserError
from planner.sim.loads import Stretch

CELLS = 1440
"""Cells of a ramp or of a period: minutes, where the period is a day."""

DAY_S = 86_400.0


class LoadError(UserError):
    """A load that cannot be made; the message names parameter, value and remedy."""


def positive(name: str, value: float) -> None:
    """Raise LoadError unless `value` is above 0 and finite."""
    if not (math.isfinite(value) and value > 0):
        raise LoadError(f"{name}: {value!r} must be a finite number above 0")


def constant(duration_s: float, rate_per_s: float) -> Iterator[Stretch]:
    """One rate throughout."""
    positive("duration", duration_s)
    positive("rate", rate_per_s)
    return iter([Stretch(0.0, duration_s, rate_per_s)])


def ramp(duration_s: float, rate_per_s: float, peak_per_s: float) -> Iterator[Stretch]:
    """Straight from `rate_per_s` to `peak_per_s`, which may be the lower one."""
    positive("duration", duration_s)
    _rates(("rate", rate_per_s), ("peak", peak_per_s))
    slope = (peak_per_s - rate_per_s) / duration_s
    return (
        Stretch(start_s, end_s, rate_per_s + slope * (start_s + end_s) / 2)
        for start_s, end_s in _cells(duration_s, duration_s / CELLS)
    )


def steps(duration_s: float, rates_per_s: Sequence[float]) -> Iterator[Stretch]:
    """One rate after the other, each for an equal share of the duration."""
    positive("duration", duration_s)
    return day_shape(duration_s, rates_per_s, duration_s)


def diurnal(duration_s: float, rate_per_s: float, peak_per_s: float, period_s: float = DAY_S) -> Iterator[Stretch]:
    """A sine from `rate_per_s` at 0 to `peak_per_s` half a period later, and back."""
    positive("duration", duration_s)
    positive("period", period_s)
    _rising(rate_per_s, peak_per_s)
    middle, swing, turn = (peak_per_s + rate_per_s) / 2, (peak_per_s - rate_per_s) / 2, math.tau / period_s

    def mean(start_s: float, end_s: float) -> float:
        area = (math.sin(turn * end_s) - math.sin(turn * start_s)) / turn
        # Rounding may leave a trough of 0 just below it.
        return max(0.0, middle - swing * area / (end_s - start_s))

    return (Stretch(start_s, end_s, mean(start_s, end_s)) for start_s, end_s in _cells(duration_s, period_s / CELLS))


def day_shape(duration_s: float, rates_per_s: Sequence[float], period_s: float = DAY_S) -> Iterator[Stretch]:
    """Rates that each hold for an equal share of the period, over and over."""
    positive("duration", duration_s)
    positive("period", period_s)
    _rates(*(("rates", rate_per_s) for rate_per_s in rates_per_s))
    cells = _cells(duration_s, period_s / len(rates_per_s))
    return (
        Stretch(start_s, end_s, rates_per_s[index % len(rates_per_s)]) for index, (start_s, end_s) in enumerate(cells)
    )


def weekly(days: Iterator[Stretch], weekend: float, period_s: float = DAY_S) -> Iterator[Stretch]:
    """`days`, with the sixth and seventh of every seven at `weekend` times their rate; time 0 is a Monday's start."""
    if not (math.isfinite(weekend) and weekend >= 0):
        raise LoadError(f"weekend: {weekend!r} must be 0 or more; write 0.3 for three tenths of a weekday")
    positive("period", period_s)

    def factor(stretch: Stretch) -> float:
        # The middle, because rounding may put a start on either side of midnight.
        return weekend if int((stretch.start_s + stretch.end_s) / 2 / period_s) % 7 >= 5 else 1.0

    return (stretch._replace(rate_per_s=stretch.rate_per_s * factor(stretch)) for stretch in days)


def bursts(
    duration_s: float, rate_per_s: float, peak_per_s: float, period_s: float, burst_s: float, seed: int
) -> Iterator[Stretch]:
    """Quiet at `rate_per_s`, and at times `peak_per_s` for `burst_s` on average, every `period_s` on average.

    Both last exponentially long, so nobody can foretell them: a two-state Markov-modulated load. Spikes are bursts
    that are short.
    """
    positive("duration", duration_s)
    positive("period", period_s)
    positive("burst", burst_s)
    _rising(rate_per_s, peak_per_s)
    if burst_s >= period_s:
        raise LoadError(f"burst: {burst_s!r} s leaves no quiet in a period of {period_s!r} s; make it shorter")
    random = Random(f"{seed}:bursts")

    def alternating() -> Iterator[Stretch]:
        start_s = 0.0
        for index in count():
            mean_s, now_per_s = ((period_s - burst_s), rate_per_s) if index % 2 == 0 else (burst_s, peak_per_s)
            end_s = min(start_s + random.expovariate(1 / mean_s), duration_s)
            yield Stretch(start_s, end_s, now_per_s)
            if end_s == duration_s:
                return
            start_s = end_s

    return alternating()


def swings(duration_s: float, cv: float, memory_s: float, seed: int) -> Iterator[Stretch]:
    """A rate around 1 that wanders: lognormal with mean 1 and `cv`, forgetting itself over `memory_s`.

    Its logarithm is a first-order autoregression, with a correlation of exp(-t / memory_s) at distance t.
    """
    positive("duration", duration_s)
    if not 0 < cv <= 100:
        raise LoadError(f"swing: {cv!r} must lie above 0 and up to 100; 0.5 is half the mean rate")
    positive("period", memory_s)
    random = Random(f"{seed}:swings")
    variance = math.log1p(cv**2)
    kept = math.exp(-1 / _CELLS_PER_MEMORY)

    def wandering() -> Iterator[Stretch]:
        level = random.gauss(0, math.sqrt(variance))
        for start_s, end_s in _cells(duration_s, memory_s / _CELLS_PER_MEMORY):
            yield Stretch(start_s, end_s, math.exp(level - variance / 2))
            level = kept * level + random.gauss(0, math.sqrt(variance * (1 - kept**2)))

    return wandering()


_CELLS_PER_MEMORY = 60


def _cells(duration_s: float, width_s: float) -> Iterator[tuple[float, float]]:
    for index in count():
        # Multiplied, not added up, so that a year of cells does not drift.
        start_s, end_s = index * width_s, (index + 1) * width_s
        # A sliver at the end is the rounding of a width, not a cell.
        if start_s >= duration_s * (1 - 1e-12):
            return
        yield start_s, min(end_s, duration_s)


def _rates(*named: tuple[str, float]) -> None:
    for name, rate_per_s in named:
        if not (math.isfinite(rate_per_s) and rate_per_s >= 0):
            raise LoadError(f"{name}: {rate_per_s!r} must be 0 or more requests/s")
    if not any(rate_per_s for _, rate_per_s in named):
        raise LoadError("rate: nothing ever arrives; give at least one rate above 0")


def _rising(rate_per_s: float, peak_per_s: float) -> None:
    _rates(("rate", rate_per_s), ("peak", peak_per_s))
    if peak_per_s < rate_per_s:
        raise LoadError(f"peak: {peak_per_s!r} requests/s lies below the rate of {rate_per_s!r}; exchange them")
