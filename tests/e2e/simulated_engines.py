"""Engines of an aggregated service as vLLM would show them, played by the fleet simulator at the pace of the wall.

As many engines serve as there are Ready pods (`follow`); one whose pod goes takes nothing new and finishes what it has.
The simulation catches up whenever somebody looks. Its own ledger, which no planner sees, tells how many requests met
both targets. Names and bucket edges are vLLM's; units are seconds and tokens.

Limit: which engine did what is not told apart. What was done between two looks is counted by all pods alike.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from threading import Lock

from prometheus_dialects import ONE_TWO_FIVE, VLLM_TTFT, Lines
from prometheus_site import Replica

from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Role
from planner.sim.cluster import Cluster
from planner.sim.fleet import Fleet
from planner.sim.flight import Flight
from planner.sim.ledger import Ledger, Outcome
from planner.sim.lives import Lives
from planner.sim.loads import Request
from planner.sim.loop import Loop
from planner.sim.settings import Conditions, FleetSettings, fleet_as_configured

Totals = dict[tuple[str, str], float]
"""Value by a series' name and edge; the edge is empty where there is none."""


class SimulatedEngines(Replica):
    """All engines of the service behind one scrape, from now on; `requests` are sorted, and count from now."""

    def __init__(self, namespace: str, service: ServiceSettings, requests: Iterable[Request], pods: int) -> None:
        """`pods` of them are there already; who they are is told by `follow`."""
        super().__init__({})
        self._namespace = namespace
        self._lock = Lock()
        self._loop = Loop()
        self._ledger = Ledger(service.targets)
        # A pod that says it is Ready has started: the cluster's time, not the simulation's.
        conditions = Conditions(Lives(startup_s=0.0), service.sizing.routing)
        settings = fleet_as_configured(service, conditions, {Role.AGGREGATED: pods})
        self._fleet = _Counting(settings, self._loop, Cluster(None), self._ledger, namespace)
        self._coming = iter(requests)
        self._pods: dict[str, Totals] = {}
        self._arrive_next()

    @property
    def now_s(self) -> float:
        """Since the beginning."""
        return time.time() - self.begun_s

    def follow(self, pods: Collection[str]) -> None:
        """These pods are Ready from now on."""
        with self._lock:
            self._catch_up()
            self._pods = {pod: self._pods.get(pod, {}) for pod in pods}
            self._fleet.order({Role.AGGREGATED: len(pods)})

    def outcome(self) -> Outcome:
        """What became of all requests until now."""
        with self._lock:
            self._catch_up()
            return self._ledger.judge(max(self._loop.now_s, 1e-9))

    def text(self) -> str:
        """In the exposition format."""
        with self._lock:
            self._catch_up()
            counts = self._fleet.counts()[Role.AGGREGATED]
            texts = []
            for pod, totals in self._pods.items():
                labels = {"namespace": self._namespace, "pod": pod, "model_name": "llama", "engine": "0"}
                lines = Lines("vllm:", labels)
                lines.put("num_requests_running", counts.running / len(self._pods))
                lines.put("num_requests_waiting", counts.waiting / len(self._pods))
                for (name, edge), value in totals.items():
                    lines.put(name, value, **({"le": edge} if edge else {}))
                texts.append(lines.text())
            return "".join(texts)

    def _catch_up(self) -> None:
        self._loop.run_until(max(self._loop.now_s, self.now_s))
        if not self._pods:
            # Told by the first that comes.
            return
        done = self._fleet.taken()
        for pod, totals in self._pods.items():
            self._pods[pod] = {series: totals.get(series, 0.0) + done[series] / len(self._pods) for series in done}

    def _arrive_next(self) -> None:
        request = next(self._coming, None)
        if request is not None:
            self._loop.at(max(request.arrival_s, self._loop.now_s), lambda: self._arrive(request))

    def _arrive(self, request: Request) -> None:
        self._fleet.arrive(request)
        self._arrive_next()


class _Counting(Fleet):
    """A fleet whose engines count as vLLM's do: prompts at their first token, answers at their last."""

    def __init__(self, settings: FleetSettings, loop: Loop, cluster: Cluster, ledger: Ledger, seed: str) -> None:
        super().__init__(settings, loop, cluster, ledger, seed)
        self._ttft_s = _Histogram("time_to_first_token_seconds", VLLM_TTFT)
        self._queue_s = _Histogram("request_queue_time_seconds", ())
        self._itl_s = _Histogram("inter_token_latency_seconds", ())
        self._isl = _Histogram("request_prompt_tokens", ONE_TWO_FIVE)
        self._osl = _Histogram("request_generation_tokens", ())

    def first_token(self, flight: Flight) -> None:
        """From the replica that writes it."""
        super().first_token(flight)
        assert flight.first_token_s is not None
        assert flight.prefill_start_s is not None
        self._ttft_s.add(flight.first_token_s - flight.arrival_s)
        self._queue_s.add(flight.prefill_start_s - flight.arrival_s)
        self._isl.add(flight.isl)

    def tokens(self, count: int, seconds: float) -> None:
        """From a replica that writes several requests' at once."""
        super().tokens(count, seconds)
        if count:
            self._itl_s.add(seconds / count, count)

    def finished(self, flight: Flight) -> None:
        """From the replica that writes the last token."""
        super().finished(flight)
        self._osl.add(flight.osl)

    def taken(self) -> Totals:
        """What was counted since the last call."""
        done: Totals = {("prompt_tokens_total", ""): self._isl.sum}
        for each in (self._ttft_s, self._queue_s, self._itl_s, self._isl, self._osl):
            done |= each.taken()
        return done


class _Histogram:
    """Counts of values by upper edge."""

    def __init__(self, name: str, edges: Sequence[float]) -> None:
        self._name = name
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def add(self, value: float, weight: int = 1) -> None:
        """Count a value so many times."""
        self._counts[bisect_left(self._edges, value)] += weight
        self.sum += value * weight

    def taken(self) -> Iterator[tuple[tuple[str, str], float]]:
        """All series, which begin again at nothing."""
        upto = list(accumulate(self._counts))
        texts = [*(repr(float(edge)) for edge in self._edges), "+Inf"]
        yield from (((f"{self._name}_bucket", text), count) for text, count in zip(texts, upto, strict=True))
        yield (f"{self._name}_sum", ""), self.sum
        yield (f"{self._name}_count", ""), upto[-1]
        self._counts, self.sum = [0] * len(self._counts), 0.0
