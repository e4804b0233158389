"""One service in real time: simulated engines on the pods that are Ready, Prometheus, planner, control plane.

Pods take a minute to start and five seconds to end. The planner decides every 15 s with its default settings, by a
Prometheus that scrapes every five.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import DELETE_DELAY
from kubernetes_fleet import TARGET, Fleet
from pod_watch import PodWatch, watching
from simulated_engines import SimulatedEngines

from planner.config import build_settings, load_config
from planner.scaling.settings import PlannerSettings
from planner.sim.loads import Request
from rig.kubernetes.account import settled
from rig.kubernetes.exporter import exporting
from rig.kubernetes.planner import Planner, planning
from rig.kubernetes.testbed import AUDIT, component, control_plane
from rig.prometheus import Target, prometheus

NAMESPACE = "llm"
FIRST = 4
"""Replicas at the beginning."""
GPUS, BUDGET = 24, 16
"""Those of the cluster, and of the planner's budget: only the budget keeps it from taking more."""
START_S, END_S, SCRAPE_S = 60.0, 5.0, 5.0
ISL, OSL = 3000, 150
CONFIG = f"""\
budget: {{gpus: {BUDGET}}}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
sla: {{isl: {ISL}, osl: {OSL}, ttft: 300, itl: 20}}
interval_s: 15
startup_s: {START_S:g}
metrics: {{match: namespace={NAMESPACE}}}
kubernetes: {{namespace: {NAMESPACE}, aggregated: {TARGET}}}
"""


@dataclass(frozen=True)
class Circle:
    """What a benchmark looks at."""

    fleet: Fleet
    watch: PodWatch
    engines: SimulatedEngines
    planner: Planner
    audit: Path

    def until(self, at_s: float) -> None:
        """Wait until so long after the first request."""
        time.sleep(max(0.0, at_s - self.engines.now_s))

    def events(self) -> list[str]:
        """What the planner said of its target, each once however often it was said."""
        found = self.fleet.cluster.find("events.k8s.io/v1", "Event", NAMESPACE)
        ours = (each for each in found if "sla-planner" in str(each.get("reportingController")))
        return [f"{each['reason']}: {each.get('note')}" for each in ours]


def settings_of(folder: Path) -> PlannerSettings:
    """What the planner is told, but for where things are."""
    config = folder / "planner.yaml"
    config.write_text(CONFIG)
    return build_settings(load_config(config, {}, {}))


@contextmanager
def circle(folder: Path, settings: PlannerSettings, requests: Iterable[Request]) -> Iterator[Circle]:
    """Everything runs; the first request was due a moment ago."""
    program = str(component("prometheus") / "prometheus")
    (service,) = settings.services.values()
    with control_plane(folder, NAMESPACE) as cluster:
        here = settled(cluster, NAMESPACE, folder, ["engine"])
        here.node(GPUS)
        here.deploy(0, START_S)
        annotations = {DELETE_DELAY: f"{END_S:g}s"}
        here.merge("", {"spec": {"template": {"metadata": {"annotations": annotations}}}})
        here.scale(FIRST)
        with watching(cluster.kubeconfig, NAMESPACE) as watch:
            cluster.until("the first pods are there", lambda: watch.moments[-1].pods == FIRST)
            while len(watch.moments[-1].ready) < FIRST:
                time.sleep(1.0)
            engines = SimulatedEngines(NAMESPACE, service, requests, FIRST)
            watch.tell(lambda moment: engines.follow(moment.ready))
            with (
                exporting(engines.text) as address,
                prometheus(program, folder, [Target(address, "/", {})], scrape_s=SCRAPE_S) as url,
            ):
                config = folder / "planner.yaml"
                config.write_text(f"{CONFIG}prometheus: {{url: '{url}'}}\n")
                with planning(config, here.kubeconfig, folder) as planner:
                    yield Circle(here, watch, engines, planner, folder / AUDIT)
