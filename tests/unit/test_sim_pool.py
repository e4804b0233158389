"""A replica's life: start-up, draining, cancelling, waiting for GPUs, and what holding GPUs costs."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from planner.errors import UserError
from planner.scaling.settings import Routing
from planner.sim.cluster import Account, Cluster
from planner.sim.engine import Discipline, Engine
from planner.sim.flight import Flight
from planner.sim.lives import Lives
from planner.sim.loop import Handler, Loop
from planner.sim.pool import Pool, PoolCounts
from planner.sim.timing import LinearTiming

STARTUP_S = 10.0
LIVES = Lives(STARTUP_S)
TIMING = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)
GPUS_PER_REPLICA = 2


class ManualEngine(Engine):
    """Holds what it is given until the test finishes it."""

    def __init__(self, on_idle: Handler) -> None:
        super().__init__(Loop(), TIMING, Silence(), Discipline(), on_idle)
        self.flights: list[Flight] = []

    @property
    def running(self) -> int:
        return len(self.flights)

    def nudge(self) -> None:
        while self.queue:
            self.flights.append(self._take())

    def finish_all(self) -> None:
        self.flights.clear()
        self.held_tokens = 0
        self._on_idle()

    def _inside(self) -> list[Flight]:
        return list(self.flights)

    def _weight(self, flight: Flight) -> int:
        return flight.isl


class Silence:
    """A sink that nobody listens to."""

    def prompt_done(self, flight: Flight) -> None: ...

    def first_token(self, flight: Flight) -> None: ...

    def tokens(self, count: int, seconds: float) -> None: ...

    def preempted(self, flight: Flight) -> None: ...

    def finished(self, flight: Flight) -> None: ...


class Stage:
    """A pool with its clock, its cluster, every engine it ever made, oldest first, and what was lost."""

    def __init__(
        self,
        start_with: int = 0,
        gpus: int | None = None,
        routing: Routing = "least_loaded",
        lives: Lives = LIVES,
    ) -> None:
        self.loop = Loop()
        self.cluster = Cluster(gpus)
        self.account = Account(self.loop, self.cluster)
        self.engines: list[ManualEngine] = []
        self.numbers: list[int] = []
        self.lost: list[Flight] = []
        self.pool = Pool(
            self.loop, self.account, GPUS_PER_REPLICA, lives, routing, "0", self._make_engine, self.lost.append
        )
        self.pool.start_with(start_with)

    def _make_engine(self, number: int, on_idle: Handler) -> ManualEngine:
        self.numbers.append(number)
        self.engines.append(ManualEngine(on_idle))
        return self.engines[-1]

    def submit(self, isl: int = 1) -> None:
        self.pool.submit(Flight(self.loop.now_s, isl, 1, isl))

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
    assert stage.account.gpu_hours() == pytest.approx(replica_s * GPUS_PER_REPLICA / 3600)
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


def test_power_of_two_takes_the_less_loaded_of_two() -> None:
    stage = Stage(start_with=2, routing="power_of_two")
    for isl in (100, 10, 10, 10):
        stage.submit(isl)

    assert sorted(stage.shares()) == [1, 3]


def test_replicas_with_a_shared_queue_take_from_it_once_they_are_ready() -> None:
    stage = Stage(routing="shared_queue")
    for _ in range(3):
        stage.submit()
    stage.pool.scale(1)

    assert stage.pool.counts() == counts(1, 0, starting=1, waiting=3)
    stage.loop.run_until(STARTUP_S)
    assert stage.pool.counts() == counts(1, 1, running=3)


def test_a_draining_replica_leaves_the_shared_queue_alone() -> None:
    stage = Stage(start_with=2, routing="shared_queue")
    stage.submit()
    stage.submit()
    stage.pool.scale(1)
    for _ in range(3):
        stage.submit()

    assert stage.shares() == [4, 1]


# --- what befalls replicas ----------------------------------------------------------------------------------------


def test_a_crashed_replica_loses_what_it_has_and_starts_again_on_its_gpus() -> None:
    stage = Stage(start_with=1, lives=replace(LIVES, crash_every_s=50.0))
    stage.submit()
    stage.submit()
    crashed_s = next(at_s for at_s in np.arange(0.0, 1000.0, 0.5) if _ready_at(stage, float(at_s)) == 0)

    assert stage.pool.counts() == counts(1, 0, starting=1)
    assert len(stage.lost) == 2
    assert stage.numbers == [0, 0], "the same hardware"
    assert stage.cluster.held_gpus == GPUS_PER_REPLICA
    stage.loop.run_until(crashed_s + STARTUP_S)
    assert stage.pool.counts().ready == 1


def _ready_at(stage: Stage, at_s: float) -> int:
    stage.loop.run_until(at_s)
    return stage.pool.counts().ready


def test_crashes_come_as_often_as_they_are_said_to() -> None:
    stage = Stage(start_with=20, lives=Lives(startup_s=0.0, crash_every_s=100.0))
    stage.loop.run_until(10_000.0)

    assert len(stage.engines) - 20 == pytest.approx(20 * 100, rel=0.1)


def test_a_replica_that_crashes_while_draining_is_gone() -> None:
    stage = Stage(start_with=1, lives=replace(LIVES, crash_every_s=50.0))
    stage.submit()
    stage.pool.scale(0)
    assert stage.pool.counts() == counts(0, 0, draining=1, running=1)
    stage.loop.run_until(2000.0)

    assert stage.pool.counts() == counts(0, 0)
    assert len(stage.lost) == 1
    assert stage.cluster.held_gpus == 0


def test_a_draining_replica_is_killed_when_its_grace_is_over() -> None:
    stage = Stage(start_with=2, lives=replace(LIVES, grace_s=30.0))
    stage.submit()
    stage.submit()
    stage.pool.scale(0)
    stage.loop.run_until(20.0)
    stage.engines[0].finish_all()

    assert stage.pool.counts() == counts(0, 0, draining=1, running=1)
    stage.loop.run_until(30.0)
    assert stage.pool.counts() == counts(0, 0)
    assert len(stage.lost) == 1
    assert stage.cluster.held_gpus == 0


@pytest.mark.parametrize(
    ("lives", "mean_s"),
    [
        pytest.param(Lives(60.0), 60.0, id="always the same"),
        pytest.param(Lives(60.0, startup_cv=0.5), 60.0, id="spread"),
        pytest.param(Lives(60.0, slow_start_share=0.1, slow_start_factor=4.0), 78.0, id="a tenth is slow"),
        # Two starts on average; back-offs of 10, 20, 40, 80, 160 s, each half as likely as the one before, then 300 s.
        pytest.param(Lives(60.0, failed_start_share=0.5), 120.0 + 5 * 5.0 + 300.0 / 32, id="half fails"),
    ],
)
def test_starts_take_as_long_as_they_are_said_to(lives: Lives, mean_s: float) -> None:
    random = Random(1)
    starts_s = [lives.start_s(random) for _ in range(20_000)]

    assert np.mean(starts_s) == pytest.approx(mean_s, rel=0.02)
    assert np.std(starts_s) == 0 or lives != Lives(60.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"startup_s": -1.0}, "startup_s: -1.0 must be 0 or more"),
        ({"startup_s": float("inf")}, "startup_s: inf must be a finite number"),
        ({"startup_cv": -0.1}, "startup_cv: -0.1 must be 0 or more"),
        ({"slow_start_share": 1.5}, "slow_start_share: 1.5 must lie from 0 to 1"),
        ({"slow_start_factor": 0.5}, "slow_start_factor: 0.5 must be 1 or more"),
        ({"failed_start_share": 1.0}, "failed_start_share: 1.0 must lie from 0 to below 1"),
        ({"crash_every_s": 0.0}, "crash_every_s: 0.0 must be above 0"),
        ({"grace_s": -1.0}, "grace_s: -1.0 must be 0 or more"),
    ],
)
def test_lives_that_cannot_be_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(LIVES, **change)
