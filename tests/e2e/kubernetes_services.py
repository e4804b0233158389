"""Several services under one budget on a real control plane: a Deployment for each pool, engines whose capacity follows
its Ready pods, a Prometheus that scrapes them, a ledger of all that happens, and planner processes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from beside import repeated
from cluster import DELETE_DELAY, READY_DELAY, Answer, Cluster
from cluster_api import Object
from fault_stage import Engines
from kubernetes_fleet import Fleet, fleet
from kubernetes_ledger import Ledger, ledger
from kubernetes_site import ROLE
from prometheus_site import Site, site

SETTINGS: Mapping[str, Any] = {
    "profile": "h200-llama-3.1-8b-fp8-tp1", "mode": "aggregated",
    "sla": {"isl": 3000, "osl": 150, "ttft": 200, "itl": 20},
    "interval_s": 2, "startup_s": 4, "observe": {"max_age_s": 10},
    "forecast": {"model": "constant", "quantile": 0.5, "history_s": 60}, "correction": {"enabled": False},
    "scaling": {"delayed_start_s": 0, "stabilisation_down_s": 8},
}  # fmt: skip
"""Of a planner in a hurry: it decides every two seconds on the last four."""


@dataclass(frozen=True)
class Services:
    """What a test plays with."""

    fleet: Fleet
    engines: Mapping[str, Engines]
    """Of each Deployment, by its name; their series carry the labels `site`, the namespace, and `pool`, that name."""
    prometheus: Site
    ledger: Ledger

    def replicas(self, name: str) -> int:
        """That a Deployment asks for."""
        asked: int = self.fleet.cluster.get(_deployment(self.fleet.namespace, name))["spec"]["replicas"]
        return asked

    def scale(self, name: str, replicas: int, manager: str = "kubectl") -> None:
        """As somebody else."""
        path = f"/apis/apps/v1/namespaces/{self.fleet.namespace}/deployments/{name}/scale?fieldManager={manager}"
        body = {"spec": {"replicas": replicas}}
        self.fleet.cluster.request("PATCH", path, body, "application/merge-patch+json")

    def intrude(self, pods: int) -> None:
        """Pods of somebody else take GPUs of the node; returns when they have them."""
        self.fleet.cluster.apply(_deployment(self.fleet.namespace, "intruder", pods))
        selected = (self.fleet.namespace, "app=intruder")
        self.fleet.cluster.until(
            "they run",
            lambda: (
                [each["status"].get("phase") for each in self.fleet.cluster.find("v1", "Pod", *selected)]
                == ["Running"] * pods
            ),
        )

    def notes(self, name: str, reason: str) -> list[str]:
        """Of the Events on a Deployment."""
        events = self.fleet.cluster.find("events.k8s.io/v1", "Event", self.fleet.namespace)
        return [each["note"] for each in events if (each["regarding"]["name"], each["reason"]) == (name, reason)]

    def config(self, budget: int, services: Mapping[str, Any], **settings: Any) -> Mapping[str, Any]:
        """Of a planner for these services."""
        return {
            **SETTINGS, "budget": {"gpus": budget}, "services": services,
            "prometheus": {"url": self.prometheus.url, "window_s": 4, "timeout_s": 5},
            "kubernetes": {"namespace": self.fleet.namespace, "respect_s": 6}, **settings,
        }  # fmt: skip

    @contextmanager
    def planner(self, config: Mapping[str, Any], name: str = "planner") -> Iterator[Planner]:
        """A planner process with the account's permissions alone."""
        file, log = self.fleet.folder / f"{name}.yaml", self.fleet.folder / f"{name}.log"
        # YAML takes JSON as it is.
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "planner", "run", f"--config={file}", "--listen=127.0.0.1:0"]
        with log.open("wb") as stream:
            started = subprocess.Popen(
                [*command, f"--kubeconfig={self.fleet.kubeconfig}"], stdout=stream, stderr=stream
            )
        try:
            yield Planner(self.fleet.cluster, started, log)
        finally:
            started.kill()
            started.wait()


@dataclass(frozen=True)
class Planner:
    """A planner process."""

    cluster: Cluster
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """What it said."""
        return self.log_file.read_text()

    def status(self, service: str) -> Mapping[str, Any]:
        """What /status tells of a service."""
        url = self.until("it serves", lambda: re.findall(r"serving (http://127[.0-9]+:\d+/)", self.log))[0]
        answer = urllib3.request("GET", f"{url}status?service={service}", timeout=5.0, retries=False)
        told: Mapping[str, Any] = answer.json()["services"][service]
        return told

    def until(self, what: str, check: Callable[[], Answer]) -> Answer:
        """Wait for something, with the planner's log when it does not come."""
        try:
            return self.cluster.until(what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-6000:]}") from None


def aggregated(name: str, **kubernetes: Any) -> Mapping[str, Any]:
    """A service of the Deployment of that name."""
    return {"metrics": {"match": f"pool={name}"}, "kubernetes": {"aggregated": f"Deployment/{name}", **kubernetes}}


@contextmanager
def services(
    cluster: Cluster, folder: Path, program: str, names: tuple[str, ...], *, gpus: int = 16, load_per_s: float = 4.0
) -> Iterator[Services]:
    """One Deployment for each name, of one pod that serves, with so much load each; `program` is the Prometheus."""
    made = fleet(cluster, folder, gpus=gpus)
    made.permit(ROLE)
    for name in names:
        cluster.apply(_deployment(made.namespace, name, 1))
    engines = {name: Engines(name) for name in names}
    for name, each in engines.items():
        each.labels = {"site": made.namespace, "pool": name}
        each.spread(1, load_per_s)
    with ledger(cluster, made.namespace, names) as seen, site(folder, *engines.values(), program=program) as prometheus:
        prometheus.start()
        cluster.until("a pod of each serves", lambda: all(seen.ready(name) == 1 for name in names))

        def follow() -> None:
            """The load spreads over the pods that serve."""
            for name, each in engines.items():
                if serving := seen.ready(name):
                    each.spread(serving)

        with repeated(follow):
            yield Services(made, engines, prometheus, seen)


def _deployment(namespace: str, name: str, replicas: int | None = None) -> Object:
    """Of pods with one GPU each, which start for a second and end for one; a reference without replicas."""
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}}
    if replicas is None:
        return named
    labels = {"app": name}
    container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    template = {
        "metadata": {"labels": labels, "annotations": {READY_DELAY: "1s", DELETE_DELAY: "1s"}},
        "spec": {"containers": [container], "nodeSelector": {"for": namespace}},
    }
    return {**named, "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}}
