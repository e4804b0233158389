"""A pool of replicas: their lives, and the router in front of them.

A replica is pending until the cluster has GPUs for it, starting for the start-up time, then ready. Removed, it is gone
at once unless it is ready and busy: then it drains, taking nothing new and finishing what it has, its queue included.
Removal takes the pending first, then the starting, then the ready, the newest of each first, as a ReplicaSet does.

The router chooses among the ready replicas; with none, requests wait in front of the pool for the first to be ready.
It never moves a request once sent, so a backlog stays where it arose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from random import Random
from typing import Protocol

from planner.scaling.settings import Routing
from planner.sim.cluster import Cluster
from planner.sim.flight import Flight
from planner.sim.loop import Handler, Loop


class Engine(Protocol):
    """What a replica runs."""

    held_tokens: int
    """Tokens of the requests it has, the router's measure of load: prompts when prefilling, else answers as well."""

    @property
    def waiting(self) -> int:
        """Requests not begun."""
        ...

    @property
    def running(self) -> int:
        """Requests being worked on."""
        ...

    def submit(self, flight: Flight) -> None:
        """Take a request in, now."""
        ...


class Phase(IntEnum):
    """A replica's life, in the order of removal."""

    PENDING = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    GONE = 4


@dataclass(slots=True, eq=False)
class Replica:
    """One replica and the phase of its life."""

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
    """Replicas of one role behind one router. `make_engine` is given what to call when the engine falls idle."""

    def __init__(
        self,
        loop: Loop,
        cluster: Cluster,
        gpus_per_replica: int,
        startup_s: float,
        routing: Routing,
        random: Random,
        make_engine: Callable[[Handler], Engine],
    ) -> None:
        self._loop = loop
        self._cluster = cluster
        self._gpus_per_replica = gpus_per_replica
        self._startup_s = startup_s
        self._make_engine = make_engine
        self._choose = _ROUTERS[routing](random)
        self._replicas: list[Replica] = []
        self._ready: list[Replica] = []
        self._unrouted: deque[Flight] = deque()
        self._wanted = 0
        cluster.when_free(self._place_pending)

    def submit(self, flight: Flight) -> None:
        """Route a request."""
        if self._ready:
            self._choose(self._ready).engine.submit(flight)
        else:
            self._unrouted.append(flight)

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
        return PoolCounts(
            wanted=self._wanted,
            ready=len(self._ready),
            starting=phases.count(Phase.STARTING),
            pending=phases.count(Phase.PENDING),
            draining=phases.count(Phase.DRAINING),
            waiting=len(self._unrouted) + sum(replica.engine.waiting for replica in self._replicas),
            running=sum(replica.engine.running for replica in self._replicas),
        )

    def _order(self) -> None:
        replica = Replica(self._make_engine(lambda: self._fell_idle(replica)))
        self._replicas.append(replica)
        self._place(replica)

    def _place_pending(self) -> None:
        for replica in self._replicas:
            if replica.phase is Phase.PENDING:
                self._place(replica)

    def _place(self, replica: Replica) -> None:
        if self._cluster.take(self._gpus_per_replica):
            replica.phase = Phase.STARTING
            self._loop.at(self._loop.now_s + self._startup_s, lambda: self._started(replica))

    def _started(self, replica: Replica) -> None:
        if replica.phase is Phase.STARTING:  # else cancelled meanwhile
            self._become_ready(replica)

    def _become_ready(self, replica: Replica) -> None:
        replica.phase = Phase.READY
        self._ready.append(replica)
        while self._unrouted:
            self.submit(self._unrouted.popleft())

    def _remove(self, replica: Replica) -> None:
        held_gpus = replica.phase is not Phase.PENDING
        if replica.phase is Phase.READY:
            self._ready.remove(replica)
            if replica.engine.waiting or replica.engine.running:
                replica.phase = Phase.DRAINING
                return
        self._leave(replica, held_gpus)

    def _fell_idle(self, replica: Replica) -> None:
        if replica.phase is Phase.DRAINING:
            self._leave(replica, held_gpus=True)

    def _leave(self, replica: Replica, held_gpus: bool) -> None:
        replica.phase = Phase.GONE
        self._replicas.remove(replica)
        if held_gpus:
            self._cluster.give(self._gpus_per_replica)


Router = Callable[[list[Replica]], Replica]


def _least_loaded(_random: Random) -> Router:
    load = attrgetter("engine.held_tokens")
    return lambda ready: min(ready, key=load)


def _round_robin(_random: Random) -> Router:
    sent = 0

    def choose(ready: list[Replica]) -> Replica:
        nonlocal sent
        sent += 1
        return ready[sent % len(ready)]

    return choose


def _at_random(random: Random) -> Router:
    return random.choice


_ROUTERS: dict[Routing, Callable[[Random], Router]] = {
    "least_loaded": _least_loaded,
    "round_robin": _round_robin,
    "random": _at_random,
}
