"""A real KEDA 2.21 beside a test cluster: its operator, and its metrics server behind the cluster's API server.

Both run outside the cluster as the administrator. The API server finds the metrics server by a Service of type
ExternalName; it has no certificate to show for its users, so that one answers whoever asks.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from cluster import Cluster
from cluster_api import Object, RefusedError
from cluster_keys import Pair
from cluster_programs import Program, free_port
from keda_keys import make_pair

NAMESPACE = "default"
METRICS_SERVER = "keda-metrics-apiserver"
GROUP = "external.metrics.k8s.io"
SCALED_OBJECT: Object = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}


@dataclass(frozen=True)
class Keda:
    """It runs."""

    cluster: Cluster
    pair: Pair
    """Of both programs; good for localhost, as a server and as a client, and its own authority."""
    programs: tuple[Program, ...]

    def until(self, what: str, check: Any) -> Any:
        """Wait for something, with what KEDA said when it does not come."""
        try:
            return self.cluster.until(what, check)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *(each.tail() for each in self.programs)])) from None


@contextmanager
def keda(cluster: Cluster, folder: Path, component: Path) -> Iterator[Keda]:
    """Start it, and take all of it away again."""
    pair = make_pair(folder, f"{METRICS_SERVER}.{NAMESPACE}.svc")
    asked, served = free_port(), free_port()
    operator = _operator(cluster, folder, component, asked)
    server = _metrics_server(cluster, folder, component, asked, served, pair)
    made = Keda(cluster, pair, (operator, server))
    with ExitStack() as undo:
        for path in sorted(component.glob("crds/*.yaml")):
            definition = yaml.safe_load(path.read_text())
            undo.callback(_remove, cluster, definition)
            cluster.apply(definition)
            cluster.until(f"{path.name} is served", partial(_is_established, cluster, definition))
        for manifest in _registration(served, pair):
            undo.callback(_remove, cluster, manifest)
            cluster.apply(manifest)
        for program in made.programs:
            undo.callback(program.stop)
            program.start()
        made.until("the metrics server answers", lambda: cluster.request("GET", f"/apis/{GROUP}/v1beta1"))
        undo.callback(_remove_scaled_objects, made)
        yield made


def _operator(cluster: Cluster, folder: Path, component: Path, asked: int) -> Program:
    command = [
        "env", f"KUBECONFIG={cluster.kubeconfig}", "WATCH_NAMESPACE=", f"KEDA_CLUSTER_OBJECT_NAMESPACE={NAMESPACE}",
        f"POD_NAMESPACE={NAMESPACE}", "POD_NAME=keda", str(component / "keda-operator"), f"--cert-dir={folder}",
        f"--metrics-service-bind-address=127.0.0.1:{asked}", "--metrics-bind-address=0",
        "--health-probe-bind-address=0", "--enable-cert-rotation=false", "--leader-elect=false",
    ]  # fmt: skip
    return Program("keda-operator", command, folder)


def _metrics_server(cluster: Cluster, folder: Path, component: Path, asked: int, served: int, pair: Pair) -> Program:
    command = [
        "env", f"KUBECONFIG={cluster.kubeconfig}", "WATCH_NAMESPACE=", f"POD_NAMESPACE={NAMESPACE}",
        str(component / "keda-adapter"), f"--metrics-service-address=localhost:{asked}", f"--cert-dir={folder}",
        "--bind-address=127.0.0.1", f"--secure-port={served}", "--authentication-skip-lookup", f"--port={free_port()}",
        f"--tls-cert-file={pair.certificate}", f"--tls-private-key-file={pair.key}",
        *(f"--{each}-kubeconfig={cluster.kubeconfig}" for each in ("authentication", "authorization", "lister")),
    ]  # fmt: skip
    return Program("keda-adapter", command, folder)


def _registration(port: int, pair: Pair) -> list[Object]:
    """By which the API server sends those who ask for external metrics to KEDA, and KEDA answers."""
    rbac = "rbac.authorization.k8s.io"
    reader = f"{METRICS_SERVER}-reader"
    service = {"namespace": NAMESPACE, "name": METRICS_SERVER}
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": service,
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
        {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": reader},
            "rules": [
                {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]},
                {"nonResourceURLs": [f"/apis/{GROUP}/*"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": reader},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": reader},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "system:unauthenticated"}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1beta1.{GROUP}"},
            "spec": {
                "group": GROUP, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {**service, "port": port}, "caBundle": _base64(pair.certificate),
            },
        },
    ]  # fmt: skip


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


def _is_established(cluster: Cluster, definition: Object) -> bool:
    conditions = cluster.get(definition).get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _remove_scaled_objects(made: Keda) -> None:
    """While the operator runs: it takes its finalizer off."""
    for each in made.cluster.find(SCALED_OBJECT["apiVersion"], SCALED_OBJECT["kind"]):
        _remove(made.cluster, {**SCALED_OBJECT, "metadata": each["metadata"]})


def _remove(cluster: Cluster, manifest: Object) -> None:
    try:
        cluster.delete(manifest)
    except RefusedError as error:
        if error.status != 404:
            raise
    cluster.until(f"{manifest['kind']} {manifest['metadata']['name']} is gone", partial(_is_gone, cluster, manifest))


def _is_gone(cluster: Cluster, manifest: Object) -> bool:
    try:
        cluster.get(manifest)
    except RefusedError as error:
        return error.status == 404
    return False
