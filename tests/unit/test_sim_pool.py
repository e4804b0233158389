"""A replica's life: start-up, draining, cancelling, waiting for GPUs, and what holding GPUs costs."""

from __future__ import annotations

from random import Random

import pytest

from planner.scaling.settings import Routing
from planner.sim.cluster import Cluster
from planner.sim.flight import Flight
from planner.sim.loop import Handler, Loop
from planner.sim.pool import Pool, PoolCounts

STARTUP_S = 10.0
GPUS_PER_REPLICA = 2


class ManualEngine:
    """Holds what it is given until the test finishes it."""

    def __init__(self, on_idle: Handler) -> None:
        self._on_idle = on_idle
        self.flights: list[Flight] = []
        self.held_tokens = 0
        self.waiting = 0

    @property
    def running(self) -> int:
        return len(self.flights)

    def submit(self, flight: Flight) -> None:
        self.flights.append(flight)
        self.held_tokens += flight.isl

    def finish_all(self) -> None:
        self.flights.clear()
        self.held_tokens = 0
        self._on_idle()


class Stage:
    """A pool with its clock, its cluster and every engine it ever made, oldest first."""

    def __init__(self, start_with: int = 0, gpus: int | None = None, routing: Routing = "least_loaded") -> None:
        self.loop = Loop()
        self.cluster = Cluster(self.loop, gpus)
        self.engines: list[ManualEngine] = []
        self.pool = Pool(
            self.loop, self.cluster, GPUS_PER_REPLICA, STARTUP_S, routing, Random(0), make_engine=self._make_engine
        )
        self.pool.start_with(start_with)

    def _make_engine(self, on_idle: Handler) -> ManualEngine:
        self.engines.append(ManualEngine(on_idle))
        return self.engines[-1]

    def submit(self, isl: int = 1) -> None:
        self.pool.submit(Flight(self.loop.now_s, isl, 1))

    def shares(self) -> list[int]:
        return [len(engine.flights) for engine in self.engines]


def counts(wanted: int, ready: int, *, starting: int = 0, pending: int = 0, draining: int = 0, running: int = 0,
           waiting: int = 0) -> PoolCounts:  # fmt: skip
    return PoolCounts(wanted, ready, starting, pending, draining, waiting, running)


def test_a_replica_is_ready_one_start_up_time_after_it_was_ordered() -> None:
    stage = Stage(start_with=1)
    stage.pool.scale(3)

    stage.loop.run_until(9.9)
    assert stage.pool.counts() == counts(3, 1, starting=2)
    stage.loop.run_until(10.0)
    assert stage.pool.counts() == counts(3, 3)


def test_scaling_down_cancels_what_is_starting_before_it_touches_what_is_ready() -> None:
    stage = Stage(start_with=2)
    stage.pool.scale(4)
    stage.pool.scale(2)

    assert stage.pool.counts() == counts(2, 2)
    stage.loop.run_until(20.0)
    assert stage.pool.counts() == counts(2, 2)


def test_a_cancelled_start_does_not_make_a_later_replica_ready_early() -> None:
    stage = Stage()
    stage.pool.scale(1)
    stage.loop.run_until(5.0)
    stage.pool.scale(0)
    stage.pool.scale(1)

    stage.loop.run_until(12.0)
    assert stage.pool.counts() == counts(1, 0, starting=1)
    stage.loop.run_until(15.0)
    assert stage.pool.counts() == counts(1, 1)


def test_a_busy_replica_drains_takes_nothing_new_and_leaves_when_idle() -> None:
    stage = Stage(start_with=2)
    stage.submit()
    stage.submit()
    stage.pool.scale(1)

    assert stage.pool.counts() == counts(1, 1, draining=1, running=2)
    stage.submit()
    assert stage.shares() == [2, 1], "the newest drains"
    stage.engines[1].finish_all()
    assert stage.pool.counts() == counts(1, 1, running=2)
    assert stage.cluster.held_gpus == GPUS_PER_REPLICA


def test_an_idle_replica_leaves_at_once() -> None:
    stage = Stage(start_with=2)
    stage.pool.scale(1)

    assert stage.pool.counts() == counts(1, 1)


def test_requests_wait_in_front_of_a_pool_without_a_ready_replica() -> None:
    stage = Stage()
    stage.submit()
    stage.pool.scale(1)

    assert stage.pool.counts() == counts(1, 0, starting=1, waiting=1)
    stage.loop.run_until(10.0)
    assert stage.pool.counts() == counts(1, 1, running=1)


def test_replicas_beyond_the_cluster_are_pending_until_gpus_are_given_back() -> None:
    stage = Stage(start_with=1, gpus=4)
    stage.submit()
    stage.pool.scale(3)
    assert stage.pool.counts() == counts(3, 1, starting=1, pending=1, running=1)

    stage.pool.scale(2)
    assert stage.pool.counts() == counts(2, 1, starting=1, running=1), "the pending one is cancelled first"

    stage.pool.scale(0)
    stage.pool.scale(2)
    assert stage.pool.counts() == counts(2, 0, starting=1, pending=1, draining=1, running=1)
    stage.engines[0].finish_all()
    assert stage.pool.counts() == counts(2, 0, starting=2)


def test_gpu_hours_count_from_order_to_departure() -> None:
    stage = Stage(start_with=1)
    stage.loop.run_until(100.0)
    stage.pool.scale(2)
    stage.loop.run_until(120.0)
    stage.submit()
    stage.submit()
    stage.pool.scale(1)
    stage.loop.run_until(150.0)
    stage.engines[1].finish_all()
    stage.loop.run_until(200.0)

    replica_s = 200 + (150 - 100)
    assert stage.cluster.gpu_hours() == pytest.approx(replica_s * GPUS_PER_REPLICA / 3600)
    assert stage.cluster.peak_gpus == 2 * GPUS_PER_REPLICA


def test_least_loaded_counts_tokens_not_requests() -> None:
    stage = Stage(start_with=2)
    for isl in (100, 10, 10, 10):
        stage.submit(isl)

    assert stage.shares() == [1, 3]


def test_round_robin_takes_turns_whatever_the_load() -> None:
    stage = Stage(start_with=3, routing="round_robin")
    for isl in (1000, 1, 1, 1000, 1, 1):
        stage.submit(isl)

    assert stage.shares() == [2, 2, 2]


def test_random_routing_repeats_with_its_seed() -> None:
    def shares() -> list[int]:
        stage = Stage(start_with=3, routing="random")
        for _ in range(300):
            stage.submit()
        return stage.shares()

    assert shares() == shares()
    assert min(shares()) > 60
