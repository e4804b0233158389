"""An object of every kind of target, for a real API server, and the labels its own controller gives to its pods.

Deployment, StatefulSet and ReplicaSet are the real ones. For all other kinds there are no controllers here: the API
server serves them by minimal definitions (`kubernetes_definitions`), and the tests make their pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Spec = dict[str, Any]

BUILT_IN = "apps/v1"
NODE = {"for": "targets"}
"""Labels of the node that pods of built-in kinds go to."""

ENGINE: Spec = {
    "containers": [{"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
    "nodeSelector": NODE,
}
TEMPLATE: Spec = {"metadata": {"labels": {"app": "chat"}}, "spec": ENGINE}
SELECTOR: Spec = {"matchLabels": {"app": "chat"}}

LWS = {"leaderworkerset.sh/name": "chat", "leaderworkerset.sh/group-index": "{replica}"}
DYNAMO = {"nvidia.com/dynamo-graph-deployment-name": "chat", "nvidia.com/dynamo-component": "Decode"}
LLMD = {"app.kubernetes.io/name": "chat", "kserve.io/component": "workload"}
SERVING = {"modelserving.volcano.sh/name": "chat", "modelserving.volcano.sh/group-name": "chat-{replica}"}
IN_ROLE = {
    "modelserving.volcano.sh/name": "chat", "modelserving.volcano.sh/role": "decode",
    "modelserving.volcano.sh/group-name": "chat-0", "modelserving.volcano.sh/role-id": "decode-{replica}",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One count of one kind, in an object called `chat`."""

    api_version: str
    kind: str
    spec: Callable[[int], Spec]
    """With so many replicas; all else in it must survive a change of them."""
    pods: Mapping[str, str] = field(default_factory=lambda: {"app": "chat"})
    """Labels of the pods; `{replica}` is the number of their replica."""
    component: str = ""
    through: str = "scale"
    """The subresource of the write, as managedFields name it; empty for the object itself."""
    status: Mapping[str, str] = field(default_factory=dict)
    pods_each: int = 1
    """Pods of one replica."""
    gpus: int = 1
    """Of one replica, as the budget counts them."""

    @property
    def target(self) -> str:
        """As it is configured."""
        group = self.api_version.rpartition("/")[0]
        return f"{self.kind}.{group}/chat" + (f"#{self.component}" if self.component else "")

    def object(self, namespace: str, replicas: int) -> dict[str, Any]:
        """The manifest."""
        metadata = {"name": "chat", "namespace": namespace}
        return {
            "apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, "spec": self.spec(replicas),
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.kind} {self.api_version} {self.component}".strip()


def _whole(**more: Any) -> Callable[[int], Spec]:
    return lambda count: {"replicas": count, **more}


def _roles(decode: int, prefill: int, **more: Any) -> list[Spec]:
    """A list with fields that nobody here knows, in an order that must stay."""
    odd = {"unknownToUs": [{"kept": True}, 1.5], "empty": {}}
    return [
        {"name": "decode", "replicas": decode, "template": {"spec": ENGINE}, "entryTemplate": {"spec": ENGINE}, **odd},
        {"name": "prefill", "replicas": prefill, "template": {"spec": ENGINE}, **more},
    ]


def storm(decode: int, prefill: int = 2) -> Spec:
    """A StormService's."""
    return {"replicas": 1, "template": {"spec": {"roles": _roles(decode, prefill), "schedulingStrategy": {}}}}


def serving(decode: int, prefill: int = 2) -> Spec:
    """A ModelServing's."""
    roles = _roles(decode, prefill, entryTemplate={"spec": ENGINE})
    return {"replicas": 1, "template": {"roles": roles, "gangPolicy": {"a": 1}}}


def graph_v1beta1(decode: int, prefill: int = 2) -> Spec:
    """A DynamoGraphDeployment's, whose components are a list."""
    pods = {"podTemplate": {"spec": ENGINE}}
    return {
        "backendFramework": "vllm",
        "components": [
            {"name": "Frontend", "replicas": 1, "type": "frontend"},
            {"name": "Decode", "replicas": decode, "unknownToUs": {"kept": [1, None, "x"]}, **pods},
            {"name": "Prefill", "replicas": prefill, **pods},
        ],
    }


def graph_v1alpha1(decode: int, prefill: int = 2) -> Spec:
    """A DynamoGraphDeployment's of old, whose services go by their names."""
    pods = {"resources": {"limits": {"gpu": "1"}}}
    return {
        "services": {
            "Frontend": {"replicas": 1}, "Decode": {"replicas": decode, **pods},
            "Prefill": {"replicas": prefill, **pods},
        }
    }  # fmt: skip


def llm(decode: int, prefill: int = 2) -> Spec:
    """An LLMInferenceService's."""
    return {
        "model": {"uri": "hf://x"}, "replicas": decode, "template": ENGINE,
        "prefill": {"replicas": prefill, "template": ENGINE},
    }  # fmt: skip


def ray_cluster(gpu: int, other: int = 2) -> Spec:
    """A RayCluster's."""
    bounds = {"minReplicas": 0, "maxReplicas": 9, "rayStartParams": {}, "template": {"spec": ENGINE}}
    groups = [{"groupName": "gpu", "replicas": gpu, **bounds}, {"groupName": "other", "replicas": other, **bounds}]
    return {"rayVersion": "2.52.0", "headGroupSpec": {"rayStartParams": {}}, "workerGroupSpecs": groups}


def _llm_prefill(count: int) -> Spec:
    return llm(2, count)


def _ray_service(count: int) -> Spec:
    return {"serveConfigV2": "", "rayClusterConfig": ray_cluster(count)}


def _runtime(count: int) -> Spec:
    return {"deploymentConfig": {"replicas": count, "resources": {"gpu": "1"}, "image": {}}, "model": {"modelURL": "x"}}


def _adapter(api_version: str, kind: str, **more: Any) -> Case:
    """It hands its count on, and says in its status whose pods those are."""
    return Case(api_version, kind, _whole(**more), DYNAMO, status={"selector": ",".join(map("=".join, DYNAMO.items()))})


_LWS_SPEC = _whole(leaderWorkerTemplate={"size": 2, "workerTemplate": {"spec": ENGINE}})
_CLIQUES = {"cliques": [{"name": "engine", "spec": {"replicas": 2, "minAvailable": 1, "podSpec": ENGINE}}]}
_FLEET = {"selector": SELECTOR, "template": {"spec": ray_cluster(1, 0) | {"headGroupSpec": {}}}}
_ADAPTER = "DynamoGraphDeploymentScalingAdapter"
_NIM = {"image": {}, "resources": {"limits": {"nvidia.com/gpu": "1"}}, "scale": {"enabled": False}}

CASES = (
    Case(BUILT_IN, "Deployment", _whole(selector=SELECTOR, template=TEMPLATE)),
    Case(
        BUILT_IN, "StatefulSet", _whole(selector=SELECTOR, template=TEMPLATE, podManagementPolicy="Parallel"),
    ),
    Case(BUILT_IN, "ReplicaSet", _whole(selector=SELECTOR, template=TEMPLATE)),
    Case(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", _LWS_SPEC, LWS, pods_each=2, gpus=2,
        status={"hpaPodSelector": "leaderworkerset.sh/name=chat,leaderworkerset.sh/worker-index=0"},
    ),
    Case(
        "disaggregatedset.x-k8s.io/v1", "DisaggregatedSetRoleScaler", _whole(), LWS, pods_each=2, gpus=2,
        status={"selector": "leaderworkerset.sh/name=chat"},
    ),
    _adapter("nvidia.com/v1beta1", _ADAPTER, dgdRef={"name": "chat", "componentName": "Decode"}),
    Case("nvidia.com/v1beta1", "DynamoGraphDeployment", graph_v1beta1, DYNAMO, "Decode", ""),
    Case(
        "grove.io/v1alpha1", "PodClique", _whole(minAvailable=1, podSpec=ENGINE), {"grove.io/podclique": "chat"},
    ),
    Case(
        "grove.io/v1alpha1", "PodCliqueScalingGroup", _whole(minAvailable=1, cliqueNames=["engine"]),
        {"grove.io/podcliquescalinggroup": "chat", "grove.io/podcliquescalinggroup-replica-index": "{replica}"},
        pods_each=2, gpus=2,
    ),
    Case(
        "grove.io/v1alpha1", "PodCliqueSet", _whole(template=_CLIQUES),
        {"app.kubernetes.io/part-of": "chat", "grove.io/podcliqueset-replica-index": "{replica}"}, pods_each=2, gpus=2,
    ),
    Case("serving.kserve.io/v1alpha2", "LLMInferenceService", llm, {**LLMD, "llm-d.ai/role": "both"}, "", ""),
    Case("serving.kserve.io/v1alpha2", "LLMInferenceService", llm, {**LLMD, "llm-d.ai/role": "decode"}, "decode", ""),
    Case(
        "serving.kserve.io/v1alpha2", "LLMInferenceService", _llm_prefill, {**LLMD, "llm-d.ai/role": "prefill"},
        "prefill", "",
    ),
    Case(
        "orchestration.aibrix.ai/v1alpha1", "StormService",
        _whole(template={"spec": {"roles": [{"name": "decode", "replicas": 2, "template": {"spec": ENGINE}}]}}),
        {"storm-service-name": "chat", "roleset-name": "chat-{replica}"}, pods_each=2, gpus=2,
    ),
    Case(
        "orchestration.aibrix.ai/v1alpha1", "StormService", storm,
        {"storm-service-name": "chat", "role-name": "decode"}, "decode", "",
    ),
    Case(
        "orchestration.aibrix.ai/v1alpha1", "RayClusterFleet", _whole(**_FLEET),
        {"app": "chat", "ray.io/cluster": "chat-{replica}"}, pods_each=2,
    ),
    Case("production-stack.vllm.ai/v1alpha1", "VLLMRuntime", _runtime, status={"selector": "app=chat"}),
    Case(
        "workload.serving.volcano.sh/v1alpha1", "ModelServing",
        _whole(template={"roles": [{"name": "decode", "replicas": 2, "entryTemplate": {"spec": ENGINE}}]}),
        SERVING, pods_each=2, gpus=2,
    ),
    Case("workload.serving.volcano.sh/v1alpha1", "ModelServing", serving, IN_ROLE, "decode", ""),
    Case(
        "workloads.x-k8s.io/v1alpha2", "RoleBasedGroupScalingAdapter",
        _whole(scaleTargetRef={"name": "chat", "role": "decode"}), status={"selector": "app=chat"},
    ),
    Case(
        "kaito.sh/v1beta1", "InferenceSet", _whole(template={"inference": {"preset": {"name": "x"}}}),
        {"app": "chat", "kaito.sh/workspace": "chat-{replica}"}, status={"selector": "app=chat"},
    ),
    Case("apps.nvidia.com/v1alpha1", "NIMService", _whole(**_NIM), {"app.kubernetes.io/name": "chat"}, "", ""),
    Case(
        "ray.io/v1", "RayService", _ray_service, {"ray.io/cluster": "chat-x1", "ray.io/group": "gpu"}, "gpu", "",
        status={"activeServiceStatus.rayClusterName": "chat-x1"},
    ),
    Case("ray.io/v1", "RayCluster", ray_cluster, {"ray.io/cluster": "chat", "ray.io/group": "gpu"}, "gpu", ""),
    # A kind that nobody knows: its pods are asked for by its Scale.
    Case("fleets.example/v3", "Wharf", _whole(cranes=[{"kept": True}]), status={"labelSelector": "app=chat"}),
)  # fmt: skip
"""At the newest version of each kind."""

OLDER = (
    _adapter("nvidia.com/v1alpha1", _ADAPTER, dgdRef={"name": "chat", "serviceName": "Decode"}),
    Case("nvidia.com/v1alpha1", "DynamoGraphDeployment", graph_v1alpha1, DYNAMO, "Decode", ""),
    Case("serving.kserve.io/v1alpha1", "LLMInferenceService", llm, {**LLMD, "llm-d.ai/role": "decode"}, "decode", ""),
)
"""Where a cluster serves no newer version."""

BOTH: Mapping[str, tuple[Case, Callable[[int, int], Spec], str, str]] = {
    case.kind: (case, spec, first, second)
    for case, spec, first, second in (
        (Case("nvidia.com/v1beta1", "DynamoGraphDeployment", graph_v1beta1), graph_v1beta1, "Decode", "Prefill"),
        (Case("serving.kserve.io/v1alpha2", "LLMInferenceService", llm), llm, "decode", "prefill"),
        (Case("orchestration.aibrix.ai/v1alpha1", "StormService", storm), storm, "decode", "prefill"),
        (Case("workload.serving.volcano.sh/v1alpha1", "ModelServing", serving), serving, "decode", "prefill"),
        (Case("ray.io/v1", "RayCluster", ray_cluster), ray_cluster, "gpu", "other"),
    )
}
"""Kinds whose objects hold two counts: the object, its spec by both, and the components."""
