"""The kinds of target that are known, as data, and the rule for every other kind.

Groups, versions, fields and labels are those of the projects' published APIs, autumn 2026. A kind that is not here is
scaled by its scale subresource, as an object that holds one count in `.spec.replicas`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from planner.connectors.kubernetes.objects import refusals as refuses
from planner.connectors.kubernetes.objects.kinds import ANY, WHOLE, Kind, Part
from planner.connectors.kubernetes.objects.paths import path

LWS_GROUP = ("leaderworkerset.sh/name", "leaderworkerset.sh/group-index")
"""Labels that tell the groups of pods of LeaderWorkerSets apart."""


def _part(
    replicas: str,
    pods: str,
    through: Literal["scale", "object"] = "object",
    *,
    least: str | None = None,
    most: str | None = None,
    group_by: tuple[str, ...] = (),
) -> Part:
    return Part(
        replicas=path(replicas),
        pods=pods,
        through=through,
        least=None if least is None else path(least),
        most=None if most is None else path(most),
        group_by=group_by,
    )


def _whole(pods: str = "{.status.selector}", *, least: str | None = None, group_by: tuple[str, ...] = ()) -> Part:
    return _part(".spec.replicas", pods, "scale", least=least, group_by=group_by)


def _workers(spec: str, cluster: str) -> Part:
    """A worker group of Ray. KubeRay holds the count within the group's bounds without a word."""
    group = f"{spec}.workerGroupSpecs[groupName=*]"
    return _part(
        f"{group}.replicas",
        f"ray.io/cluster={cluster},ray.io/group={{component}}",
        least=f"{group}.minReplicas",
        most=f"{group}.maxReplicas",
    )


_SELECTED = {WHOLE: _whole("{.spec.selector}")}
_DYNAMO_PODS = "nvidia.com/dynamo-graph-deployment-name={.metadata.name},nvidia.com/dynamo-component={component}"
_LLMD_PODS = "app.kubernetes.io/name={.metadata.name},kserve.io/component=workload,llm-d.ai/role"
_LLMD_DECODE = _part(".spec.replicas", f"{_LLMD_PODS} in (decode,both)", group_by=LWS_GROUP)
_LLMD_PREFILL = _part(".spec.prefill.replicas", f"{_LLMD_PODS}=prefill", group_by=LWS_GROUP)

KINDS: tuple[Kind, ...] = (
    Kind("apps", ("v1",), "Deployment", "deployments", _SELECTED),
    Kind("apps", ("v1",), "StatefulSet", "statefulsets", _SELECTED),
    Kind("apps", ("v1",), "ReplicaSet", "replicasets", _SELECTED),
    Kind(
        "leaderworkerset.x-k8s.io",
        ("v1",),
        "LeaderWorkerSet",
        "leaderworkersets",
        # .status.hpaPodSelector, which its Scale gives, selects the leaders alone.
        {WHOLE: _whole("leaderworkerset.sh/name={.metadata.name}", group_by=LWS_GROUP)},
    ),
    Kind(
        "disaggregatedset.x-k8s.io",
        ("v1",),
        "DisaggregatedSetRoleScaler",
        "disaggregatedsetrolescalers",
        {WHOLE: _whole(group_by=LWS_GROUP)},
    ),
    Kind("disaggregatedset.x-k8s.io", ("v1",), "DisaggregatedSet", "disaggregatedsets", {}, refuses.disaggregated_set),
    Kind(
        "nvidia.com",
        ("v1beta1", "v1alpha1"),
        "DynamoGraphDeploymentScalingAdapter",
        "dynamographdeploymentscalingadapters",
        {WHOLE: _whole()},
    ),
    Kind(
        "nvidia.com",
        ("v1beta1",),
        "DynamoGraphDeployment",
        "dynamographdeployments",
        {ANY: _part(".spec.components[name=*].replicas", _DYNAMO_PODS)},
        refuses.dynamo_graph,
    ),
    Kind(
        "nvidia.com",
        ("v1alpha1",),
        "DynamoGraphDeployment",
        "dynamographdeployments",
        {ANY: _part(".spec.services.*.replicas", _DYNAMO_PODS)},
        refuses.dynamo_graph,
    ),
    Kind(
        "grove.io",
        ("v1alpha1",),
        "PodClique",
        "podcliques",
        {WHOLE: _whole("grove.io/podclique={.metadata.name}", least=".spec.minAvailable")},
    ),
    Kind(
        "grove.io",
        ("v1alpha1",),
        "PodCliqueScalingGroup",
        "podcliquescalinggroups",
        {
            WHOLE: _whole(
                "grove.io/podcliquescalinggroup={.metadata.name}",
                least=".spec.minAvailable",
                group_by=("grove.io/podcliquescalinggroup-replica-index",),
            )
        },
    ),
    Kind(
        "grove.io",
        ("v1alpha1",),
        "PodCliqueSet",
        "podcliquesets",
        {
            WHOLE: _whole(
                "app.kubernetes.io/part-of={.metadata.name}", group_by=("grove.io/podcliqueset-replica-index",)
            )
        },
    ),
    Kind(
        "serving.kserve.io",
        ("v1alpha2", "v1alpha1"),
        "LLMInferenceService",
        "llminferenceservices",
        {WHOLE: _LLMD_DECODE, "decode": _LLMD_DECODE, "prefill": _LLMD_PREFILL},
        refuses.llm_inference_service,
    ),
    Kind("serving.kserve.io", ("v1beta1",), "InferenceService", "inferenceservices", {}, refuses.inference_service),
    Kind(
        "orchestration.aibrix.ai",
        ("v1alpha1",),
        "StormService",
        "stormservices",
        {
            WHOLE: _whole("storm-service-name={.metadata.name}", group_by=("roleset-name",)),
            ANY: _part(
                ".spec.template.spec.roles[name=*].replicas",
                "storm-service-name={.metadata.name},role-name={component}",
            ),
        },
        refuses.roles_of_one,
    ),
    Kind(
        "orchestration.aibrix.ai",
        ("v1alpha1",),
        "RayClusterFleet",
        "rayclusterfleets",
        {WHOLE: _whole("{.spec.selector}", group_by=("ray.io/cluster",))},
    ),
    Kind(
        "production-stack.vllm.ai",
        ("v1alpha1",),
        "VLLMRuntime",
        "vllmruntimes",
        {WHOLE: _part(".spec.deploymentConfig.replicas", "{.status.selector}", "scale")},
    ),
    Kind(
        "workload.serving.volcano.sh",
        ("v1alpha1",),
        "ModelServing",
        "modelservings",
        {
            WHOLE: _whole(
                "modelserving.volcano.sh/name={.metadata.name}", group_by=("modelserving.volcano.sh/group-name",)
            ),
            ANY: _part(
                ".spec.template.roles[name=*].replicas",
                "modelserving.volcano.sh/name={.metadata.name},modelserving.volcano.sh/role={component}",
                group_by=("modelserving.volcano.sh/group-name", "modelserving.volcano.sh/role-id"),
            ),
        },
        refuses.roles_of_one,
    ),
    Kind(
        "workloads.x-k8s.io",
        ("v1alpha2",),
        "RoleBasedGroupScalingAdapter",
        "rolebasedgroupscalingadapters",
        {WHOLE: _whole()},
    ),
    Kind("workloads.x-k8s.io", ("v1alpha2",), "RoleBasedGroup", "rolebasedgroups", {}, refuses.role_based_group),
    Kind("kaito.sh", ("v1beta1",), "InferenceSet", "inferencesets", {WHOLE: _whole(group_by=("kaito.sh/workspace",))}),
    Kind(
        "apps.nvidia.com",
        ("v1alpha1",),
        "NIMService",
        "nimservices",
        {WHOLE: _part(".spec.replicas", "app.kubernetes.io/name={.metadata.name}")},
        refuses.nim_service,
    ),
    Kind(
        "ray.io",
        ("v1",),
        "RayService",
        "rayservices",
        {ANY: _workers(".spec.rayClusterConfig", "{.status.activeServiceStatus.rayClusterName}")},
        refuses.ray_cluster,
    ),
    Kind(
        "ray.io",
        ("v1",),
        "RayCluster",
        "rayclusters",
        {ANY: _workers(".spec", "{.metadata.name}")},
        refuses.ray_cluster,
    ),
)


def kind_of(api_version: str, kind: str, plural: str) -> Kind:
    """The kind of an object at its version. A version newer than those known is taken to look like the newest."""
    group, _, version = api_version.rpartition("/")
    rows = [row for row in KINDS if (row.group, row.kind) == (group, kind)]
    for row in rows:
        if version in row.versions:
            return row
    return rows[0] if rows else Kind(group, (), kind, plural, {WHOLE: _whole()})


def version_of(group: str, kind: str, served: Sequence[str]) -> str:
    """The version to speak: the newest known of those `served`, or the API server's favourite, which it names first.

    Raises ValueError when none is served.
    """
    if not served:
        raise ValueError(f"{kind}.{group} is not served")
    known = (version for row in KINDS if (row.group, row.kind) == (group, kind) for version in row.versions)
    return next((version for version in known if version in served), served[0])
