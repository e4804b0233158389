"""Deployments that come and go by their labels on a real control plane, their engines, and a planner that finds them.

The engines of a service carry its name as their label `namespace`, so that one Prometheus serves all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from beside import repeated
from cluster import READY_DELAY, Cluster
from cluster_api import Object, RefusedError
from fault_stage import Engines
from kubernetes_fleet import Fleet, fleet
from prometheus_site import Replica, Site, site

from planner.connectors.kubernetes.objects.services import PREFIX

MERGE = "application/merge-patch+json"
PERMITTED = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
    {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaimtemplates"], "verbs": ["list"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
)
"""All that a planner needs that finds Deployments by their labels."""

CONFIG = """\
budget: {{gpus: 10}}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {{isl: 3000, osl: 150, ttft: 200, itl: 20}}
interval_s: 2
startup_s: 4
observe: {{max_age_s: 10}}
forecast: {{model: constant, quantile: 0.5, history_s: 60}}
correction: {{enabled: false}}
scaling: {{delayed_start_s: 0, stabilisation_down_s: 8}}
prometheus: {{url: {url}, window_s: 4, timeout_s: 5}}
metrics: {{match: "namespace={{service}}"}}
discover: {{namespaces: [{namespace}], kinds: [Deployment]}}
"""


@dataclass
class Labelled:
    """What a test plays with."""

    fleet: Fleet
    engines: Mapping[str, Engines]
    prometheus: Site
    folder: Path
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Replicas that each Deployment asked for, each time they changed."""

    @property
    def cluster(self) -> Cluster:
        """The control plane."""
        return self.fleet.cluster

    def deploy(self, name: str, **annotations: str) -> None:
        """A Deployment of one pod that is labelled as the service of its name."""
        pods = {"app": name}
        container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        labels = {f"{PREFIX}service": name, f"{PREFIX}role": "aggregated"}
        self.cluster.apply({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.fleet.namespace, "labels": labels,
                         "annotations": _ours(annotations)},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": pods},
                "template": {
                    "metadata": {"labels": pods, "annotations": {READY_DELAY: "1s"}},
                    "spec": {"containers": [container], "nodeSelector": {"for": self.fleet.namespace},
                             "terminationGracePeriodSeconds": 1},
                },
            },
        })  # fmt: skip

    def annotate(self, name: str, **annotations: str | None) -> None:
        """Change annotations of ours; None removes one."""
        self.merge(name, {"metadata": {"annotations": _ours(annotations)}})

    def unlabel(self, name: str) -> None:
        """It is a service no more."""
        self.merge(name, {"metadata": {"labels": {f"{PREFIX}service": None}}})

    def merge(self, name: str, body: Object) -> None:
        """Change a Deployment as a person would."""
        path = f"/apis/apps/v1/namespaces/{self.fleet.namespace}/deployments/{name}?fieldManager=kubectl"
        self.cluster.request("PATCH", path, body, MERGE)

    def replicas(self, name: str) -> int:
        """That the Deployment asks for."""
        path = f"/apis/apps/v1/namespaces/{self.fleet.namespace}/deployments/{name}"
        asked: int = self.cluster.request("GET", path)["spec"]["replicas"]
        return asked

    def refusals(self) -> list[str]:
        """What Events say of labels and annotations that are not taken."""
        events = self.cluster.find("events.k8s.io/v1", "Event", self.fleet.namespace)
        return [each["note"] for each in events if each["reason"] == "ConfigurationRefused"]

    def until(self, what: str, check: Any) -> Any:
        """Wait for something, with the planner's log when it does not come."""
        try:
            return self.cluster.until(what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None

    def log(self) -> str:
        """What the planner said."""
        return (self.folder / "planner.log").read_text()

    def ask(self, path: str) -> Any:
        """The planner's API."""
        return json.loads(self.text(path))

    def text(self, path: str) -> str:
        """The planner's answer as it is."""
        (address,) = (line.split()[-1] for line in self._messages() if line.startswith("serving "))
        with urllib.request.urlopen(address.rstrip("/") + path, timeout=10) as answer:
            said: bytes = answer.read()
        return said.decode()

    def services(self) -> list[str]:
        """Those that the planner keeps now."""
        return sorted(each["name"] for each in self.ask("/overview")["services"])

    def ttft_ms(self, name: str) -> float:
        """What is agreed."""
        targets: Mapping[str, float] = self.ask(f"/series/{name}")["targets"]
        return targets["ttft_ms"]

    def configure(self, more: str = "") -> None:
        """Write the planner's file."""
        text = CONFIG.format(url=self.prometheus.url, namespace=self.fleet.namespace) + more
        before = self.folder / "planner.yaml.new"
        before.write_text(text)
        before.rename(self.folder / "planner.yaml")

    @contextmanager
    def planner(self, *flags: str) -> Iterator[None]:
        """A planner process, with the permissions of its account alone, that serves already; by `flags` or a file."""
        self.configure()
        command = [
            sys.executable, "-m", "planner", "run", *(flags or ("-c", str(self.folder / "planner.yaml"))),
            "--listen", "127.0.0.1:0", "--kubeconfig", str(self.fleet.kubeconfig),
        ]  # fmt: skip
        with (self.folder / "planner.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self.until("it serves", lambda: any(line.startswith("serving ") for line in self._messages()))
            yield
        finally:
            process.kill()
            process.wait()

    def look(self) -> None:
        """Take note of what is asked for, and share the load among the pods that serve."""
        for each in self.cluster.find("apps/v1", "Deployment", self.fleet.namespace):
            name, asked = each["metadata"]["name"], each["spec"]["replicas"]
            counts = self.counts.setdefault(name, [])
            if not counts or counts[-1] != asked:
                counts.append(asked)
            if ready := each.get("status", {}).get("readyReplicas", 0):
                self.engines[name].spread(ready)

    def _messages(self) -> list[str]:
        lines = [line for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [json.loads(line)["message"] for line in lines]


@contextmanager
def labelled_site(cluster: Cluster, folder: Path, program: str, *names: str) -> Iterator[Labelled]:
    """Engines of services of these names behind Prometheus; no Deployment and no planner yet."""
    made = fleet(cluster, folder, gpus=12)
    made.permit(PERMITTED)
    engines = {name: Engines(name) for name in names}
    for each in engines.values():
        each.spread(1, 4.0)
    replicas: list[Replica] = [*engines.values()]
    with site(folder, *replicas, program=program) as prometheus:
        prometheus.start()
        here = Labelled(made, engines, prometheus, folder)

        def look() -> None:
            with suppress(RefusedError, urllib3.exceptions.HTTPError):
                here.look()

        with repeated(look):
            yield here


def _ours(annotations: Mapping[str, str | None]) -> dict[str, str | None]:
    """`min_replicas` of the pool is written aggregated__min_replicas."""
    return {PREFIX + name.replace("__", "."): text for name, text in annotations.items()}
