"""The prefill queue against closed forms: the simulation judges everything else, so theory judges it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.scaling.settings import Routing
from planner.scaling.types import Role
from planner.sim.fleet import Fleet
from planner.sim.ledger import Ledger
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.settings import FleetSettings, PoolSetup
from planner.sim.timing import LinearTiming

SERVICE_S = 0.1
MEAN_ISL = 10_000
TIMING = LinearTiming(prefill_s_per_token=SERVICE_S / MEAN_ISL, step_base_s=0.01)
BATCHES = 25
STUDENT_T_999 = 3.75
"""Two-sided 99.9 % quantile of Student's t with 24 degrees of freedom."""


def requests(rate_per_s: float, count: int, exponential: bool, random: Random) -> Iterator[Request]:
    at_s = 0.0
    for _ in range(count):
        at_s += random.expovariate(rate_per_s)
        isl = max(1, round(random.expovariate(1 / MEAN_ISL))) if exponential else MEAN_ISL
        yield Request(at_s, isl, 1)


def waits_s(servers: int, utilisation: float, exponential: bool, routing: Routing, seed: int) -> NDArray[np.float64]:
    """Each prompt's wait before its prefill began, the first tenth left out so that the queue has settled."""
    loop, ledger = Loop(), Ledger()
    pools = {Role.PREFILL: PoolSetup(1, servers), Role.DECODE: PoolSetup(1, 1)}
    fleet = Fleet(FleetSettings(pools, TIMING, startup_s=0.0, routing=routing), loop, ledger, seed)
    flights = []
    for request in requests(servers * utilisation / SERVICE_S, 40_000, exponential, Random(seed)):
        loop.run_until(request.arrival_s)
        flights.append(fleet.arrive(request))
    loop.run_until(loop.now_s + 1000.0)
    waits = [flight.prefill_start_s - flight.arrival_s for flight in flights if flight.prefill_start_s is not None]
    assert len(waits) == len(flights)
    return np.array(waits[len(waits) // 10 :])


def assert_mean(values: NDArray[np.float64], expected: float) -> None:
    """`expected` lies in the 99.9 % confidence interval of the mean, by batch means, as neighbours' waits correlate."""
    means = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    half_width = STUDENT_T_999 * means.std(ddof=1) / math.sqrt(BATCHES)
    assert half_width < 0.25 * expected, "too wide to say anything"
    assert abs(means.mean() - expected) <= half_width


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_equal_prompts_wait_as_in_an_m_d_1_queue(utilisation: float) -> None:
    """Pollaczek-Khinchine with a constant service time: S rho / 2 (1 - rho)."""
    waits = waits_s(1, utilisation, exponential=False, routing="least_loaded", seed=1)

    assert_mean(waits, SERVICE_S * utilisation / (2 * (1 - utilisation)))


def test_exponential_prompts_wait_as_in_an_m_m_1_queue() -> None:
    """S rho / (1 - rho)."""
    assert_mean(waits_s(1, 0.6, exponential=True, routing="least_loaded", seed=2), SERVICE_S * 0.6 / 0.4)


def test_least_loaded_routing_by_work_is_one_shared_queue() -> None:
    """M/M/2 with Erlang C: S C / 2 (1 - rho), C = 2 rho^2 / (1 + rho)."""
    utilisation = 0.7
    delayed = 2 * utilisation**2 / (1 + utilisation)

    assert_mean(
        waits_s(2, utilisation, exponential=True, routing="least_loaded", seed=3),
        SERVICE_S * delayed / (2 * (1 - utilisation)),
    )


def test_random_routing_makes_independent_queues() -> None:
    """A Poisson stream split at random is Poisson: each replica is an M/D/1 queue."""
    waits = waits_s(3, 0.7, exponential=False, routing="random", seed=4)

    assert_mean(waits, SERVICE_S * 0.7 / (2 * 0.3))


def test_round_robin_waits_less_than_random_and_more_than_least_loaded() -> None:
    means = [
        waits_s(3, 0.7, exponential=True, routing=routing, seed=5).mean()
        for routing in ("least_loaded", "round_robin", "random")
    ]

    assert means == sorted(means)
    assert means[0] < means[1] < means[2]
