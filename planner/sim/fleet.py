"""One service's fleet: requests go in, metrics come out, replicas are ordered.

Disaggregated: the router sends a prompt to the prefill pool, and, once it has its first token, to the least loaded
decode replica. Aggregated: one pool does both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from planner.scaling.types import Role, ServiceSamples
from planner.sim.aggregated import AggregatedEngine
from planner.sim.cluster import Cluster
from planner.sim.decode import DecodeEngine
from planner.sim.flight import Flight, Sink
from planner.sim.ledger import Ledger
from planner.sim.loads import Request
from planner.sim.loop import Handler, Loop
from planner.sim.metrics import Window
from planner.sim.pool import Engine, Pool, PoolCounts
from planner.sim.prefill import PrefillEngine
from planner.sim.settings import FleetSettings
from planner.sim.timing import Timing


class Fleet:
    """The pools of one service, and the sink its engines report to."""

    def __init__(self, settings: FleetSettings, loop: Loop, ledger: Ledger, seed: int) -> None:
        self.cluster = Cluster(loop, settings.gpus)
        self._loop = loop
        self._ledger = ledger
        self._max_kv_tokens = settings.timing.max_kv_tokens
        self._window = Window(loop.now_s)
        self._first_token_from = settings.first_token_from
        self._pools: dict[Role, Pool] = {}
        engines: dict[Role, Callable[[Loop, Timing, Sink, Handler], Engine]] = {
            Role.PREFILL: partial(PrefillEngine, discipline=settings.prefill),
            Role.DECODE: DecodeEngine,
            Role.AGGREGATED: AggregatedEngine,
        }
        for role, setup in settings.pools.items():
            self._pools[role] = Pool(
                loop,
                self.cluster,
                setup.gpus_per_replica,
                settings.startup_s,
                settings.decode_routing if role is Role.DECODE else settings.routing,
                Random(f"{seed}:routing:{role}"),
                partial(engines[role], loop, settings.timing, self),
            )
            self._pools[role].start_with(setup.replicas)
        self._entry = self._pools.get(Role.PREFILL) or self._pools[Role.AGGREGATED]

    def arrive(self, request: Request) -> Flight:
        """Take a request in, now."""
        flight = Flight(request.arrival_s, request.isl, request.osl)
        self._ledger.arrive(flight)
        self._window.arrived()
        if flight.total_tokens > self._max_kv_tokens:
            self._ledger.fail(flight)
        else:
            self._entry.submit(flight)
        return flight

    def order(self, replicas: Mapping[Role, int]) -> None:
        """Have so many replicas; pools not named keep theirs."""
        for role, wanted in replicas.items():
            self._pools[role].scale(wanted)

    def counts(self) -> dict[Role, PoolCounts]:
        """How each pool stands now."""
        return {role: pool.counts() for role, pool in self._pools.items()}

    def read_metrics(self) -> ServiceSamples:
        """Samples since the last reading; starts a new window."""
        samples = self._window.read(self._loop.now_s, self.counts())
        self._window = Window(self._loop.now_s)
        return samples

    def prompt_done(self, flight: Flight) -> None:
        """From a prefill replica."""
        if self._first_token_from is Role.PREFILL:
            flight.first_token_s = self._loop.now_s
            self.first_token(flight)
            if flight.osl == 1:
                flight.finish_s = flight.first_token_s
                self.finished(flight)
                return
        self._pools[Role.DECODE].submit(flight)

    def first_token(self, flight: Flight) -> None:
        """From the replica that writes it."""
        self._window.first_token(flight)

    def tokens(self, count: int, seconds: float) -> None:
        """From a decode or aggregated replica."""
        self._window.tokens(count, seconds)

    def finished(self, flight: Flight) -> None:
        """From a decode or aggregated replica."""
        self._window.finished(flight)
        self._ledger.finish(flight)
