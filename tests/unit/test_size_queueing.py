"""Waiting times against closed forms and tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_shared_queue_waits_less_than_round_robin_and_that_less_than_chance() -> None:
    shared, even, chance = (
        wait(3.2, 1.0, 1.0, arrival_cv2=1.0, servers=4, routing=routing).mean_s
        for routing in ("least_loaded", "round_robin", "random")
    )

    assert shared < even < chance


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
