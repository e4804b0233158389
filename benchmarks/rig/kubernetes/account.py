"""A namespace, and the planner's account in it with the permissions that docs/kubernetes.md lists, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import Cluster
from kubernetes_fleet import ACCOUNT, RBAC, Fleet

LEASES = "coordination.k8s.io"


def rules(deployments: Sequence[str]) -> list[dict[str, Any]]:
    """Of a planner that scales these Deployments."""
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
        {
            "apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"],
            "resourceNames": list(deployments),
        },
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [LEASES], "resources": ["leases"], "verbs": ["get", "update"], "resourceNames": [ACCOUNT]},
    ]  # fmt: skip


def settled(cluster: Cluster, namespace: str, folder: Path, deployments: Sequence[str]) -> Fleet:
    """The namespace with the account and its Lease; nothing is deployed."""
    made = Fleet(cluster, namespace, folder)
    within = {"namespace": namespace, "name": ACCOUNT}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply({"apiVersion": f"{LEASES}/v1", "kind": "Lease", "metadata": within})
    made.permit(rules(deployments))
    cluster.apply({
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": within,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", **within}],
    })  # fmt: skip
    made.admit()
    return made
