"""A fleet, its engines as Prometheus sees them, and a real planner over both, for the table of faults.

Settings hide nothing: the middle of the forecast, corrections that change nothing, and a fleet that is lowered as soon
as the highest wish of two windows allows. Times are seconds of the wall, scrapes one apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import httpx
from builders import CORRECTION, GUARDS, TARGETS, planner_settings, service_settings
from prometheus_client.parser import text_string_to_metric_families
from prometheus_site import Replica

from planner.api import Security, create_app
from planner.clock import WallClock
from planner.connectors.types import Applied, Plan
from planner.loop import ControlLoop
from planner.scaling.settings import DemandSettings, ObserveSettings, ServiceSettings
from planner.scaling.types import ReplicaSamples, Role, Sample
from planner.sources.prometheus.answers import Cause
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource
from planner.sources.types import Queries
from planner.steering import Steering

A = Role.AGGREGATED
INTERVAL_S = 4.0
WINDOW_S = 5.0
TIMEOUT_S = 1.8
MAX_AGE_S = 8.0
RATE_PER_S = 19.0
REPLICAS = 3
"""What 13 to 25 requests a second need, so that the noise of short windows moves nothing."""
PATIENCE_TICKS = 8


def settings_of(name: str) -> ServiceSettings:
    return service_settings(
        name,
        (A,),
        interval_s=INTERVAL_S,
        startup_s=INTERVAL_S,
        observe=ObserveSettings(MAX_AGE_S),
        demand=DemandSettings(quantile=0.5, history_s=600, lengths_half_life_s=60, reactive_floor=True),
        correction=replace(CORRECTION, lowest=1.0, highest=1.0),
        guards=replace(GUARDS, stabilisation_down_s=2 * WINDOW_S),
    )


# --- the fleet --------------------------------------------------------------------------------------------------------


class Engines(Replica):
    """The engines of one service, all behind one scrape; each has its share of the load."""

    def __init__(self, service: str) -> None:
        super().__init__({})
        self.namespace = service
        self.load_per_s = RATE_PER_S
        self.pods: Mapping[str, Replica] = {}
        self.hidden: Collection[str] = ()
        self.stamped = False
        self.instead: Callable[[str], str] = lambda text: text
        self.spread(REPLICAS)

    def spread(self, count: int, load_per_s: float | None = None) -> None:
        """So many engines share the load from now on; none forgets what it counted."""
        self.load_per_s = load_per_s or self.load_per_s
        now_s, share_per_s = time.time(), self.load_per_s / count
        pods = {}
        for pod in (f"pod-{number}" for number in range(count)):
            before = self.pods.get(pod)
            done = 0.0 if before is None else before.rate_per_s * (now_s - before.begun_s)
            pods[pod] = Replica(
                {}, rate_per_s=share_per_s, begun_s=now_s - done / share_per_s,
                isl=TARGETS.isl_tokens, osl=TARGETS.osl_tokens, ttft_s=TARGETS.ttft_s / 2, itl_s=TARGETS.itl_s / 2,
            )  # fmt: skip
        self.pods = pods

    def text(self) -> str:
        text = "".join(
            replica.text().replace("{", f'{{namespace="{self.namespace}",pod="{pod}",')
            for pod, replica in self.pods.items()
            if pod not in self.hidden
        )
        if self.stamped:
            text = text.replace("\n", f" {time.time() * 1000:.0f}\n")
        return self.instead(text)


class Again(Replica):
    """The same engines, scraped by another job."""

    def __init__(self, engines: Engines) -> None:
        super().__init__({"job": "again"})
        self._engines = engines
        self.on = False

    def text(self) -> str:
        return self._engines.text() if self.on else ""


class Fleet:
    """A connector whose orders are Ready at once; it keeps every step."""

    def __init__(self, engines: Mapping[str, Engines], clock: WallClock) -> None:
        self._engines = engines
        self._clock = clock
        self.steps: dict[str, list[int]] = {name: [REPLICAS] for name in engines}
        """Replicas of each service, from the first to the last order."""
        self.restarting = dict.fromkeys(engines, 0)

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        now_s, wanted, starting = self._clock.now_s(), self.steps[service][-1], self.restarting[service]
        counts = (wanted, wanted - starting, starting, 0, 0, 0)
        return {A: ReplicaSamples(*(Sample(count, now_s) for count in counts))}

    async def apply(self, plan: Plan) -> Applied:
        self.steps[plan.service].append(plan.replicas[A])
        self._engines[plan.service].spread(plan.replicas[A])
        return Applied("applied", "done")

    async def close(self) -> None: ...


# --- the planner ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What one tick left to be read."""

    phase: str
    service: str
    status: Mapping[str, Any]
    """Of the service, from /status."""
    metrics: str

    def sentences(self) -> list[str]:
        """Where people would look: health, trouble, and why each reading is not valid."""
        observed = self.status["decision"]["observation"]
        readings = ("rate_per_s", "isl_tokens", "osl_tokens", "ttft_s", "queue_s", "itl_s")
        causes = [observed[name]["cause"] for name in readings if observed[name]["cause"]]
        return [self.status["health"]["sentence"], *self.status["trouble"], *causes]

    def rate(self) -> Any:
        return self.status["decision"]["observation"]["rate_per_s"]

    def sample(self, name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(self.metrics):
            for sample in family.samples:
                if sample.name == f"sla_planner_{name}" and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    def not_valid(self) -> set[str]:
        readings = ("rate", "isl", "osl", "ttft", "itl")
        return {name for name in readings if not self.sample("reading_valid", service=self.service, reading=name)}


class Planner:
    """A real loop about some services, which one Prometheus tells of, and its API."""

    def __init__(self, url: str, engines: Mapping[str, Engines]) -> None:
        clock = WallClock()
        self.fleet = Fleet(engines, clock)
        self._client = PrometheusClient(PrometheusSettings(url))
        asked = {name: Asked(Selector({"namespace": name}, {}), {A: 1}, TARGETS.ttft_s) for name in engines}
        source = PrometheusSource(self._client, asked, load_maps(), clock, window_s=WINDOW_S, deadline_s=TIMEOUT_S)
        self.loop = ControlLoop(planner_settings(*map(settings_of, engines)), source, self.fleet, clock)
        steering = Steering(self.loop.desk, clock, self.loop.scribe)
        self._app = create_app(steering, None, Security(), self._queries)
        self.phases = dict.fromkeys(engines, "before")
        self.seen: dict[str, list[Seen]] = {name: [] for name in engines}
        self._news = asyncio.Condition()

    def _queries(self) -> Queries:
        stats = self._client.stats()
        return Queries(stats.queries, {cause: stats.failures.get(cause, 0) for cause in get_args(Cause)}, stats.seconds)

    async def run(self) -> None:
        looking = asyncio.create_task(self._look())
        await self.loop.run()
        await looking

    async def _look(self) -> None:
        """Read what every tick leaves, and what stood there when it was made."""
        transport, ticks = httpx.ASGITransport(self._app), 0
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            async for board in self.loop.desk.subscribe():
                if board.ticks == ticks:
                    continue
                ticks = board.ticks
                phases = dict(self.phases)
                status, metrics = await asyncio.gather(client.get("/status"), client.get("/metrics"))
                for name, service in status.json()["services"].items():
                    self.seen[name].append(Seen(phases[name], name, service, metrics.text))
                async with self._news:
                    self._news.notify_all()

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            async with self._news:
                await self._news.wait()

    async def until(self, service: str, what: Callable[[Seen], bool]) -> None:
        """Wait for a tick of which this is true, or until patience ends: what was seen is judged elsewhere."""
        for _ in range(PATIENCE_TICKS):
            await self.ticks(1)
            if what(self.seen[service][-1]):
                return
