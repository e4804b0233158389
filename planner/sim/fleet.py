"""One service's fleet: requests go in, metrics come out, replicas are ordered.

Disaggregated: the router sends a prompt to the prefill pool and, once it is computed and its KV cache has moved, to
the decode pool. Aggregated: one pool does both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from planner.scaling.types import Role, ServiceSamples
from planner.sim.batching import BatchingEngine
from planner.sim.cluster import Account, Cluster
from planner.sim.engine import Engine
from planner.sim.flight import Flight
from planner.sim.ledger import Ledger
from planner.sim.loads import Request
from planner.sim.loop import Handler, Loop
from planner.sim.metrics import Metrics
from planner.sim.pool import Pool, PoolCounts
from planner.sim.prefill import PrefillEngine
from planner.sim.settings import FleetSettings
from planner.sim.timing import PacedTiming


class Fleet:
    """The pools of one service, and the sink its engines report to. `seed` tells it from other services' fleets."""

    def __init__(self, settings: FleetSettings, loop: Loop, cluster: Cluster, ledger: Ledger, seed: str) -> None:
        conditions = self._conditions = settings.conditions
        self._loop = loop
        self._ledger = ledger
        self._timings = [
            settings.timing if speed == 1 else PacedTiming(settings.timing, speed) for speed in conditions.speeds
        ]
        self._max_kv_tokens = settings.timing.max_kv_tokens
        self._moving = 0  # requests whose KV cache is on its way
        self._pools: dict[Role, Pool] = {}
        self.account = Account(loop, cluster)
        for role, setup in settings.pools.items():
            self._pools[role] = Pool(
                loop,
                self.account,
                setup.gpus_per_replica,
                conditions.lives,
                conditions.decode_routing if role is Role.DECODE else conditions.routing,
                f"{seed}:{role}",
                partial(self._make_engine, role),
                self._lost,
            )
            self._pools[role].start_with(setup.replicas)
        self._entry = self._pools.get(Role.PREFILL) or self._pools[Role.AGGREGATED]
        self._metrics = Metrics(conditions.scraping, loop, self.counts)
        self._counters = self._metrics.counters

    def arrive(self, request: Request) -> Flight:
        """Take a request in, now."""
        arrival_s, isl, osl = request
        hit_rate = self._conditions.prefix_hit_rate
        flight = Flight(arrival_s, isl, osl, max(1, math.ceil(isl * (1 - hit_rate))) if hit_rate else isl)
        self._ledger.arrive(flight)
        self._counters.arrivals += 1
        if isl + osl > self._max_kv_tokens:
            self._ledger.refuse(flight, arrival_s)
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

    def population(self) -> int:
        """Requests in the fleet, wherever they are."""
        return self._moving + sum(counts.waiting + counts.running for counts in self.counts().values())

    def read_metrics(self) -> ServiceSamples:
        """What the planner is shown now."""
        return self._metrics.read()

    def prompt_done(self, flight: Flight) -> None:
        """From a prefill replica."""
        if self._conditions.first_token_from == "prefill":
            flight.write_first(self._loop.now_s)
            self.first_token(flight)
            if flight.osl == 1:
                flight.finish_s = flight.first_token_s
                self.finished(flight)
                return
        speed = self._conditions.kv_transfer_tokens_per_s
        if speed is None:
            self._pools[Role.DECODE].submit(flight)
        else:
            self._moving += 1
            self._loop.at(self._loop.now_s + flight.isl / speed, partial(self._moved, flight))

    def first_token(self, flight: Flight) -> None:
        """From the replica that writes it."""
        self._counters.first_token(flight)

    def tokens(self, count: int, seconds: float) -> None:
        """From a decode or aggregated replica."""
        self._counters.tokens += count
        self._counters.gaps_s += seconds

    def preempted(self, flight: Flight) -> None:
        """From a decode or aggregated replica."""
        self._ledger.preempt()

    def finished(self, flight: Flight) -> None:
        """From the replica that writes the last token."""
        self._counters.finished(flight)
        self._ledger.finish(flight)

    def _moved(self, flight: Flight) -> None:
        self._moving -= 1
        self._pools[Role.DECODE].submit(flight)

    def _lost(self, flight: Flight) -> None:
        self._ledger.lose(flight, self._loop.now_s)

    def _make_engine(self, role: Role, number: int, on_idle: Handler) -> Engine:
        timing = self._timings[number % len(self._timings)]
        if role is Role.PREFILL:
            return PrefillEngine(self._loop, timing, self, self._conditions.prefill, on_idle)
        return BatchingEngine(self._loop, timing, self, self._conditions.batching, on_idle)
