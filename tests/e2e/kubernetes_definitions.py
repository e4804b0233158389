"""Definitions of kinds of targets for a real API server, as small as they can be.

Group, versions, kind, plural and scale subresource are those of the projects' published APIs, autumn 2026. The schemas
are not: an object may hold anything, and no version is converted into another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster import Cluster
from cluster_api import RefusedError

_COUNT = ".spec.replicas"


@dataclass(frozen=True)
class Definition:
    """One kind."""

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    """Newest first."""
    count: str | None = None
    """What its scale subresource sets; None where it has none."""
    selector: str = ".status.selector"
    """What its Scale tells as the selector of its pods."""

    def manifest(self, versions: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The CustomResourceDefinition; served are `versions`, or all."""
        names = {"kind": self.kind, "plural": self.plural, "singular": self.kind.lower()}
        served = self.versions if versions is None else versions
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{self.plural}.{self.group}",
                # Groups of the Kubernetes project are kept for it.
                "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
            },
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": names,
                "versions": [self._version(each, each in served) for each in self.versions],
            },
        }

    def _version(self, version: str, served: bool) -> dict[str, Any]:
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {**anything, "properties": {"spec": anything, "status": anything}}
        subresources: dict[str, Any] = {"status": {}}
        if self.count is not None:
            subresources["scale"] = {
                "specReplicasPath": self.count,
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": self.selector,
            }
        return {
            "name": version,
            "served": served,
            "storage": version == self.versions[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": subresources,
        }


_DYNAMO = ("v1beta1", "v1alpha1")

DEFINITIONS = (
    Definition("leaderworkerset.x-k8s.io", "LeaderWorkerSet", "leaderworkersets", ("v1",), _COUNT,
               ".status.hpaPodSelector"),
    Definition("disaggregatedset.x-k8s.io", "DisaggregatedSet", "disaggregatedsets", ("v1",)),
    Definition("disaggregatedset.x-k8s.io", "DisaggregatedSetRoleScaler", "disaggregatedsetrolescalers", ("v1",),
               _COUNT),
    Definition("nvidia.com", "DynamoGraphDeployment", "dynamographdeployments", _DYNAMO),
    Definition("nvidia.com", "DynamoGraphDeploymentScalingAdapter", "dynamographdeploymentscalingadapters", _DYNAMO,
               _COUNT),
    Definition("grove.io", "PodClique", "podcliques", ("v1alpha1",), _COUNT),
    Definition("grove.io", "PodCliqueScalingGroup", "podcliquescalinggroups", ("v1alpha1",), _COUNT),
    Definition("grove.io", "PodCliqueSet", "podcliquesets", ("v1alpha1",), _COUNT),
    Definition("serving.kserve.io", "LLMInferenceService", "llminferenceservices", ("v1alpha2", "v1alpha1")),
    Definition("serving.kserve.io", "InferenceService", "inferenceservices", ("v1beta1",)),
    Definition("orchestration.aibrix.ai", "StormService", "stormservices", ("v1alpha1",), _COUNT),
    Definition("orchestration.aibrix.ai", "RayClusterFleet", "rayclusterfleets", ("v1alpha1",), _COUNT),
    Definition("production-stack.vllm.ai", "VLLMRuntime", "vllmruntimes", ("v1alpha1",),
               ".spec.deploymentConfig.replicas"),
    Definition("workload.serving.volcano.sh", "ModelServing", "modelservings", ("v1alpha1",), _COUNT),
    Definition("workloads.x-k8s.io", "RoleBasedGroup", "rolebasedgroups", ("v1alpha2",)),
    Definition("workloads.x-k8s.io", "RoleBasedGroupScalingAdapter", "rolebasedgroupscalingadapters", ("v1alpha2",),
               _COUNT),
    Definition("kaito.sh", "InferenceSet", "inferencesets", ("v1beta1",), _COUNT),
    Definition("apps.nvidia.com", "NIMService", "nimservices", ("v1alpha1",)),
    Definition("ray.io", "RayService", "rayservices", ("v1",)),
    Definition("ray.io", "RayCluster", "rayclusters", ("v1",)),
    Definition("keda.sh", "ScaledObject", "scaledobjects", ("v1alpha1",)),
    Definition("autoscaling.aibrix.ai", "PodAutoscaler", "podautoscalers", ("v1alpha1",)),
    # Nobody's: what is scaled although the table does not hold it.
    Definition("fleets.example", "Wharf", "wharves", ("v3",), _COUNT, ".status.labelSelector"),
)  # fmt: skip


def serve(cluster: Cluster, *definitions: Definition, only: str | None = None) -> None:
    """Make the API server serve the kinds, at all versions or at `only` one; returns when it does."""
    for each in definitions:
        cluster.apply(each.manifest(None if only is None else (only,)))
    for each in definitions:
        served = {f"{each.group}/{version}" for version in (each.versions if only is None else (only,))}
        cluster.until(f"{each.kind} is served at {served}", partial(_is_served, cluster, each, served))


def _is_served(cluster: Cluster, definition: Definition, served: set[str]) -> bool:
    """Whether it is at just these versions, each given as group and version."""
    group = cluster.request("GET", f"/apis/{definition.group}")
    lists = [cluster.request("GET", f"/apis/{each['groupVersion']}") for each in group["versions"]]
    found = {each["groupVersion"] for each in lists if any(one["kind"] == definition.kind for one in each["resources"])}
    return found == served


def remove(cluster: Cluster, *definitions: Definition) -> None:
    """Take the kinds and their objects away again: others may serve them too, by definitions of their own."""
    for each in definitions:
        cluster.delete(each.manifest())
    for each in definitions:
        cluster.until(f"{each.kind} is gone", partial(_is_gone, cluster, each))


def _is_gone(cluster: Cluster, definition: Definition) -> bool:
    try:
        cluster.get(definition.manifest())
    except RefusedError as error:
        return error.status == 404
    return False
