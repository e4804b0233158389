"""Requests made from something else: drawn from a load table, or superposed from a recorded trace.

Drawn: within a level arrivals are Poisson at its rate, and lengths are independent lognormals with the level's means
and `LENGTH_SIGMA` (a coefficient of variation of 0.20), rounded, at least one token.

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
from typing import NamedTuple

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


def drawn(levels: Iterable[Level], scale: float, seed: int) -> Iterator[Request]:
    """Poisson arrivals at `scale` times each level's rate."""
    random = Random(f"{seed}:load")
    for level in levels:
        rate_per_s = level.rate_per_s * scale
        if rate_per_s == 0:
            continue
        t_s = level.start_s + random.expovariate(rate_per_s)
        while t_s < level.end_s:
            yield Request(t_s, _length(random, level.isl), _length(random, level.osl))
            t_s += random.expovariate(rate_per_s)


def _length(random: Random, mean: int) -> int:
    # exp(mu + sigma^2/2) is a lognormal's mean, so this mu keeps the table's.
    return max(1, round(random.lognormvariate(math.log(mean) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA)))


def superposed(requests: Iterable[Request], scale: float, seed: int) -> Iterator[Request]:
    """The trace at `scale` times its rate, sorted by arrival."""
    random = Random(f"{seed}:scale")
    whole, share = divmod(scale, 1)
    later: list[Request] = []
    for request in requests:
        while later and later[0].arrival_s <= request.arrival_s:
            yield heapq.heappop(later)
        copies = int(whole) + (random.random() < share)
        if copies:
            yield request
        for _ in range(copies - 1):
            heapq.heappush(later, request._replace(arrival_s=request.arrival_s + random.uniform(0, JITTER_S)))
    while later:
        yield heapq.heappop(later)
