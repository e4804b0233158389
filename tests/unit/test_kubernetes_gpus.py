"""GPUs of one replica, counted as the scheduler counts them, or said to be unknown; never 0 and never a guess."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.gpus import gpus_of_pods, gpus_per_replica
from planner.connectors.kubernetes.objects.kinds import TargetError

NVIDIA = "nvidia.com/gpu"


def container(gpus: int | str | None = None, resource: str = NVIDIA, **more: Any) -> dict[str, Any]:
    limits = {"cpu": "8", "memory": "64Gi"} | ({} if gpus is None else {resource: gpus})
    return {"name": "engine", "resources": {"limits": limits}, **more}


def sidecar(gpus: int) -> dict[str, Any]:
    return container(gpus, restartPolicy="Always")


def pod_spec(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    return {"containers": list(containers), "initContainers": list(init), **more}


def a_pod(gpus: int) -> dict[str, Any]:
    return pod_spec(container(str(gpus)))


def target(kind: str, api: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"namespace": "prod", "name": "chat"}, "spec": spec}


def deployment(spec: dict[str, Any]) -> dict[str, Any]:
    return target("Deployment", "apps/v1", {"template": {"spec": spec}})


def counted(spec: dict[str, Any], **claim_templates: Any) -> int:
    return gpus_per_replica(deployment(spec), "", claim_templates, "decode")


# --- containers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(pod_spec(container("8")), 8, id="one container"),
        pytest.param(pod_spec(container(4), container("2"), container()), 6, id="containers are summed"),
        pytest.param(pod_spec(container("2"), init=(container("1"), container("4"))), 4, id="the largest init"),
        pytest.param(pod_spec(container("4"), init=(container("1"), container("2"))), 4, id="inits pass"),
        pytest.param(pod_spec(container("4"), init=(sidecar(1),)), 5, id="a sidecar stays"),
        # The sidecar runs beside the init container that follows: 1 + 4.
        pytest.param(pod_spec(container("2"), init=(sidecar(1), container("4"))), 5, id="a sidecar before an init"),
        # The init container is done before the sidecar starts: max(4, 1 + 2).
        pytest.param(pod_spec(container("2"), init=(container("4"), sidecar(1))), 4, id="a sidecar after an init"),
        pytest.param(pod_spec(container("2"), init=(sidecar(1), sidecar(2))), 5, id="two sidecars"),
        pytest.param(pod_spec(container("2", NVIDIA), container("0", "amd.com/gpu")), 2, id="none of another kind"),
    ],
)
def test_gpus_are_counted_as_the_scheduler_counts_them(spec: dict[str, Any], expected: int) -> None:
    assert counted(spec) == expected


init_containers = st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=5)


@given(running=st.lists(st.integers(0, 8), min_size=1, max_size=4).filter(any), init=init_containers)
def test_a_pod_holds_the_most_that_run_at_one_time(running: list[int], init: list[tuple[int, bool]]) -> None:
    """A second way to count: go through the pod's life, container by container."""
    spec = pod_spec(
        *(container(gpus) for gpus in running),
        init=tuple(sidecar(gpus) if stays else container(gpus) for gpus, stays in init),
    )
    staying, moments = 0, []
    for gpus, stays in init:
        moments.append(staying + gpus)
        staying += gpus if stays else 0
    moments.append(staying + sum(running))

    assert counted(spec) == max(moments)


@pytest.mark.parametrize(
    "resource",
    [
        "nvidia.com/gpu",
        "nvidia.com/mig-3g.40gb",
        "amd.com/gpu",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "google.com/tpu",
        "aws.amazon.com/neuron",
        "aws.amazon.com/neurondevice",
        "habana.ai/gaudi",
    ],
)
def test_the_devices_of_every_vendor_count(resource: str) -> None:
    assert counted(pod_spec(container("2", resource))) == 2


@pytest.mark.parametrize(
    "resource",
    [
        "nvidia.com/gpu.shared",
        "gpu.intel.com/i915_monitoring",
        "gpu.intel.com/millicores",
        "rdma/hca",
        "nvidia.com/gpux",
    ],
)
def test_what_is_no_device_is_an_error_and_never_0(resource: str) -> None:
    with pytest.raises(
        TargetError,
        match=r"^target: Deployment prod/chat: no GPU is found in its pod template; "
        r"set decode\.gpus_per_replica$",
    ):
        counted(pod_spec(container("2", resource)))


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        pytest.param(pod_spec(container()), "no GPU is found in its pod template", id="none"),
        pytest.param(pod_spec(container("0")), "no GPU is found in its pod template", id="zero"),
        pytest.param({}, "no GPU is found in its pod template", id="no containers"),
        pytest.param(
            pod_spec(container("1"), container("2", "amd.com/gpu")),
            "a replica holds GPUs of several kinds, 2 amd.com/gpu and 1 nvidia.com/gpu",
            id="two kinds",
        ),
        pytest.param(
            pod_spec(container("500m")), "nvidia.com/gpu: '500m' is no whole number of devices", id="a fraction"
        ),
    ],
)
def test_gpus_that_cannot_be_told_are_an_error_with_the_remedy(spec: dict[str, Any], error: str) -> None:
    with pytest.raises(TargetError, match=rf"^target: Deployment prod/chat: {error}; set decode\.gpus_per_repl"):
        counted(spec)


# --- claims -----------------------------------------------------------------------------------------------------


def claiming(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"spec": {"devices": {"requests": list(requests)}}}}


CLAIMED = pod_spec(container(), resourceClaims=[{"name": "gpus", "resourceClaimTemplateName": "four"}])


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        pytest.param([{"name": "a", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 4}}], 4, id="v1"),
        pytest.param([{"name": "a", "deviceClassName": "gpu.nvidia.com", "count": 4}], 4, id="v1beta1"),
        pytest.param([{"name": "a", "exactly": {"deviceClassName": "gpu.amd.com"}}], 1, id="one unless said"),
        pytest.param(
            [
                {"name": "a", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 2}},
                {"name": "b", "exactly": {"deviceClassName": "gpu.nvidia.com", "count": 1}},
                {"name": "c", "exactly": {"deviceClassName": "compute-domain-default-channel.nvidia.com"}},
                {"name": "d", "exactly": {"deviceClassName": "gpu.nvidia.com", "adminAccess": True}},
            ],
            3,
            id="requests are summed, channels and monitors hold none",
        ),
        pytest.param(
            [{"name": "a", "firstAvailable": [{"deviceClassName": "gpu.nvidia.com", "count": 2}] * 2}],
            2,
            id="alternatives that are alike",
        ),
    ],
)
def test_claimed_devices_are_counted_through_their_template(requests: list[dict[str, Any]], expected: int) -> None:
    assert counted(CLAIMED, four=claiming(*requests)) == expected


@pytest.mark.parametrize(
    ("spec", "templates", "error"),
    [
        pytest.param(CLAIMED, {}, r"there is no ResourceClaimTemplate 'four'", id="no template"),
        pytest.param(
            pod_spec(container(), resourceClaims=[{"name": "gpus", "resourceClaimName": "shared"}]),
            {},
            r"resource claim 'shared' may be shared by several pods",
            id="a claim by name",
        ),
        pytest.param(
            CLAIMED,
            {"four": claiming({"name": "a", "exactly": {"deviceClassName": "big", "count": 1}})},
            r"ResourceClaimTemplate 'four', request 'a': it is not known whether devices of class 'big' are GPUs",
            id="an unknown class",
        ),
        pytest.param(
            CLAIMED,
            {
                "four": claiming(
                    {"name": "a", "exactly": {"deviceClassName": "gpu.nvidia.com", "allocationMode": "All"}}
                )
            },
            r"ResourceClaimTemplate 'four', request 'a' asks for every device of a node",
            id="all of a node",
        ),
        pytest.param(
            CLAIMED,
            {
                "four": claiming(
                    {
                        "name": "a",
                        "firstAvailable": [
                            {"deviceClassName": "gpu.nvidia.com", "count": 1},
                            {"deviceClassName": "gpu.nvidia.com", "count": 2},
                        ],
                    }
                )
            },
            r"ResourceClaimTemplate 'four', request 'a' has alternatives that differ",
            id="alternatives that differ",
        ),
    ],
)
def test_a_claim_that_cannot_be_counted_is_an_error(
    spec: dict[str, Any], templates: dict[str, Any], error: str
) -> None:
    with pytest.raises(TargetError, match=rf"^target: Deployment prod/chat: {error}; set decode\.gpus_per_repl"):
        counted(spec, **templates)


# --- replicas of several pods, and kinds with a shape of their own ------------------------------------------------


def lws(size: int | None, leader: int | None) -> dict[str, Any]:
    group: dict[str, Any] = {"workerTemplate": {"spec": a_pod(8)}}
    if size is not None:
        group["size"] = size
    if leader is not None:
        group["leaderTemplate"] = {"spec": a_pod(leader)}
    return target("LeaderWorkerSet", "leaderworkerset.x-k8s.io/v1", {"leaderWorkerTemplate": group})


def dynamo_v1alpha1(service: dict[str, Any]) -> dict[str, Any]:
    return target("DynamoGraphDeployment", "nvidia.com/v1alpha1", {"services": {"decode": service}})


def dynamo_v1beta1(part: dict[str, Any]) -> dict[str, Any]:
    return target("DynamoGraphDeployment", "nvidia.com/v1beta1", {"components": [{"name": "decode", **part}]})


def llm(**spec: Any) -> dict[str, Any]:
    return target("LLMInferenceService", "serving.kserve.io/v1alpha2", spec)


STORM = target(
    "StormService",
    "orchestration.aibrix.ai/v1alpha1",
    {
        "template": {
            "spec": {
                "roles": [
                    {"name": "prefill", "replicas": 2, "template": {"spec": a_pod(4)}},
                    {"name": "decode", "replicas": 3, "podGroupSize": 2, "template": {"spec": a_pod(8)}},
                ]
            }
        }
    },
)
SERVING = target(
    "ModelServing",
    "workload.serving.volcano.sh/v1alpha1",
    {
        "template": {
            "roles": [
                {"name": "prefill", "replicas": 2, "entryTemplate": {"spec": a_pod(4)}},
                {
                    "name": "decode",
                    "replicas": 1,
                    "entryTemplate": {"spec": a_pod(8)},
                    "workerReplicas": 3,
                    "workerTemplate": {"spec": a_pod(8)},
                },
            ]
        }
    },
)
WORKERS = [
    {"groupName": "decode", "replicas": 2, "numOfHosts": 4, "template": {"spec": a_pod(1)}},
    {"groupName": "other", "replicas": 1, "template": {"spec": a_pod(2)}},
]
CLIQUES = {
    "cliques": [
        {"name": "leader", "spec": {"replicas": 1, "podSpec": a_pod(8)}},
        {"name": "worker", "spec": {"replicas": 3, "podSpec": a_pod(8)}},
        {"name": "router", "spec": {"replicas": 1, "podSpec": pod_spec(container())}},
    ],
    "podCliqueScalingGroups": [{"name": "decode", "replicas": 2, "cliqueNames": ["leader", "worker"]}],
}


@pytest.mark.parametrize(
    ("of", "component", "expected"),
    [
        pytest.param(lws(4, None), "", 32, id="LWS: leader like its workers"),
        pytest.param(lws(4, 0), "", 24, id="LWS: a leader without GPUs"),
        pytest.param(lws(None, 4), "", 4, id="LWS: of one pod unless said"),
        pytest.param(dynamo_v1alpha1({"resources": {"limits": {"gpu": "4"}}}), "decode", 4, id="Dynamo v1alpha1"),
        pytest.param(
            dynamo_v1alpha1({"resources": {"limits": {"gpu": "8"}}, "multinode": {"nodeCount": 2}}),
            "decode",
            16,
            id="Dynamo v1alpha1: multinode",
        ),
        pytest.param(
            dynamo_v1alpha1({"resources": {"limits": {"gpu": "2", "gpuType": "gpu.intel.com/xe"}}}),
            "decode",
            2,
            id="Dynamo v1alpha1: another vendor",
        ),
        pytest.param(
            dynamo_v1alpha1({"extraPodSpec": {"mainContainer": container("2")}}), "decode", 2, id="Dynamo: a container"
        ),
        pytest.param(
            dynamo_v1beta1({"podTemplate": {"spec": a_pod(8)}, "multinode": {"nodeCount": 3}}),
            "decode",
            24,
            id="Dynamo v1beta1",
        ),
        pytest.param(llm(template=a_pod(4)), "decode", 4, id="LLMInferenceService"),
        pytest.param(
            llm(template=a_pod(1), prefill={"template": a_pod(2)}), "prefill", 2, id="LLMInferenceService: prefill"
        ),
        pytest.param(
            llm(template=a_pod(8), worker=a_pod(8), parallelism={"data": 32, "dataLocal": 8}),
            "decode",
            32,
            id="LLMInferenceService: data parallel over pods",
        ),
        pytest.param(
            llm(template=a_pod(8), worker=a_pod(8), parallelism={"pipeline": 2, "tensor": 8}),
            "decode",
            16,
            id="LLMInferenceService: pipeline over pods",
        ),
        pytest.param(STORM, "decode", 16, id="StormService: a role"),
        pytest.param(STORM, "", 56, id="StormService: the whole"),
        pytest.param(SERVING, "decode", 32, id="ModelServing: a role"),
        pytest.param(SERVING, "", 40, id="ModelServing: the whole"),
        pytest.param(target("RayCluster", "ray.io/v1", {"workerGroupSpecs": WORKERS}), "decode", 4, id="RayCluster"),
        pytest.param(
            target("RayService", "ray.io/v1", {"rayClusterConfig": {"workerGroupSpecs": WORKERS}}),
            "other",
            2,
            id="RayService",
        ),
        pytest.param(
            target(
                "RayClusterFleet",
                "orchestration.aibrix.ai/v1alpha1",
                {
                    "template": {
                        "spec": {"headGroupSpec": {"template": {"spec": a_pod(1)}}, "workerGroupSpecs": WORKERS}
                    }
                },
            ),
            "",
            11,
            id="RayClusterFleet",
        ),
        pytest.param(target("PodClique", "grove.io/v1alpha1", {"podSpec": a_pod(4)}), "", 4, id="PodClique"),
        pytest.param(target("PodCliqueSet", "grove.io/v1alpha1", {"template": CLIQUES}), "", 64, id="PodCliqueSet"),
        pytest.param(
            target(
                "VLLMRuntime",
                "production-stack.vllm.ai/v1alpha1",
                {"deploymentConfig": {"resources": {"cpu": "4", "gpu": "2"}}},
            ),
            "",
            2,
            id="VLLMRuntime",
        ),
        pytest.param(
            target("NIMService", "apps.nvidia.com/v1alpha1", {"resources": {"limits": {NVIDIA: 1}}}),
            "",
            1,
            id="NIMService",
        ),
    ],
)
def test_a_replica_is_counted_with_all_its_pods(of: dict[str, Any], component: str, expected: int) -> None:
    assert gpus_per_replica(of, component, {}, "decode") == expected


@pytest.mark.parametrize(
    ("of", "component"),
    [
        (target("DynamoGraphDeploymentScalingAdapter", "nvidia.com/v1alpha1", {"replicas": 1}), ""),
        (target("InferenceSet", "kaito.sh/v1beta1", {"replicas": 1}), ""),
        (dynamo_v1alpha1({}), "decode"),
        (dynamo_v1alpha1({"resources": {"limits": {"gpu": "1"}}}), "prefill"),
        (llm(baseRefs=[{"name": "preset"}]), "decode"),
        (llm(template=a_pod(8), worker=a_pod(8)), "decode"),
        (target("NIMService", "apps.nvidia.com/v1alpha1", {"multiNode": {}, "resources": {"limits": {NVIDIA: 8}}}), ""),
    ],
    ids=[
        "adapter",
        "instance type",
        "no resources",
        "no such service",
        "preset",
        "group of unknown size",
        "multi-node",
    ],
)
def test_an_object_that_does_not_say_its_gpus_is_an_error(of: dict[str, Any], component: str) -> None:
    with pytest.raises(TargetError, match=r"no GPU is found in its pod template; set prefill\.gpus_per_replica$"):
        gpus_per_replica(of, component, {}, "prefill")


def test_running_pods_tell_the_gpus_of_a_replica_whose_object_does_not() -> None:
    adapter = target("DynamoGraphDeploymentScalingAdapter", "nvidia.com/v1alpha1", {"replicas": 1})

    assert gpus_of_pods(adapter, [{"spec": a_pod(8)}, {"spec": a_pod(8)}], {}, "decode") == 16
    with pytest.raises(TargetError, match=r"^target: DynamoGraphDeploymentScalingAdapter prod/chat: no GPU is found"):
        gpus_of_pods(adapter, [], {}, "decode")
