"""Made-up traffic: a shape of the rate, times an arrival process, times a distribution of lengths.

Pure functions of parameters and seed, streamed: the same arguments give the same requests. Units: seconds, tokens.

Correlated services follow one shared swing of the rate, and are independent given that swing: what moves together is
the load, as when one product's users call several models.

Limits: lengths do not depend on time, nor a service's output length on its input length unless taken from a trace.
Rounding and the least length of one token raise the mean of very short, widely spread lengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from planner.sim.loads import Request, Stretch, gamma_arrivals, lognormal_length, poisson_arrivals
from planner.sim.shapes import LoadError, positive

Lengths = Callable[[Random], tuple[int, int]]
"""Draws the input and output length of one request."""

SAMPLE = 10_000
"""Requests that an empirical distribution keeps: enough for its 99.9th percentile, whatever the trace's size."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests fall within a shape. Raises LoadError when the coefficient of variation cannot be drawn."""

    lengths: Lengths
    cv: float = 1.0
    """Of the gaps between arrivals, as long as the rate stands still; 1 is Poisson."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.cv <= 100:
            raise LoadError(f"cv: {self.cv!r} must lie from 0.01 (like clockwork) to 100; 1 is Poisson")


def lognormal_lengths(isl: float, osl: float, isl_cv: float, osl_cv: float) -> Lengths:
    """Independent lognormals of these means and coefficients of variation; a CV of 0 fixes the length."""
    for name, mean in {"isl": isl, "osl": osl}.items():
        if not (math.isfinite(mean) and mean >= 1):
            raise LoadError(f"{name}: {mean!r} must be 1 token or more")
    for name, cv in {"isl-cv": isl_cv, "osl-cv": osl_cv}.items():
        if not 0 <= cv <= 100:
            raise LoadError(f"{name}: {cv!r} must lie from 0 (all the same) to 100")
    # A lognormal's squared CV is exp(sigma^2) - 1.
    isl_sigma, osl_sigma = math.sqrt(math.log1p(isl_cv**2)), math.sqrt(math.log1p(osl_cv**2))
    return lambda random: (lognormal_length(random, isl, isl_sigma), lognormal_length(random, osl, osl_sigma))


def empirical_lengths(requests: Iterable[Request], seed: int) -> Lengths:
    """Pairs of lengths as `requests` have them, drawn with replacement from a random `SAMPLE` of them.

    Raises LoadError when there are none.
    """
    random = Random(f"{seed}:lengths")
    kept: list[tuple[int, int]] = []
    # Reservoir sampling (Vitter, 1985): every request is kept with equal chance, however many are to come.
    for index, (_, isl, osl) in enumerate(requests):
        if index < SAMPLE:
            kept.append((isl, osl))
        elif (place := random.randrange(index + 1)) < SAMPLE:
            kept[place] = (isl, osl)
    if not kept:
        raise LoadError("lengths: there are no requests to take them from; give a trace that has some")
    return lambda random: random.choice(kept)


def generated(shape: Iterable[Stretch], traffic: Traffic, seed: int) -> Iterator[Request]:
    """The requests of one service, by arrival."""
    return _requests(shape, traffic, f"{seed}:generated", 1.0)


def correlated(
    swing: Callable[[], Iterable[Stretch]], rates_per_s: Mapping[str, float], traffic: Traffic, seed: int
) -> dict[str, Iterator[Request]]:
    """The requests of several services, each at its rate times the `swing` they share.

    `swing` is called once per service and must give the same each time. Raises LoadError unless there are two or more
    services with rates above 0.
    """
    if len(rates_per_s) < 2:
        raise LoadError(f"service: {', '.join(rates_per_s) or 'none'} has nothing to move with; give two or more")
    for name, rate_per_s in rates_per_s.items():
        positive(f"service {name}", rate_per_s)
    return {
        name: _requests(swing(), traffic, f"{seed}:generated:{name}", rate_per_s)
        for name, rate_per_s in rates_per_s.items()
    }


def _requests(shape: Iterable[Stretch], traffic: Traffic, stream: str, scale: float) -> Iterator[Request]:
    random = Random(stream)
    arrivals = (
        poisson_arrivals(shape, random, scale) if traffic.cv == 1 else gamma_arrivals(shape, random, traffic.cv, scale)
    )
    for t_s, _ in arrivals:
        yield Request(t_s, *traffic.lengths(random))
