"""Waiting times of many servers, and the search for the fewest.

Notation: `a` offered load in servers (arrival rate times mean service time), `c` servers, Ca2 and Cs2 the squared
coefficients of variation of interarrival and service times.

- Erlang C, the probability that an M/M/c arrival waits, from Erlang B for real c and a,
  1/B = e^a a^-c Gamma(c + 1, a) (Jagerman 1974, BSTJ 53).
- Arrivals that come in clumps find servers busy more often. Hayward's approximation takes clumps of z for single
  arrivals: c/z servers, a/z load, with the peakedness z = (Ca2 + 1)/2 (Fredericks 1980, BSTJ 59); exact for Poisson.
- Allen-Cunneen: the mean wait of those who wait is that of M/M/c times (Ca2 + Cs2)/2
  (Allen, Probability, Statistics and Queueing Theory, 1990, 5.3).
- The tail is taken as exponential with the same mean: P(W > t) = P(wait) exp(-t / E[W | W > 0]); exact for M/M/c, and
  the heavy-traffic limit of G/G/c (Kingman 1962; Koellerstroem 1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

from planner.scaling.settings import Routing

_LEAST_VARIABILITY = 1e-3
"""Keeps the tail finite for deterministic arrivals and service."""

_SHARING: dict[Routing, int] = {"power_of_two": 2, "round_robin": 1, "random": 1}
"""How many replicas share a queue; all of them for routings not listed."""


def erlang_c(servers: float, load: float) -> float:
    """Probability that an arrival finds all `servers` busy; 1 when the load exceeds them."""
    if load >= servers:
        return 1.0
    if load <= 0:
        return 0.0
    tail = float(gammaincc(servers + 1, load))
    blocking = min(1.0, math.exp(servers * math.log(load) - load - math.lgamma(servers + 1)) / tail)
    return blocking / (1 - load / servers * (1 - blocking))


@dataclass(frozen=True, slots=True)
class Wait:
    """The wait before service: nobody waits with probability 1 - `probability`, the others exponentially."""

    probability: float
    mean_if_waiting_s: float
    """Infinite when the queue grows without bound."""

    @property
    def mean_s(self) -> float:
        """Mean over all arrivals."""
        return self.probability * self.mean_if_waiting_s if self.probability > 0 else 0.0

    def within(self, slack_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """P(W <= slack) for each slack; a negative slack counts as none."""
        if math.isinf(self.mean_if_waiting_s):
            return np.zeros_like(slack_s)
        patience = np.maximum(slack_s, 0.0) / self.mean_if_waiting_s
        return 1.0 - self.probability * np.exp(-patience)


def wait(
    rate_per_s: float, service_s: float, service_cv2: float, arrival_cv2: float, servers: int, routing: Routing
) -> Wait:
    """Waiting time in a pool of `servers` replicas that each serve one prompt at a time, first come first served.

    - `shared_queue` is G/G/c, and `least_loaded` is taken for it.
    - `random` splits the stream, so each replica sees 1/c of it with an arrival variability that approaches Poisson.
    - `round_robin` splits it evenly, which divides the variability by c.
    - `power_of_two` splits it at random over c/2 pairs of replicas, each a shared queue of 2; c may be odd. This is a
      bound, taken for lack of a closed form: with exponential service and many replicas the mean wait is the sum of
      rho^(2^i - 2) over i >= 2, in service times (Mitzenmacher 2001, IEEE TPDS 12(10); Vvedenskaya, Dobrushin and
      Karpelevich 1996), while a pair's, rho^2/(1 - rho^2), is the sum of all even powers. Two replicas are one pair,
      and as with `least_loaded` a router that counts prompts, not the work in them, does worse than that.
      Splitting also takes the evenness out of paced arrivals (Ca2 < 1); only then may one more replica wait longer.
    """
    load = rate_per_s * service_s
    if load >= servers:
        return Wait(1.0, math.inf)
    if load <= 0:
        return Wait(0.0, service_s)
    queued = min(_SHARING.get(routing, servers), servers)
    streams = servers / queued
    load /= streams
    split_cv2 = arrival_cv2 / streams if routing == "round_robin" else 1 + (arrival_cv2 - 1) / streams
    clump = (split_cv2 + 1) / 2
    probability = erlang_c(queued / clump, load / clump)
    variability = max((split_cv2 + service_cv2) / 2, _LEAST_VARIABILITY)
    return Wait(probability, variability * service_s / (queued - load))


def fewest(enough: Callable[[int], bool], at_least: int = 1) -> int:
    """The smallest count >= `at_least` that is enough; `enough` must stay true once it is."""
    if enough(at_least):
        return at_least
    too_few, step = at_least, 1
    while not enough(too_few + step):
        too_few += step
        step *= 2
    plenty = too_few + step
    while plenty - too_few > 1:
        middle = (too_few + plenty) // 2
        if enough(middle):
            plenty = middle
        else:
            too_few = middle
    return plenty
