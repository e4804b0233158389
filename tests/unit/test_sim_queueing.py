"""The prefill queue against closed forms: the simulation judges everything else, so theory judges it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.scaling.settings import Routing
from planner.scaling.size.sharing import InFlight
from planner.scaling.types import Role
from planner.sim.cluster import Cluster
from planner.sim.fleet import Fleet
from planner.sim.ledger import Ledger
from planner.sim.lives import Lives
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.settings import Conditions, FleetSettings, PoolSetup
from planner.sim.timing import LinearTiming
from planner.slo.targets import Targets

SERVICE_S = 0.1
MEAN_ISL = 10_000
TARGETS = Targets(isl_tokens=MEAN_ISL, osl_tokens=1, ttft_ms=500, itl_ms=50)
TIMING = LinearTiming(prefill_s_per_token=SERVICE_S / MEAN_ISL, step_base_s=0.01)
BATCHES = 25
STUDENT_T_999 = 3.75
"""Two-sided 99.9 % quantile of Student's t with 24 degrees of freedom."""


Lengths = Callable[[Random], float]


def equal(_: Random) -> float:
    """No spread: M/D/1."""
    return MEAN_ISL


def exponential(random: Random) -> float:
    """Cv2 1: M/M/1."""
    return random.expovariate(1 / MEAN_ISL)


def lognormal(random: Random) -> float:
    """Cv2 2, as conversations have: M/G/1."""
    return random.lognormvariate(math.log(MEAN_ISL) - math.log(3) / 2, math.sqrt(math.log(3)))


CV2 = {equal: 0.0, exponential: 1.0, lognormal: 2.0}


def requests(rate_per_s: float, count: int, lengths: Lengths, random: Random) -> Iterator[Request]:
    at_s = 0.0
    for _ in range(count):
        at_s += random.expovariate(rate_per_s)
        yield Request(at_s, max(1, round(lengths(random))), 1)


def waits_s(servers: int, utilisation: float, lengths: Lengths, routing: Routing, seed: int) -> NDArray[np.float64]:
    """Each prompt's wait before its prefill began, the first tenth left out so that the queue has settled."""
    loop, ledger = Loop(), Ledger(TARGETS)
    pools = {Role.PREFILL: PoolSetup(1, servers), Role.DECODE: PoolSetup(1, 1)}
    fleet = Fleet(FleetSettings(pools, TIMING, Conditions(Lives(0.0), routing)), loop, Cluster(None), ledger, str(seed))
    flights = []
    for request in requests(servers * utilisation / SERVICE_S, 40_000, lengths, Random(seed)):
        loop.run_until(request.arrival_s)
        flights.append(fleet.arrive(request))
    loop.run_until(loop.now_s + 1000.0)
    waits = [flight.prefill_start_s - flight.arrival_s for flight in flights if flight.prefill_start_s is not None]
    assert len(waits) == len(flights)
    return np.array(waits[len(waits) // 10 :])


def assert_mean(values: NDArray[np.float64], expected: float, at_most: float = 0.35) -> None:
    """`expected` lies in the 99.9 % confidence interval of the mean, by batch means, as neighbours' waits correlate."""
    means = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    half_width = STUDENT_T_999 * means.std(ddof=1) / math.sqrt(BATCHES)
    assert half_width < at_most * expected, "too wide to say anything"
    assert abs(means.mean() - expected) <= half_width


@pytest.mark.parametrize("lengths", [equal, exponential, lognormal], ids=["M/D/1", "M/M/1", "M/G/1"])
@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.7, 0.8])
def test_one_replica_waits_by_pollaczek_khinchine(utilisation: float, lengths: Lengths) -> None:
    """S (1 + cv2) / 2 * rho / (1 - rho), for every spread of prompt lengths."""
    waits = waits_s(1, utilisation, lengths, routing="least_loaded", seed=1)

    assert_mean(waits, SERVICE_S * (1 + CV2[lengths]) / 2 * utilisation / (1 - utilisation))


def erlang_c(servers: int, offered: float) -> float:
    """P(an arrival waits) in M/M/c: the textbook's sum."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    full = offered**servers / math.factorial(servers) / (1 - offered / servers)
    return full / (sum(terms) + full)


@pytest.mark.parametrize("servers", [2, 4, 8])
@pytest.mark.parametrize("utilisation", [0.5, 0.7, 0.85])
def test_a_shared_queue_waits_by_erlang_c(utilisation: float, servers: int) -> None:
    """M/M/c: who waits, how long on average, and how many wait longer than one service time."""
    waits = waits_s(servers, utilisation, exponential, routing="shared_queue", seed=2)
    delayed, drain_per_s = erlang_c(servers, servers * utilisation), servers * (1 - utilisation) / SERVICE_S

    assert_mean(waits, delayed / drain_per_s)
    assert_mean((waits > 1e-12).astype(np.float64), delayed)
    assert_mean((waits > SERVICE_S).astype(np.float64), delayed * math.exp(-drain_per_s * SERVICE_S), at_most=1.0)


@pytest.mark.parametrize("servers", [2, 8])
def test_equal_prompts_in_a_shared_queue_wait_about_half_as_long(servers: int) -> None:
    """M/D/c by Cosmetatos' approximation (INFOR 13(3), 1975), good to a per cent or two at these loads."""
    utilisation = 0.8
    waits = waits_s(servers, utilisation, equal, routing="shared_queue", seed=2)

    exponential_wait_s = erlang_c(servers, servers * utilisation) * SERVICE_S / (servers * (1 - utilisation))
    bend = (1 - utilisation) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * utilisation * servers)
    assert_mean(waits, exponential_wait_s * (1 + bend) / 2)


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_least_loaded_routing_waits_little_longer_than_a_shared_queue(utilisation: float) -> None:
    """It counts tokens, not what is left of them, and cannot take back what it has sent."""
    shared, sent = (
        waits_s(4, utilisation, exponential, routing=routing, seed=3).mean()
        for routing in ("shared_queue", "least_loaded")
    )

    assert shared < sent < 1.6 * shared


def test_the_power_of_two_choices_lies_between_its_limit_and_a_blind_router() -> None:
    """With many replicas the mean wait tends to the sum of rho^(2^i - 2), i >= 2 (Mitzenmacher, 2001)."""
    utilisation = 0.8
    means = [
        waits_s(40, utilisation, exponential, routing=routing, seed=5).mean()
        for routing in ("shared_queue", "power_of_two", "random")
    ]

    assert means == sorted(means)
    limit_s = SERVICE_S * sum(utilisation ** (2**i - 2) for i in range(2, 8))
    # The limit is of counted prompts; by tokens held the choice is a better one.
    assert 0.5 * limit_s < means[1] < 1.1 * limit_s


def test_random_routing_makes_independent_queues() -> None:
    """A Poisson stream split at random is Poisson: each replica is an M/D/1 queue."""
    waits = waits_s(3, 0.7, equal, routing="random", seed=4)

    assert_mean(waits, SERVICE_S * 0.7 / (2 * 0.3))


def test_round_robin_waits_less_than_random_and_more_than_least_loaded() -> None:
    means = [
        waits_s(3, 0.7, exponential, routing=routing, seed=5).mean()
        for routing in ("least_loaded", "round_robin", "random")
    ]

    assert means == sorted(means)
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("tokens_per_s", [2000.0, 6000.0, 9000.0])
def test_a_decode_replica_is_as_full_as_the_law_of_processor_sharing_says(tokens_per_s: float) -> None:
    """The law that decode pools are sized by, seen at moments that have nothing to do with the arrivals."""
    timing = LinearTiming(prefill_s_per_token=1e-9, step_base_s=0.004, step_s_per_request=0.00005)
    osl, most = 40, 200
    law = InFlight.of(tokens_per_s, np.array([timing.step_s(n, 0) for n in range(1, most + 1)]))
    loop, ledger, random = Loop(), Ledger(TARGETS), Random(9)
    pools = {role: PoolSetup(1, 1) for role in (Role.PREFILL, Role.DECODE)}
    fleet = Fleet(FleetSettings(pools, timing, Conditions(Lives(0.0), "random")), loop, Cluster(None), ledger, "0")
    running, next_look_s = [], 1.0
    for request in requests(tokens_per_s / osl, 30_000, equal, random):
        while next_look_s < request.arrival_s:
            loop.run_until(next_look_s)
            running.append(fleet.counts()[Role.DECODE].running)
            next_look_s += 0.25
        loop.run_until(request.arrival_s)
        fleet.arrive(request._replace(isl=1, osl=osl + 1))

    assert_mean(np.array(running, dtype=np.float64)[20:], law.mean(1))
