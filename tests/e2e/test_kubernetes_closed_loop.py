"""The whole circle in real time: simulated engines on the pods that are Ready, Prometheus, planner, control plane.

The load triples and falls back; a pod takes 20 s to start. What is asserted is what the fleet and the requests went
through, moment by moment, never how long something took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from cluster import Cluster
from cluster_programs import Program
from kubernetes_fleet import SCALES, TARGET, Fleet, fleet
from pod_watch import PodWatch, watching
from prometheus_site import site
from simulated_engines import SimulatedEngines

from planner.config import build_settings, load_config
from planner.sim.loads import Request, lognormal_length

FIRST, BUDGET, NODE_GPUS = 3, 12, 16
"""Replicas at the start, GPUs of the budget, and those there are."""
START_S = 20.0
BASE_PER_S, HIGH_PER_S = 10.0, 30.0
ISL, OSL, SIGMA = 3000, 150, 0.2
ENOUGH = 300
"""Requests that a share is judged by."""
RULES = (
    *SCALES,
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
)
CONFIG = f"""\
budget: {{gpus: {BUDGET}}}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
aggregated: {{min_replicas: {FIRST}}}
sla: {{isl: {ISL}, osl: {OSL}, ttft: 300, itl: 20}}
interval_s: 5
startup_s: {START_S}
forecast: {{quantile: 0.5, history_s: 600}}
scaling: {{delayed_start_s: 10, stabilisation_down_s: 20}}
"""


class Load:
    """Poisson arrivals, of which the next is drawn when the one before has come."""

    def __init__(self) -> None:
        self.rate_per_s = BASE_PER_S

    def __iter__(self) -> Iterator[Request]:
        random, at_s = Random(1), 0.0
        while True:
            at_s += random.expovariate(self.rate_per_s)
            yield Request(at_s, lognormal_length(random, ISL, SIGMA), lognormal_length(random, OSL, SIGMA))


@dataclass(frozen=True)
class Circle:
    """What the test looks at, and the load that it sets."""

    fleet: Fleet
    watch: PodWatch
    engines: SimulatedEngines
    load: Load
    planner: Program

    @property
    def ready(self) -> int:
        """Pods that serve now."""
        return len(self.watch.moments[-1].ready)

    def until(self, what: str, check: Callable[[], bool]) -> None:
        """Wait for something; without it, the end of the planner's log tells why."""
        try:
            self.fleet.cluster.until(what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.planner.tail()}\n{self.watch.moments[-1]}") from None

    def until_fallen_to(self, replicas: int) -> None:
        """Wait until no more are ordered."""
        self.until(f"the fleet fell to {replicas}", lambda: self.fleet.replicas <= replicas)

    def share_of_the_next(self, what: str) -> float:
        """Of the next requests, those that met both targets."""
        before = self.engines.outcome().attainment
        judged = before.met + before.missed
        self.until(f"{ENOUGH} requests were judged {what}", lambda: self.engines.outcome().finished - judged >= ENOUGH)
        after = self.engines.outcome().attainment
        return (after.met - before.met) / (after.met + after.missed - judged)


@pytest.fixture
def circle(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Circle]:
    """Everything runs, and the fleet serves the load of the beginning."""
    here = fleet(cluster, tmp_path, gpus=NODE_GPUS)
    here.permit(RULES)
    here.deploy(FIRST, START_S)
    config, load = tmp_path / "planner.yaml", Load()
    config.write_text(CONFIG)
    (service,) = build_settings(load_config(config, {}, {})).services.values()
    with watching(cluster.kubeconfig, here.namespace) as watch:
        cluster.until("the first pods serve", lambda: len(watch.moments[-1].ready) == FIRST)
        engines = SimulatedEngines(here.namespace, service, load, FIRST)
        watch.tell(lambda moment: engines.follow(moment.ready))
        with site(tmp_path, engines, program=newest_prometheus) as prometheus:
            prometheus.start()
            with config.open("a") as more:
                more.write(f"prometheus: {{url: '{prometheus.url}', window_s: 10, timeout_s: 5}}\n")
                more.write(f"metrics: {{match: namespace={here.namespace}}}\n")
                more.write(f"kubernetes: {{namespace: {here.namespace}, aggregated: {TARGET}}}\n")
            command = [
                sys.executable, "-m", "planner", "run", "-c", str(config), "--listen", "127.0.0.1:0",
                "--kubeconfig", str(here.kubeconfig),
            ]  # fmt: skip
            planner = Program("planner", command, tmp_path)
            planner.start()
            try:
                yield Circle(here, watch, engines, load, planner)
            finally:
                planner.stop()


def test_it_gets_over_a_tripled_load_with_slow_pods_and_falls_back(circle: Circle, tmp_path: Path) -> None:
    calm = circle.share_of_the_next("in the calm")
    settled = circle.ready

    risen_s = time.time()
    circle.load.rate_per_s = HIGH_PER_S
    circle.until("it ordered more", lambda: circle.fleet.replicas > settled)
    ordered_s = time.time()
    hurt = circle.share_of_the_next("before capacity came")
    circle.until("what it ordered serves", lambda: circle.ready == circle.fleet.replicas > settled)
    circle.until("no more is ordered", lambda: circle.share_of_the_next("with more capacity") >= 0.95)
    most = circle.ready
    fallen_s = time.time()

    circle.load.rate_per_s = BASE_PER_S
    # Step by step: each wait is patient for a minute.
    for replicas in range(most - 1, settled - 1, -1):
        circle.until_fallen_to(replicas)
    relieved = circle.share_of_the_next("after the fall")

    assert calm >= 0.95
    assert hurt < 0.9, "nothing was put to the test"
    assert most > settled
    assert relieved >= 0.95
    high = circle.watch.between(risen_s, fallen_s)
    assert high[0].leaving == high[-1].leaving, "replicas were taken away under high load"
    before_the_order = circle.watch.between(risen_s, ordered_s)
    assert min(len(moment.ready) for moment in before_the_order) >= settled
    assert circle.watch.most_gpus <= BUDGET
    assert circle.watch.error is None
    assert "Traceback" not in (tmp_path / "planner.log").read_text()
