"""Waiting times against closed forms and tables."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.scaling.settings import Routing
from planner.scaling.size.queueing import erlang_c, fewest, wait


@pytest.mark.parametrize(
    ("servers", "load", "probability"),
    [
        pytest.param(1, 0.5, 0.5, id="M/M/1: the utilisation"),
        pytest.param(2, 1.0, 1 / 3, id="M/M/2 at 50 %: 1/3"),
        pytest.param(10, 8.0, 0.4092, id="Erlang table, 10 servers, 8 erlang"),
        pytest.param(100, 90.0, 0.2170, id="Erlang table, 100 servers, 90 erlang"),
        pytest.param(3, 3.0, 1.0, id="overloaded"),
    ],
)
def test_erlang_c_agrees_with_the_tables(servers: int, load: float, probability: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(probability, abs=5e-4)


def erlang_c_by_definition(servers: int, load: float) -> float:
    top = load**servers / math.factorial(servers) * servers / (servers - load)
    return top / (sum(load**k / math.factorial(k) for k in range(servers)) + top)


@given(servers=st.integers(1, 40), utilisation=st.floats(0.01, 0.99))
def test_erlang_c_is_its_definition(servers: int, utilisation: float) -> None:
    load = servers * utilisation

    assert erlang_c(servers, load) == pytest.approx(erlang_c_by_definition(servers, load), rel=1e-6)


@pytest.mark.parametrize(
    ("service_cv2", "mean_s"),
    [
        pytest.param(1.0, 4.0, id="M/M/1: rho S / (1 - rho)"),
        pytest.param(0.0, 2.0, id="M/D/1: half of it"),
        pytest.param(3.0, 8.0, id="M/G/1: Pollaczek-Khinchine"),
    ],
)
def test_one_server_waits_by_pollaczek_khinchine(service_cv2: float, mean_s: float) -> None:
    queue = wait(0.8, 1.0, service_cv2, arrival_cv2=1.0, servers=1, routing="least_loaded")

    assert queue.mean_s == pytest.approx(mean_s)


def test_routing_at_random_makes_each_replica_a_queue_of_its_own() -> None:
    queue = wait(3.2, 1.0, 1.0, arrival_cv2=1.0, servers=4, routing="random")

    assert queue.mean_s == pytest.approx(4.0)  # M/M/1 at 80 %


def mean_wait_s(routing: Routing, servers: int, load: float, arrival_cv2: float = 1.0) -> float:
    """Of exponential service of one second."""
    return wait(load, 1.0, 1.0, arrival_cv2, servers, routing).mean_s


@pytest.mark.parametrize("between", ["round_robin", "power_of_two"])
def test_a_shared_queue_waits_less_than_a_rule_and_that_less_than_chance(between: Routing) -> None:
    assert mean_wait_s("shared_queue", 4, 3.2) < mean_wait_s(between, 4, 3.2) < mean_wait_s("random", 4, 3.2)


loads = {
    "servers": st.integers(1, 60),
    "utilisation": st.floats(0.01, 0.99),
    "arrival_cv2": st.floats(0, 10),
}


@given(**loads)
def test_the_better_of_two_queues_lies_between_the_least_loaded_of_all_and_chance(
    servers: int, utilisation: float, arrival_cv2: float
) -> None:
    least, two, chance = (
        mean_wait_s(routing, servers, utilisation * servers, arrival_cv2)
        for routing in ("least_loaded", "power_of_two", "random")
    )

    assert least <= two * (1 + 1e-9)
    assert two <= chance * (1 + 1e-9)


@given(**loads)
def test_a_shared_queue_is_sized_as_the_least_loaded_replica(
    servers: int, utilisation: float, arrival_cv2: float
) -> None:
    shared, least = (
        mean_wait_s(routing, servers, utilisation * servers, arrival_cv2)
        for routing in ("shared_queue", "least_loaded")
    )

    assert shared == least


def test_two_replicas_are_one_pair() -> None:
    assert mean_wait_s("power_of_two", 2, 1.6, arrival_cv2=4.0) == mean_wait_s("least_loaded", 2, 1.6, arrival_cv2=4.0)


@pytest.mark.parametrize("servers", [2, 3, 4, 7, 100])
def test_pairs_wait_at_least_as_long_as_many_replicas_with_two_choices(servers: int) -> None:
    utilisation = np.concatenate([np.linspace(0.02, 0.98, 49), [0.99, 0.999, 0.9999]])
    mean_field_s = np.sum([utilisation ** (2.0**i - 2) for i in range(2, 30)], axis=0)

    pairs_s = [mean_wait_s("power_of_two", servers, servers * share) for share in utilisation]

    assert pairs_s == pytest.approx(utilisation**2 / (1 - utilisation**2))
    assert np.all(pairs_s >= mean_field_s * (1 - 1e-9))


@given(
    routing=st.sampled_from(get_args(Routing)),
    servers=st.integers(1, 60),
    load=st.floats(0.01, 60),
    arrival_cv2=st.floats(1, 10),
)
@example(routing="power_of_two", servers=1, load=0.99, arrival_cv2=1.0)
@example(routing="power_of_two", servers=2, load=1.99, arrival_cv2=1.0)
@example(routing="power_of_two", servers=3, load=2.99, arrival_cv2=10.0)
def test_one_more_replica_never_waits_longer(routing: Routing, servers: int, load: float, arrival_cv2: float) -> None:
    fewer_s, more_s = (mean_wait_s(routing, count, load, arrival_cv2) for count in (servers, servers + 1))

    assert more_s <= fewer_s * (1 + 1e-9)


def test_an_overloaded_queue_never_serves_in_time() -> None:
    queue = wait(2.0, 1.0, 0.0, arrival_cv2=1.0, servers=2, routing="least_loaded")

    assert queue.mean_s == math.inf
    assert list(queue.within(np.array([0.0, 1e9]))) == [0.0, 0.0]


def test_nobody_waits_without_arrivals() -> None:
    queue = wait(0.0, 1.0, 0.0, arrival_cv2=1.0, servers=1, routing="random")

    assert queue.mean_s == 0.0
    assert list(queue.within(np.array([-1.0, 0.0]))) == [1.0, 1.0]


@given(threshold=st.integers(1, 5000), at_least=st.integers(1, 100))
def test_the_search_finds_the_smallest_count_that_is_enough(threshold: int, at_least: int) -> None:
    assert fewest(lambda count: count >= threshold, at_least) == max(threshold, at_least)
