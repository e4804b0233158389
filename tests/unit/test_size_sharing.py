"""The law of requests in flight, against closed forms and against a direct simulation."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import pdtr

from planner.scaling.size.sharing import InFlight


@given(mean=st.floats(0.1, 60), requests=st.integers(0, 100))
def test_constant_itl_is_the_poisson_law(mean: float, requests: int) -> None:
    """M/G/inf: nobody slows anybody. 400 places are as good as infinitely many here."""
    law = InFlight.of(mean / 0.01, np.full(400, 0.01))

    assert law.at_most(requests, 1) == pytest.approx(pdtr(requests, mean), abs=1e-9)
    assert law.mean(1) == pytest.approx(mean)


@given(load=st.floats(0.05, 0.95), requests=st.integers(0, 40))
def test_itl_in_proportion_to_concurrency_is_one_server(load: float, requests: int) -> None:
    """M/M/1 processor sharing: geometric, whatever the place where the queue begins."""
    for places in (1, 7, 200):
        law = InFlight.of(load / 0.01, np.array([0.01 * n for n in range(1, places + 1)]))
        if requests <= places:
            assert law.at_most(requests, 1) == pytest.approx(1 - load ** (requests + 1))


def test_replicas_split_the_stream() -> None:
    itl_s = np.array([0.004 + 0.0001 * n for n in range(1, 300)])

    assert InFlight.of(9000, itl_s).at_most(20, 3) == pytest.approx(InFlight.of(3000, itl_s).at_most(20, 1))


def test_too_few_replicas_never_hold() -> None:
    """100 places of 20 ms: 5,000 tokens/s. 12,000 need more than two."""
    law = InFlight.of(12_000, np.full(100, 0.02))

    assert law.fewest_stable == 3
    assert law.at_most(100, 2) == 0.0
    assert law.at_most(100, 3) > 0.9


@pytest.mark.parametrize("tokens_per_s", [0.0, 5e-324], ids=["none", "less than can be multiplied"])
def test_no_stream_leaves_nobody_in_flight(tokens_per_s: float) -> None:
    law = InFlight.of(tokens_per_s, np.full(10, 0.02))

    assert (law.fewest_stable, law.at_most(0, 1), law.mean(1)) == (1, 1.0, 0.0)


@given(
    tokens_per_s=st.floats(1, 50_000), more=st.floats(1, 3), servers=st.integers(1, 20), requests=st.integers(1, 300)
)
def test_more_tokens_or_fewer_replicas_never_leave_more_room(
    tokens_per_s: float, more: float, servers: int, requests: int
) -> None:
    itl_s = np.array([0.004 + 0.00007 * n for n in range(1, 301)])
    law, heavier = InFlight.of(tokens_per_s, itl_s), InFlight.of(tokens_per_s * more, itl_s)

    assert heavier.at_most(requests, servers) <= law.at_most(requests, servers) + 1e-12
    assert law.at_most(requests, servers) <= law.at_most(requests, servers + 1) + 1e-12


def test_the_law_is_that_of_a_simulated_replica_for_any_spread_of_lengths() -> None:
    """Poisson arrivals, each request decodes at 1 / ITL(n). Lengths fixed and exponential: the same law.

    Time-weighted share of n <= 12 over 40,000 requests, within four standard errors of batches.
    """
    itl_s = [0.005 + 0.001 * n for n in range(1, 200)]
    rate_per_s, osl = 5.0, 100.0
    expected = InFlight.of(rate_per_s * osl, np.array(itl_s)).at_most(12, 1)

    draws: tuple[Callable[[random.Random], float], ...] = (lambda _: osl, lambda chance: chance.expovariate(1 / osl))
    for draw in draws:
        shares = simulated_shares(rate_per_s, draw, itl_s, at_most=12, batches=20)
        error = np.std(shares) / math.sqrt(len(shares))
        assert abs(np.mean(shares) - expected) < 4 * error + 1e-3


def simulated_shares(
    rate_per_s: float, draw: Callable[[random.Random], float], itl_s: list[float], at_most: int, batches: int
) -> list[float]:
    chance = random.Random(5)
    left: list[float] = []
    shares = []
    next_arrival_s = chance.expovariate(rate_per_s)
    for _ in range(batches):
        within_s = total_s = 0.0
        for _ in range(4000):
            while True:
                speed = 1 / itl_s[len(left) - 1] if left else 0.0
                finish_s = min(left) / speed if left else math.inf
                passed_s = min(finish_s, next_arrival_s)
                total_s += passed_s
                within_s += passed_s if len(left) <= at_most else 0.0
                left = [tokens - speed * passed_s for tokens in left]
                next_arrival_s -= passed_s
                if finish_s > passed_s:
                    break
                left.remove(min(left))
            left.append(draw(chance))
            next_arrival_s = chance.expovariate(rate_per_s)
        shares.append(within_s / total_s)
    return shares
