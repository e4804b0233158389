"""How many requests decode together on one replica, as a distribution.

A decoding replica shares itself among its n requests: each gets a token every ITL(n), so requests finish at rate
n / (osl * ITL(n)). With Poisson arrivals at rate a the number in flight is a birth-death chain whose stationary law has
the product form

    P(n) ~ product over k <= n of  a * osl * ITL(k) / k

and depends on the output lengths through their mean alone (processor sharing with state-dependent speed: Cohen 1979,
The multiple phase service network with generalized processor sharing, Acta Informatica 12). Beyond the largest
concurrency K the engine holds, requests queue, and the tail is geometric with ratio a * osl * ITL(K) / K.

For constant ITL this is the Poisson law of M/G/inf. Taking ITL at the target instead, as one does with that law alone,
assumes that a lightly loaded replica is as slow as a full one, and asks for replicas nobody needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InFlight:
    """Requests in flight on each of c replicas that split a stream evenly, for any c."""

    _log_weights: Array
    """log P(n), n = 0..K, up to a constant, for one replica that takes the whole stream."""
    _log_ratio: float
    """log of the tail's ratio, for one replica."""

    @classmethod
    def of(cls, tokens_per_s: float, itl_s: Array) -> Self:
        """A stream of `tokens_per_s` output tokens, on replicas with ITL `itl_s[n - 1]` for n requests."""
        if tokens_per_s <= 0:
            return cls(np.zeros(1), -math.inf)
        requests = np.arange(1, len(itl_s) + 1)
        growth = math.log(tokens_per_s) + np.log(itl_s / requests)
        return cls(np.concatenate(([0.0], np.cumsum(growth))), float(growth[-1]))

    @property
    def fewest_stable(self) -> int:
        """The fewest replicas whose queues do not grow without bound."""
        return math.floor(math.exp(self._log_ratio)) + 1

    def at_most(self, requests: int, replicas: int) -> float:
        """P(n <= requests) on one of `replicas` replicas; 0 when their queues grow without bound."""
        weights, beyond = self._on(replicas)
        if math.isinf(beyond):
            return 0.0
        return float(weights[: requests + 1].sum() / (weights.sum() + beyond))

    def mean(self, replicas: int) -> float:
        """Mean requests decoding on one of `replicas` stable replicas; those that queue count as K."""
        weights, beyond = self._on(replicas)
        most = len(weights) - 1
        decoding = float(weights @ np.arange(most + 1)) + beyond * most
        return decoding / float(weights.sum() + beyond)

    def _on(self, replicas: int) -> tuple[Array, float]:
        """Weights of 0..K requests on one of so many replicas, and of all beyond; infinite when unstable."""
        logs = self._log_weights - math.log(replicas) * np.arange(len(self._log_weights))
        weights = np.exp(logs - logs.max())
        ratio = math.exp(self._log_ratio) / replicas
        return weights, float(weights[-1]) * ratio / (1 - ratio) if ratio < 1 else math.inf
