"""A Deployment of engines on GPUs of its own, and an account that may scale it, on a real control plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from cluster import READY_DELAY, Cluster
from cluster_api import Object, kubeconfig

NUMBERS = count(1)
ACCOUNT = "sla-planner"
TARGET = "Deployment/engine"
RBAC = "rbac.authorization.k8s.io"

SEES = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
)
"""Rules of a planner that may look at Deployments."""
SCALES = (*SEES, {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]})
"""Rules of one that may scale them too."""


@dataclass(frozen=True)
class Fleet:
    """What a test plays with, as an administrator."""

    cluster: Cluster
    namespace: str
    folder: Path

    @property
    def deployment(self) -> Object:
        """As it is now."""
        return self.cluster.get(self._named("apps/v1", "Deployment", "engine"))

    @property
    def replicas(self) -> int:
        """That the Deployment asks for."""
        asked: int = self.deployment["spec"]["replicas"]
        return asked

    @property
    def kubeconfig(self) -> Path:
        """Of the planner's account."""
        return self.folder / "kubeconfig"

    def deploy(self, replicas: int, start_s: float = 0.0) -> None:
        """Make it, with pods of one GPU that take so long to start."""
        labels = {"app": "engine"}
        container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        template = {
            "metadata": {"labels": labels, "annotations": {READY_DELAY: f"{start_s:g}s"}},
            "spec": {"containers": [container], "nodeSelector": {"for": self.namespace}},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.cluster.apply({**self._named("apps/v1", "Deployment", "engine"), "spec": spec})

    def node(self, gpus: int) -> None:
        """One more, for these pods alone."""
        self.cluster.gpu_node(f"{self.namespace}-{next(NUMBERS)}", gpus, labels={"for": self.namespace})

    def merge(self, sub: str, body: Object, manager: str = "kubectl") -> None:
        """Patch the Deployment, or its scale subresource, as somebody else."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/engine{sub}?fieldManager={manager}"
        self.cluster.request("PATCH", path, body, "application/merge-patch+json")

    def scale(self, replicas: int, manager: str = "kubectl") -> None:
        """Set the replicas as somebody else."""
        self.merge("/scale", {"spec": {"replicas": replicas}}, manager)

    def delete(self) -> None:
        """Delete the Deployment; returns when it and its pods are gone."""
        self.cluster.delete(self._named("apps/v1", "Deployment", "engine"))
        self.cluster.until("the pods are gone", lambda: not self.cluster.find("v1", "Pod", self.namespace))

    def permit(self, rules: Sequence[Object]) -> None:
        """What the planner's account may do from now on; in force a moment later."""
        self.cluster.apply({**self._named(f"{RBAC}/v1", "Role", ACCOUNT), "rules": list(rules)})

    def admit(self, server: str | None = None) -> None:
        """Make the account, unless it is there, and give its kubeconfig a new token."""
        self.cluster.apply(self._named("v1", "ServiceAccount", ACCOUNT))
        self.write_token(self.cluster.token_for(ACCOUNT, self.namespace), server)

    def expel(self) -> None:
        """Delete the account: no token of it holds any more, though the API server remembers some for seconds."""
        self.cluster.delete(self._named("v1", "ServiceAccount", ACCOUNT))

    def write_token(self, token: str, server: str | None = None) -> None:
        """Into the kubeconfig, for the API server or what stands before it."""
        where = server or self.cluster.url
        self.kubeconfig.write_text(kubeconfig(where, self.cluster.ca_file, {"token": token}))

    def say_of_a_pod(self, status: Object) -> None:
        """What a kubelet would say of one pod, once kwok has said its own: it would write over it."""

        def spoken_of() -> list[str]:
            pods = self.cluster.find("v1", "Pod", self.namespace)
            every = all(each["status"].get("containerStatuses") for each in pods)
            return [each["metadata"]["name"] for each in pods] if every else []

        pod = min(self.cluster.until("kwok has spoken of all pods", spoken_of))
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/status"
        self.cluster.request("PATCH", path, {"status": status}, "application/strategic-merge-patch+json")

    def _named(self, api_version: str, kind: str, name: str) -> dict[str, Any]:
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.namespace}}


def fleet(cluster: Cluster, folder: Path, *, gpus: int = 8) -> Fleet:
    """A new namespace with a node and an account that may scale; nothing is deployed."""
    made = Fleet(cluster, f"fleet-{next(NUMBERS)}", folder)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}})
    made.node(gpus)
    made.permit(SCALES)
    cluster.apply({
        **made._named(f"{RBAC}/v1", "RoleBinding", ACCOUNT),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": made.namespace}],
    })  # fmt: skip
    made.admit()
    return made
