"""Requests made from something else: drawn from rates, or superposed from a recorded trace.

Drawn from a load table: within a level arrivals are Poisson at its rate, and lengths are independent lognormals with
the level's means and `LENGTH_SIGMA` (a coefficient of variation of 0.20), rounded, at least one token.

Arrivals in general are gamma renewals on the clock that ticks once per expected request, so that the rate may change
between two of them (time rescaling). Their coefficient of variation (CV) is that of the gaps while the rate stands
still: 1 is Poisson, more is bursty, less is regular.

Superposed: each request is played `scale` times; every copy but the first comes up to `JITTER_S` later. Minute-scale
shape survives, bursts shorter than the jitter soften, as they do when more independent users are added.
A fractional part is played for a random share of the requests, so a scale below 1 thins the trace.

Units: seconds, tokens, requests per second. One seed, one stream.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple, TypeVar

LENGTH_SIGMA = 0.2
"""Standard deviation of a drawn length's logarithm. Modest: real traffic spreads wider, but has no spread in common."""

JITTER_S = 10.0


class Request(NamedTuple):
    """One arrival: when, how many prompt tokens, how many tokens it will be answered with."""

    arrival_s: float
    isl: int
    osl: int


class Level(NamedTuple):
    """A rate and mean lengths that hold from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    rate_per_s: float
    isl: int
    osl: int


class Stretch(NamedTuple):
    """A rate that holds from `start_s` to `end_s`; lengths come from elsewhere."""

    start_s: float
    end_s: float
    rate_per_s: float


StretchT = TypeVar("StretchT", Stretch, Level)


def drawn(levels: Iterable[Level], scale: float, seed: int | str) -> Iterator[Request]:
    """Poisson arrivals at `scale` times each level's rate."""
    random = Random(f"{seed}:load")
    for t_s, level in poisson_arrivals(levels, random, scale):
        yield Request(
            t_s, lognormal_length(random, level.isl, LENGTH_SIGMA), lognormal_length(random, level.osl, LENGTH_SIGMA)
        )


def poisson_arrivals(
    stretches: Iterable[StretchT], random: Random, scale: float = 1.0
) -> Iterator[tuple[float, StretchT]]:
    """When requests come, each with the stretch it falls in, at `scale` times its rate."""
    for stretch in stretches:
        rate_per_s = stretch.rate_per_s * scale
        if rate_per_s == 0:
            continue
        # Without memory: every stretch may start afresh.
        t_s = stretch.start_s + random.expovariate(rate_per_s)
        while t_s < stretch.end_s:
            yield t_s, stretch
            t_s += random.expovariate(rate_per_s)


def gamma_arrivals(
    stretches: Iterable[StretchT], random: Random, cv: float, scale: float = 1.0
) -> Iterator[tuple[float, StretchT]]:
    """As `poisson_arrivals`, with gaps of coefficient of variation `cv`, above 0."""
    shape, mean_over_shape = 1 / cv**2, cv**2
    # Whoever begins to watch falls into a long gap more likely than into a short one: the gap around the start is
    # gamma of shape + 1, and the start lies anywhere in it. So the rate is right from the first second on.
    due = random.random() * random.gammavariate(shape + 1, mean_over_shape)
    for stretch in stretches:
        rate_per_s = stretch.rate_per_s * scale
        expected = (stretch.end_s - stretch.start_s) * rate_per_s
        while due < expected:
            yield stretch.start_s + due / rate_per_s, stretch
            due += random.gammavariate(shape, mean_over_shape)
        due -= expected


def lognormal_length(random: Random, mean: float, sigma: float) -> int:
    """Tokens, at least 1. `sigma` is the standard deviation of the logarithm."""
    # exp(mu + sigma^2/2) is a lognormal's mean, so this mu keeps the one asked for.
    return max(1, round(random.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)))


def superposed(requests: Iterable[Request], scale: float, seed: int | str) -> Iterator[Request]:
    """The trace at `scale` times its rate, sorted by arrival."""
    random = Random(f"{seed}:scale")
    whole, share = divmod(scale, 1)
    later: list[Request] = []
    for request in requests:
        arrival_s, isl, osl = request
        while later and later[0].arrival_s <= arrival_s:
            yield heapq.heappop(later)
        copies = int(whole) + (random.random() < share)
        if copies:
            yield request
        for _ in range(copies - 1):
            heapq.heappush(later, Request(arrival_s + random.uniform(0, JITTER_S), isl, osl))
    while later:
        yield heapq.heappop(later)
