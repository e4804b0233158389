"""One aggregated service on a real control plane: engines whose capacity follows the Ready pods, and a planner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import urllib3
from beside import repeated
from cluster import READY_DELAY, Cluster
from cluster_api import Object, RefusedError, kubeconfig
from fault_stage import Engines
from prometheus_site import Site, site

NUMBERS = count(1)
PLANNER = "sla-planner"

ROLE = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
"""All that a planner of Deployments needs."""

CONFIG = """\
budget: {{gpus: {budget}}}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
sla: {{isl: 3000, osl: 150, ttft: 200, itl: 20}}
interval_s: 2
startup_s: 4
observe: {{max_age_s: 10}}
forecast: {{model: constant, quantile: 0.5, history_s: 60}}
correction: {{enabled: false}}
scaling: {{delayed_start_s: 0, stabilisation_down_s: 8}}
prometheus: {{url: {url}, window_s: 4, timeout_s: 5}}
metrics: {{match: namespace={namespace}}}
kubernetes: {{namespace: {namespace}, aggregated: Deployment/engine, respect_s: 6}}
"""


@dataclass
class Stage:
    """What a test plays with."""

    cluster: Cluster
    namespace: str
    engines: Engines
    prometheus: Site
    folder: Path
    budget: int
    most_gpus: int = 0
    """Ever held by pods, or asked for."""
    seen: list[int] = field(default_factory=list)
    """Replicas asked for, each time they changed."""

    @property
    def deployment(self) -> Object:
        """As it is now."""
        return self.cluster.get(_named("apps/v1", "Deployment", self.namespace, "engine"))

    def ready(self) -> int:
        """Pods that serve."""
        return sum(_is_ready(pod) for pod in self.cluster.find("v1", "Pod", self.namespace))

    def scale(self, replicas: int, manager: str = "kubectl") -> None:
        """As a person would, by hand."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/engine/scale?fieldManager={manager}"
        self.cluster.request("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")

    def look(self) -> None:
        """Take note of what is held."""
        pods = self.cluster.find("v1", "Pod", self.namespace)
        asked = self.deployment["spec"]["replicas"]
        self.most_gpus = max(self.most_gpus, len(pods), asked)
        if not self.seen or self.seen[-1] != asked:
            self.seen.append(asked)
        if serving := sum(map(_is_ready, pods)):
            self.engines.spread(serving)

    @contextmanager
    def planner(self, name: str = "planner", **changes: str) -> Iterator[subprocess.Popen[bytes]]:
        """A planner process, with the permissions of its ServiceAccount alone."""
        config = self.folder / f"{name}.yaml"
        text = CONFIG.format(budget=self.budget, url=self.prometheus.url, namespace=self.namespace)
        for before, after in changes.items():
            text = text.replace(before, after)
        config.write_text(text)
        command = [
            sys.executable, "-m", "planner", "run", "-c", str(config), "--listen", "127.0.0.1:0",
            "--kubeconfig", str(self._kubeconfig(name)),
        ]  # fmt: skip
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, name: str = "planner") -> str:
        """What a planner said."""
        return (self.folder / f"{name}.log").read_text()

    def until(self, what: str, check: Any) -> Any:
        """Wait for something, with the planner's log when it does not come."""
        try:
            return self.cluster.until(what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None

    def _kubeconfig(self, name: str) -> Path:
        token = self.cluster.token_for(PLANNER, self.namespace)
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(kubeconfig(self.cluster.url, self.cluster.ca_file, {"token": token}))
        return path


@contextmanager
def stage(
    cluster: Cluster, folder: Path, program: str, *, budget: int = 8, gpus: int = 8, start_s: float = 2.0
) -> Iterator[Stage]:
    """A Deployment with one pod, engines behind Prometheus, no planner yet."""
    namespace = f"loop-{next(NUMBERS)}"
    cluster.apply(_named("v1", "Namespace", None, namespace))
    cluster.gpu_node(f"{namespace}-node", gpus, labels={"for": namespace})
    _permit(cluster, namespace)
    cluster.apply(_deployment(namespace, start_s))
    engines = Engines(namespace)
    engines.spread(1, 4.0)
    with site(folder, engines, program=program) as prometheus:
        prometheus.start()
        made = Stage(cluster, namespace, engines, prometheus, folder, budget)
        cluster.until("a pod serves", lambda: made.ready() == 1)

        def look() -> None:
            with suppress(RefusedError, urllib3.exceptions.HTTPError):
                made.look()

        with repeated(look):
            yield made


def _permit(cluster: Cluster, namespace: str) -> None:
    rbac = "rbac.authorization.k8s.io"
    cluster.apply(_named("v1", "ServiceAccount", namespace, PLANNER))
    cluster.apply({**_named(f"{rbac}/v1", "Role", namespace, PLANNER), "rules": ROLE})
    cluster.apply({
        **_named(f"{rbac}/v1", "RoleBinding", namespace, PLANNER),
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": PLANNER},
        "subjects": [{"kind": "ServiceAccount", "name": PLANNER, "namespace": namespace}],
    })  # fmt: skip


def _deployment(namespace: str, start_s: float) -> Object:
    labels = {"app": "engine"}
    container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    return {
        **_named("apps/v1", "Deployment", namespace, "engine"),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {READY_DELAY: f"{start_s:g}s"}},
                "spec": {
                    "containers": [container],
                    "nodeSelector": {"for": namespace},
                    "terminationGracePeriodSeconds": 1,
                },
            },
        },
    }


def _named(api_version: str, kind: str, namespace: str | None, name: str) -> Object:
    metadata: Mapping[str, str] = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": dict(metadata)}


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
