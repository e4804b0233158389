"""A pool of replicas: their lives, and the router in front of them.

A replica is pending until the cluster has GPUs for it, starting for the start-up time, then ready. Removed, it is gone
at once unless it is ready and busy: then it drains, taking nothing new and finishing what it has, its queue included.
Removal takes the pending first, then the starting, then the ready, the newest of each first, as a ReplicaSet does.

The router chooses among the ready replicas; with none, requests wait in front of the pool for the first to be ready.
It never moves a request once sent, so a backlog stays where it arose; with a shared queue there is nothing to send:
all wait in front of the pool, and the ready replicas take from it.

A replica that crashes loses what it has and starts again where it is; one that drains for longer than its grace is
killed, and what it still has is lost.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from random import Random

from planner.scaling.settings import Routing
from planner.sim.cluster import Account
from planner.sim.engine import Engine
from planner.sim.flight import Flight
from planner.sim.lives import Lives
from planner.sim.loop import Handler, Loop


class Phase(IntEnum):
    """A replica's life, in the order of removal."""

    PENDING = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    GONE = 4


@dataclass(slots=True, eq=False)
class Replica:
    """One replica, the hardware it runs on, and the phase of its life."""

    number: int
    engine: Engine
    phase: Phase = Phase.PENDING


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """Replicas by phase, and requests that wait or run in them or wait in front of the pool."""

    wanted: int
    ready: int
    starting: int
    pending: int
    draining: int
    waiting: int
    running: int


class Pool:
    """Replicas of one role behind one router.

    `make_engine` is given the number of the replica, from 0, and what to call when the engine falls idle; `lost` is
    told of every request that dies with its replica.
    """

    def __init__(
        self,
        loop: Loop,
        account: Account,
        gpus_per_replica: int,
        lives: Lives,
        routing: Routing,
        seed: str,
        make_engine: Callable[[int, Handler], Engine],
        lost: Callable[[Flight], None],
    ) -> None:
        self._loop = loop
        self._account = account
        self._gpus_per_replica = gpus_per_replica
        self._lives = lives
        self._random = Random(f"{seed}:lives")
        self._make_engine = make_engine
        self._lost = lost
        self._shares_queue = routing == "shared_queue"
        self._choose = _ROUTERS[routing](Random(f"{seed}:routing"))
        self._made = 0
        self._replicas: list[Replica] = []
        self._ready: list[Engine] = []
        self._queue: deque[Flight] = deque()
        self._wanted = 0
        account.cluster.when_free(self._place_pending)

    def submit(self, flight: Flight) -> None:
        """Route a request."""
        if self._shares_queue or not self._ready:
            self._queue.append(flight)
            if self._ready:
                self._choose(self._ready).nudge()
        else:
            self._choose(self._ready).submit(flight)

    def scale(self, wanted: int) -> None:
        """Order so many replicas, draining ones not counted."""
        alive = [replica for replica in reversed(self._replicas) if replica.phase <= Phase.READY]
        self._wanted = wanted
        for _ in range(wanted - len(alive)):
            self._order()
        # `alive` runs from new to old, and sorting is stable: the newest of each phase go first.
        for replica in sorted(alive, key=attrgetter("phase"))[: max(0, len(alive) - wanted)]:
            self._remove(replica)

    def start_with(self, count: int) -> None:
        """Have so many replicas ready now, as if ordered long ago. For the beginning of a run."""
        self.scale(count)
        for replica in self._replicas:
            if replica.phase is Phase.STARTING:
                self._become_ready(replica)

    def counts(self) -> PoolCounts:
        """How things stand now."""
        phases = [replica.phase for replica in self._replicas]
        engines = [replica.engine for replica in self._replicas]
        return PoolCounts(
            wanted=self._wanted,
            ready=len(self._ready),
            starting=phases.count(Phase.STARTING),
            pending=phases.count(Phase.PENDING),
            draining=phases.count(Phase.DRAINING),
            waiting=len(self._queue) + sum(len(engine.queue) for engine in engines if engine.queue is not self._queue),
            running=sum(engine.running for engine in engines),
        )

    def _order(self) -> None:
        replica = Replica(self._made, self._make_engine(self._made, lambda: self._fell_idle(replica)))
        self._made += 1
        self._replicas.append(replica)
        self._place(replica)

    def _place_pending(self) -> None:
        for replica in self._replicas:
            if replica.phase is Phase.PENDING:
                self._place(replica)

    def _place(self, replica: Replica) -> None:
        if self._account.take(self._gpus_per_replica):
            self._start(replica)

    def _start(self, replica: Replica) -> None:
        replica.phase = Phase.STARTING
        self._loop.at(self._loop.now_s + self._lives.start_s(self._random), lambda: self._started(replica))

    def _started(self, replica: Replica) -> None:
        if replica.phase is Phase.STARTING:  # else cancelled meanwhile
            self._become_ready(replica)

    def _become_ready(self, replica: Replica) -> None:
        replica.phase = Phase.READY
        self._ready.append(replica.engine)
        crash_after_s = self._lives.crash_after_s(self._random)
        if crash_after_s is not None:
            engine = replica.engine
            self._loop.at(self._loop.now_s + crash_after_s, lambda: self._crash(replica, engine))
        if self._shares_queue:
            replica.engine.pull_from(self._queue)
            return
        while self._queue:
            self.submit(self._queue.popleft())

    def _crash(self, replica: Replica, engine: Engine) -> None:
        if replica.engine is not engine or replica.phase is Phase.GONE:
            return
        self._kill(engine)
        if replica.phase is Phase.DRAINING:
            self._leave(replica)
            return
        self._ready.remove(engine)
        replica.engine = self._make_engine(replica.number, lambda: self._fell_idle(replica))
        self._start(replica)

    def _remove(self, replica: Replica) -> None:
        if replica.phase is Phase.READY:
            self._ready.remove(replica.engine)
            replica.engine.stop_pulling()
            if replica.engine.queue or replica.engine.running:
                replica.phase = Phase.DRAINING
                if not math.isinf(self._lives.grace_s):
                    self._loop.at(self._loop.now_s + self._lives.grace_s, lambda: self._grace_over(replica))
                return
        self._leave(replica)

    def _grace_over(self, replica: Replica) -> None:
        if replica.phase is Phase.DRAINING:
            self._kill(replica.engine)
            self._leave(replica)

    def _kill(self, engine: Engine) -> None:
        for flight in engine.kill():
            self._lost(flight)

    def _fell_idle(self, replica: Replica) -> None:
        if replica.phase is Phase.DRAINING:
            self._leave(replica)

    def _leave(self, replica: Replica) -> None:
        held_gpus = replica.phase is not Phase.PENDING
        replica.phase = Phase.GONE
        self._replicas.remove(replica)
        if held_gpus:
            self._account.give(self._gpus_per_replica)


Router = Callable[[list[Engine]], Engine]


def _least_loaded(_random: Random) -> Router:
    load = attrgetter("held_tokens")
    return lambda ready: min(ready, key=load)


def _power_of_two(random: Random) -> Router:
    def choose(ready: list[Engine]) -> Engine:
        first = ready[int(random.random() * len(ready))]
        if len(ready) == 1:
            return first
        second = first
        while second is first:
            second = ready[int(random.random() * len(ready))]
        return first if first.held_tokens <= second.held_tokens else second

    return choose


def _round_robin(_random: Random) -> Router:
    sent = 0

    def choose(ready: list[Engine]) -> Engine:
        nonlocal sent
        sent += 1
        return ready[sent % len(ready)]

    return choose


def _at_random(random: Random) -> Router:
    return random.choice


_ROUTERS: dict[Routing, Callable[[Random], Router]] = {
    "least_loaded": _least_loaded,
    "shared_queue": _least_loaded,  # whom to wake: an idle one, if there is one
    "power_of_two": _power_of_two,
    "round_robin": _round_robin,
    "random": _at_random,
}
